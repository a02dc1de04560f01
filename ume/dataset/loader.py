"""Batches for training and evaluation, the same for any number of workers.

An epoch's batches depend on (seed, epoch) alone and its windows on (seed, epoch, cut), so a run
that resumes in the middle of an epoch sees exactly the batches that the uninterrupted run sees.
"""

import copy
import zlib
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from lhotse.cut import Cut
from torch.utils.data import DataLoader, Dataset

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import FRAME_SHIFT, SAMPLING_RATE
from ume.dataset.augment import Augmenter
from ume.dataset.batch import MixtureBatch, collate
from ume.dataset.mixtures import draw_window, load_batch, load_example, num_samples
from ume.errors import UmeError
from ume.mixing.remix import Plan, Remixer
from ume.orphans import die_with_parent

Item = Tuple[int, List[int]]  # epoch, indices of the cuts of a batch


class MixtureDataset(Dataset):
    """Batches by (epoch, indices of cuts); windows of ``crop`` seconds, or whole cuts."""

    def __init__(self, cuts: Sequence[Cut], crop: Optional[float] = None, seed: int = 0) -> None:
        self.cuts = cuts
        self.samples = [num_samples(cut) for cut in cuts]
        self.copies = copies_among(cuts)
        self.crop = crop
        self.seed = seed
        self.augment: Optional[Augmenter] = None
        self.frame_shift = FRAME_SHIFT
        self.num_speakers = 0

    def __getitem__(self, item: Item) -> MixtureBatch:
        epoch, indices = item
        cuts = [self.cut(epoch, index) for index in indices]
        nths = [self.copies.get(index, 0) for index in indices]
        windows = [self.window(cut, epoch, nth) for cut, nth in zip(cuts, nths)]
        if self.augment is None:
            return load_batch(cuts, windows, self.frame_shift, self.num_speakers)
        loaded = (load_example(cut, *own, self.frame_shift) for cut, own in zip(cuts, windows))
        changed = [self.augment(example, epoch, nth) for example, nth in zip(loaded, nths)]
        return collate(changed, self.num_speakers)

    def cut(self, epoch: int, index: int) -> Cut:
        """One of the cuts of ``epoch``."""
        return self.cuts[index]

    def lengths(self, epoch: int) -> List[int]:
        """Samples of each cut of ``epoch``; of each window, where there are some."""
        return [self.cropped(samples) for samples in self.samples]

    def cropped(self, samples: int) -> int:
        """What is used of so many samples."""
        return samples if self.crop is None else min(samples, round(self.crop * SAMPLING_RATE))

    def window(self, cut: Cut, epoch: int, nth: int = 0) -> Tuple[int, int]:
        """The samples of ``cut`` that are used in ``epoch``; of its ``nth`` copy others."""
        if self.crop is None:
            return 0, num_samples(cut)
        own = [self.seed, epoch, zlib.crc32(cut.id.encode())]
        rng = np.random.default_rng(own + [nth] * (nth > 0))
        return draw_window(cut, round(self.crop * SAMPLING_RATE), rng)


def copies_among(cuts: Iterable[Cut]) -> Dict[int, int]:
    """Place of each cut that was there before, as where a mode is named twice -> how often."""
    seen: Dict[str, int] = {}
    found = {}
    for place, cut in enumerate(cuts):
        if cut.id in seen:
            found[place] = seen[cut.id]
        seen[cut.id] = seen.get(cut.id, 0) + 1
    return found


class RemixedDataset(MixtureDataset):
    """The same with new mixtures every epoch."""

    def __init__(self, remixer: Remixer, crop: Optional[float] = None, seed: int = 0) -> None:
        super().__init__([], crop, seed)
        self.remixer = remixer
        self.drawn: Tuple[int, List[Plan]] = (-1, [])  # the last epoch and its mixtures

    def plans(self, epoch: int) -> List[Plan]:
        """The mixtures of ``epoch``; those of the last epoch asked for are kept."""
        if self.drawn[0] != epoch:
            self.drawn = epoch, self.remixer.plans(epoch)
        return self.drawn[1]

    def cut(self, epoch: int, index: int) -> Cut:
        """One of the mixtures of ``epoch``."""
        return self.remixer.cut(self.plans(epoch)[index])

    def lengths(self, epoch: int) -> List[int]:
        """Samples of each mixture of ``epoch``; of each window, where there are some."""
        return [self.cropped(plan.num_samples) for plan in self.plans(epoch)]


