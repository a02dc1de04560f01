"""New mixtures every epoch (dynamic mixing): the sources of a training set, grouped anew."""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np
from lhotse.cut import Cut, MixedCut
from lhotse.utils import fastcopy

from ume.activity import SAMPLING_RATE
from ume.mixing.cuts import mixture_cut
from ume.mixing.metadata import START, Mixture, deal


@dataclass(frozen=True)
class Plan:
    """A mixture that can be made: its mode, its sources as numbers, their starts, its length."""

    mode: str
    sources: Tuple[int, ...]
    starts: Tuple[int, ...]  # samples
    num_samples: int


class Remixer:
    """Deals the sources of mixtures into new groups, each source at the level it has there.

    So levels are distributed as the rules say (``ume.mixing.metadata``); only the limit of 0.9 on
    the peak is not kept, which samples in floating point do not need. Groups are of the sizes of
    the mixtures. The plans of an epoch depend on (seed, epoch) alone.

    Args:
        cuts: mixtures in mode max: whole utterances.
        modes: modes of the new mixtures, as many of each as there are cuts; one that is named
            twice counts twice.
        seed: of the groups and the starts.
        opposite_sex: leave out mixtures whose speakers are all of one sex.
        words: leave out mode min, and mixtures without any text.
        longest: seconds; leave out longer mixtures.
    """

    def __init__(
        self,
        cuts: Sequence[MixedCut],
        modes: Sequence[str],
        seed: int,
        opposite_sex: bool = False,
        words: bool = False,
        longest: Optional[float] = None,
    ) -> None:
        self.modes, self.seed = list(modes), seed
        self.opposite_sex, self.words = opposite_sex, words
        self.longest = None if longest is None else round(longest * SAMPLING_RATE)
        self.sizes = [len(cut.tracks) for cut in cuts]
        tracks = [track.cut for cut in cuts for track in cut.tracks]
        self.recordings = [fastcopy(track.recording, transforms=None) for track in tracks]
        self.gains: List[float] = [track.custom["gain"] for track in tracks]
        self.supervisions = [track.supervisions[0] for track in tracks]
        self.speakers = [supervision.speaker for supervision in self.supervisions]

    def plans(self, epoch: int) -> List[Plan]:
        """The mixtures of an epoch."""
        found = []
        for number, mode in enumerate(self.modes):
            rng = np.random.default_rng([self.seed, epoch, number])
            deck: List[int] = []
            for size in self.sizes:
                plan = self.plan(mode, deal(deck, self.speakers, size, rng), rng)
                if self.wants(plan):
                    found.append(plan)
        return found

    def plan(self, mode: str, sources: Tuple[int, ...], rng: np.random.Generator) -> Plan:
        """A mixture of ``sources``."""
        lengths = [self.recordings[source].num_samples for source in sources]
        later = rng.uniform(*START, size=len(sources) - 1)
        starts = (0, *(round(share * lengths[0]) for share in later))
        if mode == "min":
            samples = min(lengths)
        elif mode == "max":
            samples = max(lengths)
        else:
            samples = max(start + length for start, length in zip(starts, lengths))
        return Plan(mode, sources, starts, samples)

    def wants(self, plan: Plan) -> bool:
        """Whether ``plan`` is of the kind that was asked for."""
        chosen = [self.supervisions[source] for source in plan.sources]
        if self.opposite_sex and len({supervision.gender for supervision in chosen}) == 1:
            return False
        if self.words and (plan.mode == "min" or not any(s.text for s in chosen)):
            return False
        return self.longest is None or plan.num_samples <= self.longest

    def cut(self, plan: Plan) -> Cut:
        """The mixture cut of ``plan``, as the static ones are made."""
        names = [self.recordings[source].id for source in plan.sources]
        gains = tuple(self.gains[source] for source in plan.sources)
        return mixture_cut(
            Mixture(tuple(names), gains, plan.starts),
            {name: self.recordings[source] for name, source in zip(names, plan.sources)},
            {name: self.supervisions[source] for name, source in zip(names, plan.sources)},
            plan.mode,
        )
