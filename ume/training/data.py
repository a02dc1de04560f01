"""What a run trains and validates on: mixture cuts of several modes, in phases."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from lhotse.cut import Cut

from ume.dataset.batch import MixtureBatch
from ume.dataset.loader import TrainLoader, make_eval_loader, make_train_loader
from ume.dataset.mixtures import filter_cuts, read_cuts
from ume.errors import UmeError


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


class TrainingData:
    """The stream of training batches, which can be resumed.

    Batches are of one kind each: ``sources`` in the phase ``asr``; after it ``whole`` mixtures,
    for all tasks, or ``windows``, for all but words.

    Args:
        folder: mixture folder.
        modes: mixture modes, used together; one that is named twice counts twice.
        max_duration: seconds of mixture in a batch.
        asr_longest: seconds of the longest mixtures in the phase ``asr``; None: no limit.
        crop: length of windows in seconds; None: whole mixtures only, however long.
        crop_share: share of the batches that are windows.
        phases: what to draw when.
        seed, num_workers: of the loaders.
    """

    def __init__(
        self,
        folder: str,
        modes: List[str],
        max_duration: float,
        asr_longest: Optional[float],
        crop: Optional[float],
        crop_share: float,
        phases: Sequence[Phase],
        seed: int,
        num_workers: int,
    ) -> None:
        cuts = [cut for mode in modes for cut in read_cuts(cuts_path(folder, "train", mode))]
        self.phases, self.seed = phases, seed
        self.crop_share = 0.0 if crop is None else crop_share
        self.loaders: Dict[str, TrainLoader] = {}
        for phase in phases:
            chosen = filter_cuts(cuts, "opposite" if phase.name == "opposite" else "all")
            for kind in self.kinds(phase):
                windows = kind == "windows"
                longest = crop and max_duration
                if kind == "sources":
                    longest = asr_longest or longest
                self.loaders[f"{phase.name}-{kind}"] = make_train_loader(
                    chosen if windows else with_words(chosen, longest),
                    max_duration,
                    seed,
                    num_workers,
                    crop if windows else None,
                )

    def kinds(self, phase: Phase) -> List[str]:
        """The kinds of batches of a phase."""
        if phase.name == "asr":
            return ["sources"]
        return ["whole"] * (self.crop_share < 1) + ["windows"] * (self.crop_share > 0)

    def kind_at(self, step: int, phase: Phase) -> str:
        """The kind of batch of a step, by chance but the same in every run of the seed."""
        kinds = self.kinds(phase)
        draw = np.random.default_rng([self.seed, step]).uniform()
        return kinds[-1] if draw < self.crop_share else kinds[0]

    def batches(self, step: int) -> Iterator[Tuple[str, MixtureBatch]]:
        """All batches from ``step`` on, each with its kind."""
        for phase in self.phases:
            streams = {
                kind: endless(self.loaders[f"{phase.name}-{kind}"]) for kind in self.kinds(phase)
            }
            for now in range(max(phase.start, step), phase.stop):
                kind = self.kind_at(now, phase)
                yield kind, next(streams[kind])

    def state_dict(self) -> Dict[str, Any]:
        """Where the loaders stand."""
        return {name: loader.state_dict() for name, loader in self.loaders.items()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name, loader in self.loaders.items():
            loader.load_state_dict(state[name])


def with_words(cuts: Sequence[Cut], longest: Optional[float]) -> List[Cut]:
    """Mixtures that may be learned from whole: with words, and not above ``longest`` seconds."""
    chosen = [
        cut
        for cut in cuts
        if any(supervision.text for supervision in cut.supervisions)
        and (longest is None or cut.duration <= longest)
    ]
    if not chosen:
        limit = "" if longest is None else f" of at most {longest:g} s"
        raise UmeError(
            f"no training mixture{limit} has words to learn; give a text, a larger "
            "max_duration and asr_longest, or asr_steps 0 and crop_share 1"
        )
    return chosen


def endless(loader: TrainLoader) -> Iterator[MixtureBatch]:
    """Batches of one epoch after the other."""
    while True:
        yield from loader


def cuts_path(folder: str, part: str, mode: str) -> Path:
    """The manifest of a part and mode in a mixture folder."""
    return Path(folder) / f"cuts_{part}_{mode}.jsonl.gz"


def valid_batches(folder: str, mode: str, count: int) -> List[MixtureBatch]:
    """The first ``count`` dev mixtures, in memory: validation reads them again and again."""
    cuts = read_cuts(cuts_path(folder, "dev", mode))[:count]
    return list(make_eval_loader(cuts, max_duration=60.0))
