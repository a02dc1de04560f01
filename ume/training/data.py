"""What a run trains and validates on: mixture cuts of several modes, in phases."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from lhotse.cut import Cut

from ume.dataset.batch import MixtureBatch
from ume.dataset.loader import TrainLoader, make_eval_loader, make_train_loader
from ume.dataset.mixtures import filter_cuts, read_cuts


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

    Args:
        folder: mixture folder.
        modes: mixture modes, used together; one that is named twice counts twice.
        max_duration: seconds of mixture in a batch.
        crop: longest clip in seconds, or None.
        phases: what to draw when.
        seed, num_workers: of the loaders.
    """

    def __init__(
        self,
        folder: str,
        modes: List[str],
        max_duration: float,
        crop: Optional[float],
        phases: Sequence[Phase],
        seed: int,
        num_workers: int,
    ) -> None:
        cuts = [cut for mode in modes for cut in read_cuts(cuts_path(folder, "train", mode))]
        self.phases = phases
        self.loaders: Dict[str, TrainLoader] = {}
        for phase in phases:
            chosen, longest = cuts, crop
            if phase.name == "opposite":
                chosen = filter_cuts(cuts, "opposite")
            elif phase.name == "asr":  # whole utterances: a cut one has no words
                chosen, longest = [cut for cut in cuts if has_text(cut)], None
            self.loaders[phase.name] = make_train_loader(
                chosen, max_duration, seed, num_workers, longest
            )

    def batches(self, step: int) -> Iterator[Tuple[Phase, MixtureBatch]]:
        """All batches from ``step`` on."""
        for phase in self.phases:
            left = phase.stop - max(phase.start, step)
            if left > 0:
                for batch in endless(self.loaders[phase.name], left):
                    yield phase, batch

    def state_dict(self) -> Dict[str, Any]:
        """Where the loaders stand."""
        return {name: loader.state_dict() for name, loader in self.loaders.items()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name, loader in self.loaders.items():
            loader.load_state_dict(state[name])


def has_text(cut: Cut) -> bool:
    """Whether any of a mixture's utterances has words."""
    return any(supervision.text for supervision in cut.supervisions)


def endless(loader: TrainLoader, count: int) -> Iterator[MixtureBatch]:
    """``count`` batches, over as many epochs as that takes."""
    while True:
        for batch in loader:
            yield batch
            count -= 1
            if count == 0:
                return


def cuts_path(folder: str, part: str, mode: str) -> Path:
    """The manifest of a part and mode in a mixture folder."""
    return Path(folder) / f"cuts_{part}_{mode}.jsonl.gz"


def valid_batches(folder: str, mode: str, count: int) -> List[MixtureBatch]:
    """The first ``count`` dev mixtures, in memory: validation reads them again and again."""
    cuts = read_cuts(cuts_path(folder, "dev", mode))[:count]
    return list(make_eval_loader(cuts, max_duration=60.0))
