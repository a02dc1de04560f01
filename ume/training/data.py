"""What a run trains and validates on: mixture cuts of several modes, and a curriculum."""

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from lhotse.cut import Cut

from ume.dataset.batch import MixtureBatch
from ume.dataset.loader import TrainLoader, make_eval_loader, make_train_loader
from ume.dataset.mixtures import filter_cuts, read_cuts


class TrainingData:
    """An endless stream of training batches that can be resumed.

    Args:
        folder: mixture folder.
        modes: mixture modes, used together.
        max_duration: seconds of audio in a batch.
        crop: longest clip in seconds, or None.
        opposite_sex_steps: batches at the start with opposite-sex pairs only.
        seed, num_workers: of the loaders.
    """

    def __init__(
        self,
        folder: str,
        modes: List[str],
        max_duration: float,
        crop: Optional[float],
        opposite_sex_steps: int,
        seed: int,
        num_workers: int,
    ) -> None:
        cuts = [cut for mode in modes for cut in read_cuts(cuts_path(folder, "train", mode))]

        def loader(chosen: List[Cut]) -> TrainLoader:
            return make_train_loader(chosen, max_duration, seed, num_workers, crop)

        self.opposite_sex_steps = opposite_sex_steps
        self.loaders = {"all": loader(cuts)}
        if opposite_sex_steps:
            self.loaders["opposite"] = loader(filter_cuts(cuts, "opposite"))

    def batches(self, count: int, step: int) -> Iterator[MixtureBatch]:
        """The ``count`` batches from ``step`` on."""
        first = max(min(self.opposite_sex_steps - step, count), 0)
        if first:
            yield from endless(self.loaders["opposite"], first)
        yield from endless(self.loaders["all"], count - first)

    def state_dict(self) -> Dict[str, Any]:
        """Where the loaders stand."""
        return {name: loader.state_dict() for name, loader in self.loaders.items()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        for name, loader in self.loaders.items():
            loader.load_state_dict(state[name])


def endless(loader: TrainLoader, count: int) -> Iterator[MixtureBatch]:
    """``count`` batches, over as many epochs as that takes."""
    while count > 0:
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
