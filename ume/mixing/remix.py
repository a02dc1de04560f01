"""New mixtures every epoch (dynamic mixing): the sources of a training set, grouped anew."""

from dataclasses import dataclass, replace
from typing import List, Optional, Sequence, Tuple

import numpy as np
from lhotse import MonoCut, Recording
from lhotse.augmentation import Volume
from lhotse.cut import Cut, MixedCut, MixTrack
from lhotse.utils import fastcopy

from ume.activity import SAMPLING_RATE
from ume.mixing.cuts import mixture_cut
from ume.mixing.metadata import START, Mixture, deal
from ume.mixing.transforms import file_format, fitted, resampled


@dataclass(frozen=True)
class Plan:
    """A mixture that can be made: its mode, its sources as numbers, their starts, its length."""

    mode: str
    sources: Tuple[int, ...]
    starts: Tuple[int, ...]  # samples of the sources' own rate
    num_samples: int  # at 16 kHz
    noise: Optional[int] = None


class Remixer:
    """Deals the sources of mixtures into new groups, each source at the level it has there.

    So levels are distributed as the rules say (``ume.mixing.metadata``); only the limit of 0.9 on
    the peak is not kept, which samples in floating point do not need. Groups are of the sizes of
    the mixtures. Noises (tracks without a supervision) are dealt as well, one a mixture, at their
    levels. The plans of an epoch depend on (seed, epoch) alone.

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
        tracks = [[track.cut for track in cut.tracks] for cut in cuts]
        voices = [[track for track in each if track.supervisions] for each in tracks]
        self.sizes = [len(each) for each in voices]
        sources = [track for each in voices for track in each]
        self.recordings = [without_gain(track.recording) for track in sources]
        self.rate = self.recordings[0].sampling_rate
        self.gains: List[float] = [track.custom["gain"] for track in sources]
        self.supervisions = [track.supervisions[0] for track in sources]
        self.speakers = [supervision.speaker for supervision in self.supervisions]
        self.noises = [track for each in tracks for track in each if not track.supervisions]
        self.places = [str(place) for place in range(len(self.noises))]

    def plans(self, epoch: int) -> List[Plan]:
        """The mixtures of an epoch."""
        found = []
        for number, mode in enumerate(self.modes):
            rng = np.random.default_rng([self.seed, epoch, number])
            deck: List[int] = []
            noises: List[int] = []
            for size in self.sizes:
                plan = self.plan(mode, deal(deck, self.speakers, size, rng), rng)
                if self.noises:
                    plan = replace(plan, noise=deal(noises, self.places, 1, rng)[0])
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
        return Plan(mode, sources, starts, samples * SAMPLING_RATE // self.rate)

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
        cut = mixture_cut(
            Mixture(tuple(names), gains, plan.starts),
            {name: self.recordings[source] for name, source in zip(names, plan.sources)},
            {name: self.supervisions[source] for name, source in zip(names, plan.sources)},
            plan.mode,
        )
        if plan.noise is None:
            return cut
        return MixedCut(id=cut.id, tracks=[*cut.tracks, MixTrack(self.noise(plan))])

    def noise(self, plan: Plan) -> MonoCut:
        """The noise of ``plan``, as long as its mixture."""
        assert plan.noise is not None
        track = self.noises[plan.noise]
        rate, num_samples = file_format(track.recording)
        as_it_lies = fastcopy(
            track.recording,
            sampling_rate=rate,
            num_samples=num_samples,
            duration=num_samples / rate,
            transforms=None,
        )
        recording = fitted(as_it_lies, plan.num_samples)
        recording = recording.perturb_volume(track.custom["gain"], affix_id=False)
        recording = resampled(recording, self.rate)
        return fastcopy(track, recording=recording, start=0.0, duration=recording.duration)


def without_gain(recording: Recording) -> Recording:
    """``recording`` at the level of its file."""
    kept = [t for t in recording.transforms or [] if not isinstance(t, Volume)]
    return fastcopy(recording, transforms=kept or None)