def make_batches(
    lengths: Sequence[int], max_length: int, rng: np.random.Generator
) -> List[List[int]]:
    """Indices of cuts in batches of similar length, in random order.

    A batch's number of cuts times its longest cut is at most ``max_length`` (a longer cut is a
    batch of its own). Cuts of equal length are shuffled among each other.
    """
    order = sorted(rng.permutation(len(lengths)).tolist(), key=lambda index: lengths[index])
    batches: List[List[int]] = []
    for index in order:  # from short to long: the newest is the longest
        if batches and (len(batches[-1]) + 1) * lengths[index] <= max_length:
            batches[-1].append(index)
        else:
            batches.append([index])
    return [batches[index] for index in rng.permutation(len(batches))]


class BatchPlan:
    """The batches of one kind of training data, epoch after epoch; it loads nothing itself.

    Of several processes each takes every ``world``-th batch, and an epoch has a multiple of
    ``group`` batches (what an update takes, all processes together); ``group`` is a multiple of
    ``world``.
    """

    def __init__(
        self,
        dataset: MixtureDataset,
        max_duration: float,
        seed: int,
        group: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.dataset = dataset
        self.max_length = round(max_duration * SAMPLING_RATE)
        self.seed = seed
        self.group, self.rank, self.world = group, rank, world
        self.epoch = 0
        self.position = 0  # batches of this epoch that are done, by all processes
        self.sizes: Dict[int, int] = {}  # epoch -> its batches, of those that have been drawn

    def batches(self, epoch: int) -> List[List[int]]:
        """All batches of ``epoch``, as indices of cuts."""
        rng = np.random.default_rng([self.seed, epoch])
        batches = make_batches(self.dataset.lengths(epoch), self.max_length, rng)
        if not batches:
            raise UmeError("there are no mixtures to train on; check sex pairs, text and lengths")
        whole = len(batches) - len(batches) % self.group
        if whole == 0:
            raise UmeError(
                f"an epoch has {len(batches)} batches of {self.max_length / SAMPLING_RATE:g} s and "
                f"one update takes {self.group}; lower accumulate, max_duration or the processes"
            )
        self.sizes[epoch] = whole
        return batches[:whole]

    def items(self) -> Iterator[Item]:
        """This process's batches from here on, without end."""
        epoch, position = self.epoch, self.position
        while True:
            for batch in self.batches(epoch)[position:][self.rank :: self.world]:
                yield epoch, batch
            epoch, position = epoch + 1, 0

    def advance(self) -> None:
        """Count a batch of each process as done."""
        self.position += self.world
        if self.position >= self.sizes[self.epoch]:
            self.epoch, self.position = self.epoch + 1, 0

    def largest(self) -> Iterator[MixtureBatch]:
        """The batches of the current epoch that take most memory, at the lowest speed.

        What grows with samples is largest in one, attention, with their square, may be in another.
        """
        lengths = self.dataset.lengths(self.epoch)
        batches = self.batches(self.epoch)
        chosen = set()
        for power in (1, 2):
            sizes = [len(own) * max(lengths[index] for index in own) ** power for own in batches]
            chosen.add(sizes.index(max(sizes)))
        dataset = copy.copy(self.dataset)
        dataset.augment = None if dataset.augment is None else dataset.augment.at_slowest()
        for number in sorted(chosen):
            yield dataset[self.epoch, batches[number]]

    def state_dict(self) -> Dict[str, Any]:
        """Where the plan stands, as plain numbers."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on from ``state``; :class:`UmeError` if it was made with another seed."""
        if state["seed"] != self.seed:
            raise UmeError(
                f"--seed {self.seed} differs from the checkpoint's {state['seed']}; "
                "resume with the same seed"
            )
        self.epoch, self.position = state["epoch"], state["position"]


class Datasets(Dataset):
    """Several datasets as one, whose items begin with the name of theirs."""

    def __init__(self, datasets: Dict[str, MixtureDataset]) -> None:
        self.datasets = datasets

    def __getitem__(self, item: Tuple[str, Item]) -> MixtureBatch:
        name, inner = item
        return self.datasets[name][inner]


def load_planned(
    plans: Dict[str, BatchPlan], order: Sequence[str], num_workers: int = 0
) -> Iterator[MixtureBatch]:
    """The next batch of each plan named in ``order``, all loaded by the same processes.

    A plan's state, taken in the loop's body, counts the batch in hand as done.
    """
    coming = {name: plan.items() for name, plan in plans.items()}
    items = ((name, next(coming[name])) for name in order)
    datasets = Datasets({name: plan.dataset for name, plan in plans.items()})
    for name, batch in zip(order, load(datasets, items, num_workers)):
        plans[name].advance()
        yield batch


def load(dataset: Dataset, items: Iterable[Any], num_workers: int) -> Iterator[MixtureBatch]:
    """The batches of ``items``, in order."""
    batches = DataLoader(
        dataset,
        sampler=items,
        batch_size=None,
        num_workers=num_workers,
        worker_init_fn=die_with_parent,
        # a forked worker would keep the trainer's whole memory as it was at the fork
        multiprocessing_context="spawn" if num_workers else None,
        generator=torch.Generator(),  # its own: else it takes from the model's random numbers
    )
    try:
        yield from batches
    except UmeError as error:  # a worker's has its traceback in front
        raise UmeError(str(error).splitlines()[-1].removeprefix("ume.errors.UmeError: ")) from None


def plan_batches(
    cuts: Union[Sequence[Cut], Remixer],
    max_duration: float,
    seed: int = 0,
    crop: Optional[float] = None,
    augment: Optional[Augmenter] = None,
    group: int = 1,
    rank: int = 0,
    world: int = 1,
    frame_shift: float = FRAME_SHIFT,
    num_speakers: int = 0,
) -> BatchPlan:
    """Shuffled batches of at most ``max_duration`` seconds (padding and the lowest speed of
    ``augment`` included), that can resume.

    A :class:`Remixer` instead of cuts gives new mixtures every epoch. ``augment`` changes what has
    been loaded. See :class:`BatchPlan` for ``group``, ``rank`` and ``world``; ``frame_shift`` (s)
    is the activity's, and batches have ``num_speakers`` at least.
    """
    dataset: MixtureDataset
    if isinstance(cuts, Remixer):
        dataset = RemixedDataset(cuts, crop, seed)
    elif cuts:
        dataset = MixtureDataset(cuts, crop, seed)
    else:
        raise UmeError("there are no cuts to train on; check the manifest and the sex pairs")
    dataset.augment, dataset.frame_shift = augment, frame_shift
    dataset.num_speakers = num_speakers
    slowest = 1.0 if augment is None else augment.slowest
    return BatchPlan(dataset, max_duration * slowest, seed, group, rank, world)


def make_eval_loader(
    cuts: Sequence[Cut],
    max_duration: float,
    num_workers: int = 0,
    frame_shift: float = FRAME_SHIFT,
    num_speakers: int = 0,
) -> Iterator[MixtureBatch]:
    """Whole cuts, each once, in their order; at most ``max_duration`` seconds in a batch."""
    dataset = MixtureDataset(cuts)
    dataset.frame_shift, dataset.num_speakers = frame_shift, num_speakers
    batches = eval_batches(cuts, max_duration)
    return load(dataset, [(0, batch) for batch in batches], num_workers)


def eval_batches(cuts: Sequence[Cut], max_duration: float) -> List[List[int]]:
    """Consecutive cuts, as indices, of at most ``max_duration`` seconds with their padding."""
    batches: List[List[int]] = []
    longest = 0.0
    for index, cut in enumerate(cuts):
        longest = max(longest, cut.duration)
        if batches and (len(batches[-1]) + 1) * longest <= max_duration:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = cut.duration
    return batches
