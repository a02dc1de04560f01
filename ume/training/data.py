"""What a run trains and validates on: mixture cuts of several modes, in phases."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
from lhotse.cut import Cut

from ume.activity import FRAME_SHIFT
from ume.dataset.augment import AugmentConfig, Augmenter
from ume.dataset.batch import MixtureBatch
from ume.dataset.loader import BatchPlan, load_planned, make_eval_loader, plan_batches
from ume.dataset.mixtures import filter_cuts, read_cuts
from ume.errors import UmeError
from ume.mixing.cuts import joined_text, utterances
from ume.mixing.folder import manifest
from ume.mixing.remix import Remixer


@dataclass(frozen=True)
class Phase:
    """Steps of a run that see the same kind of batches.

    name: ``asr`` (the recogniser alone, on true sources), ``opposite`` or ``all`` (everything, on
        mixtures of both sexes or on all mixtures).
    start, stop: first step, and the one after the last.
    """

    name: str
    start: int
    stop: int


def make_phases(steps: int, asr_steps: int, opposite_sex_steps: int) -> List[Phase]:
    """The phases of ``steps`` steps in all, in order; empty ones are left out.

    >>> [(phase.name, phase.start, phase.stop) for phase in make_phases(10, 2, 3)]
    [('asr', 0, 2), ('opposite', 2, 5), ('all', 5, 10)]
    """
    first = min(asr_steps, steps)
    second = min(first + opposite_sex_steps, steps)
    phases = [
        Phase("asr", 0, first),
        Phase("opposite", first, second),
        Phase("all", second, steps),
    ]
    return [phase for phase in phases if phase.start < phase.stop]


class PlannedData(ABC):
    """Training batches by plans, which can be resumed: see :class:`ume.training.trainer.Stream`.

    Attributes:
        plans: by name; what follows the last ``-`` of a name is the kind of its batches.
    """

    def __init__(self, steps: int, accumulate: int, num_workers: int) -> None:
        self.steps, self.accumulate, self.num_workers = steps, accumulate, num_workers
        self.plans: Dict[str, BatchPlan] = {}

    @abstractmethod
    def plan_at(self, step: int) -> str:
        """The plan that an update's batches come from; the same in every run of the seed."""

    def updates(self, step: int) -> Iterator[Tuple[str, List[MixtureBatch]]]:
        """What each update from ``step`` on learns from, all of one kind."""
        left = [self.plan_at(now) for now in range(step, self.steps)]
        order = [name for name in left for _ in range(self.accumulate)]
        batches = load_planned(self.plans, order, self.num_workers)
        for name in left:
            yield kind_of(name), [next(batches) for _ in range(self.accumulate)]

    def largest(self) -> Iterator[Tuple[str, MixtureBatch]]:
        """The largest batches of each plan, with their kind."""
        for name, plan in self.plans.items():
            for batch in plan.largest():
                yield kind_of(name), batch

    def state_dict(self) -> Dict[str, Any]:
        """Where the plans stand."""
        return {name: plan.state_dict() for name, plan in self.plans.items()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name, plan in self.plans.items():
            plan.load_state_dict(state[name])


def kind_of(plan: str) -> str:
    """The kind of the batches of a plan.

    >>> kind_of("opposite-windows")
    'windows'
    """
    return plan.rsplit("-", 1)[-1]


class TrainingData(PlannedData):
    """The stream of training batches, which can be resumed.

    Batches are of one kind each: ``sources`` in the phase ``asr``; after it ``whole`` mixtures,
    for all tasks, or ``windows``, for all but words.

    Args:
        folder: mixture folder.
        parts: parts of it, used together.
        modes: mixture modes, used together; one that is named twice counts twice.
        max_duration: seconds of mixture in a batch.
        asr_longest: seconds of the longest mixtures in the phase ``asr``; None: no limit.
        crop: length of windows in seconds; None: whole mixtures only, however long.
        crop_share: share of the batches that are windows.
        phases: what to draw when.
        seed: of batches and windows.
        num_workers: processes that load.
        remix: whether every epoch has new mixtures of the sources of the manifest of mode max.
        augment: what is done to mixtures after loading.
        accumulate: batches that one process takes for one update.
        rank, world: this process and the number of processes.
        frame_shift: seconds from one frame of activity to the next.
        num_speakers: speakers of every batch, at least.
    """

    def __init__(
        self,
        folder: str,
        parts: List[str],
        modes: List[str],
        max_duration: float,
        asr_longest: Optional[float],
        crop: Optional[float],
        crop_share: float,
        phases: Sequence[Phase],
        seed: int,
        num_workers: int,
        remix: bool = False,
        augment: Optional[AugmentConfig] = None,
        accumulate: int = 1,
        rank: int = 0,
        world: int = 1,
        frame_shift: float = FRAME_SHIFT,
        num_speakers: int = 0,
    ) -> None:
        listed = ["max"] if remix else modes
        read = {
            mode: [cut for part in parts for cut in read_cuts(manifest(folder, part, mode))]
            for mode in set(listed)
        }
        cuts = [cut for mode in listed for cut in read[mode]]
        if num_speakers:
            check_speakers(cuts, num_speakers)
        super().__init__(max(phase.stop for phase in phases), accumulate, num_workers)
        self.phases, self.seed = phases, seed
        self.crop_share = 0.0 if crop is None else crop_share
        augmenter = None if augment in (None, AugmentConfig()) else Augmenter(augment, seed)
        slowest = 1.0 if augmenter is None else augmenter.slowest
        for phase in phases:
            for kind in self.kinds(phase):
                opposite, words = phase.name == "opposite", kind != "windows"
                longest = crop and max_duration * slowest
                if kind == "sources":
                    longest = asr_longest or longest
                chosen: Union[Sequence[Cut], Remixer]
                if remix:
                    other = seed + 10_000 * len(self.plans)  # each plan has mixtures of its own
                    limit = longest if words else None
                    chosen = Remixer(cuts, modes, other, opposite, words, limit)
                else:
                    chosen = filter_cuts(cuts, "opposite" if opposite else "all")
                    chosen = with_words(chosen, longest) if words else chosen
                self.plans[f"{phase.name}-{kind}"] = plan_batches(
                    chosen,
                    max_duration,
                    seed,
                    crop=None if words else crop,
                    augment=augmenter,
                    group=accumulate * world,
                    rank=rank,
                    world=world,
                    frame_shift=frame_shift,
                    num_speakers=num_speakers,
                )

    def kinds(self, phase: Phase) -> List[str]:
        """The kinds of batches of a phase."""
        if phase.name == "asr":
            return ["sources"]
        return ["whole"] * (self.crop_share < 1) + ["windows"] * (self.crop_share > 0)

    def plan_at(self, step: int) -> str:
        """See :class:`PlannedData`: the phase's, windows or whole mixtures by chance."""
        phase = next(phase for phase in self.phases if step < phase.stop)
        kinds = self.kinds(phase)
        draw = np.random.default_rng([self.seed, step]).uniform()
        return f"{phase.name}-{kinds[-1] if draw < self.crop_share else kinds[0]}"


def check_speakers(cuts: Iterable[Cut], most: int) -> None:
    """One line for a mixture of more speakers than the ``most`` that a model answers for."""
    for cut in cuts:
        count = len({supervision.speaker for supervision in cut.supervisions})
        if count > most:
            raise UmeError(
                f"cut {cut.id} has {count} speakers and the model answers for {most}; give a model "
                "for as many, or other mixtures"
            )


def with_words(cuts: Sequence[Cut], longest: Optional[float]) -> List[Cut]:
    """Mixtures that may be learned from whole: with words, and not above ``longest`` seconds."""
    chosen = [
        cut
        for cut in cuts
        if (longest is None or cut.duration <= longest)
        and any(joined_text(own) for own in utterances(cut).values())
    ]
    if not chosen:
        limit = "" if longest is None else f" of at most {longest:g} s"
        raise UmeError(
            f"no training mixture{limit} has words to learn; give a text, a larger "
            "max_duration and asr_longest, or --model.loss.asr 0, asr_steps 0 and crop_share 1"
        )
    return chosen


def valid_batches(
    folder: str,
    mode: str,
    count: int,
    frame_shift: float = FRAME_SHIFT,
    num_speakers: int = 0,
) -> List[MixtureBatch]:
    """The first ``count`` dev mixtures, in memory: validation reads them again and again."""
    cuts = read_cuts(manifest(folder, "dev", mode))[:count]
    return list(make_eval_loader(cuts, 60.0, frame_shift=frame_shift, num_speakers=num_speakers))
