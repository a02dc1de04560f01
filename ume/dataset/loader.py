"""Batches for training and evaluation, the same for any number of workers.

An epoch's batches depend on (seed, epoch) alone and its windows on (seed, epoch, cut), so a run
that resumes in the middle of an epoch sees exactly the batches that the uninterrupted run sees.
"""

import zlib
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
from lhotse.cut import Cut
from torch.utils.data import DataLoader, Dataset

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import SAMPLING_RATE
from ume.dataset.batch import MixtureBatch, collate
from ume.dataset.mixtures import draw_window, load_example, num_samples
from ume.errors import UmeError
from ume.orphans import die_with_parent

Item = Tuple[int, List[int]]  # epoch, indices of the cuts of a batch


class MixtureDataset(Dataset):
    """Batches by (epoch, indices of cuts); windows of ``crop`` seconds, or whole cuts."""

    def __init__(self, cuts: Sequence[Cut], crop: Optional[float] = None, seed: int = 0) -> None:
        self.cuts = cuts
        self.crop = crop
        self.seed = seed

    def __getitem__(self, item: Item) -> MixtureBatch:
        epoch, indices = item
        return collate([
            load_example(self.cuts[i], *self.window(self.cuts[i], epoch)) for i in indices
        ])  # fmt: skip

    def window(self, cut: Cut, epoch: int) -> Tuple[int, int]:
        """The samples of ``cut`` that are used in ``epoch``."""
        if self.crop is None:
            return 0, num_samples(cut)
        rng = np.random.default_rng([self.seed, epoch, zlib.crc32(cut.id.encode())])
        return draw_window(cut, round(self.crop * SAMPLING_RATE), rng)


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


class TrainLoader:
    """Iterating gives what is left of the current epoch, then the next epoch is current.

    ``state_dict`` taken in the loop's body counts the batch in hand as done.
    """

    def __init__(
        self, dataset: MixtureDataset, max_duration: float, seed: int, num_workers: int
    ) -> None:
        self.dataset = dataset
        self.max_length = round(max_duration * SAMPLING_RATE)
        self.seed = seed
        self.num_workers = num_workers
        self.epoch = 0
        self.position = 0  # batches of this epoch that are done
        longest = None if dataset.crop is None else round(dataset.crop * SAMPLING_RATE)
        self.lengths = [min(num_samples(cut), longest or num_samples(cut)) for cut in dataset.cuts]

    def batches(self) -> List[List[int]]:
        """All batches of the current epoch, as indices of cuts."""
        rng = np.random.default_rng([self.seed, self.epoch])
        return make_batches(self.lengths, self.max_length, rng)

    def __len__(self) -> int:
        """Batches of the current epoch."""
        return len(self.batches())

    def __iter__(self) -> Iterator[MixtureBatch]:
        left = [(self.epoch, batch) for batch in self.batches()[self.position :]]
        for batch in load(self.dataset, left, self.num_workers):
            self.position += 1
            yield batch
        self.set_epoch(self.epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Start ``epoch`` from its first batch."""
        self.epoch, self.position = epoch, 0

    def state_dict(self) -> Dict[str, Any]:
        """Where the loader stands, as plain numbers."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on from ``state``; :class:`UmeError` if it was made with another seed."""
        if state["seed"] != self.seed:
            raise UmeError(
                f"--seed {self.seed} differs from the checkpoint's {state['seed']}; "
                "resume with the same seed"
            )
        self.epoch, self.position = state["epoch"], state["position"]


def load(
    dataset: MixtureDataset, items: Sequence[Item], num_workers: int
) -> Iterator[MixtureBatch]:
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


def make_train_loader(
    cuts: Sequence[Cut],
    max_duration: float,
    seed: int = 0,
    num_workers: int = 0,
    crop: Optional[float] = None,
) -> TrainLoader:
    """Shuffled batches of at most ``max_duration`` seconds (padding included), that can resume."""
    if not cuts:
        raise UmeError("there are no cuts to train on; check the manifest and the sex pairs")
    return TrainLoader(MixtureDataset(cuts, crop, seed), max_duration, seed, num_workers)


def make_eval_loader(
    cuts: Sequence[Cut], max_duration: float, num_workers: int = 0
) -> Iterator[MixtureBatch]:
    """Whole cuts, each once, in their order; at most ``max_duration`` seconds in a batch."""
    batches = eval_batches(cuts, max_duration)
    return load(MixtureDataset(cuts), [(0, batch) for batch in batches], num_workers)


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
