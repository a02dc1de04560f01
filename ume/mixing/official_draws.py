"""LibriMix's own draws: which utterances, which noise, how loud, from one stream of numbers.

They are those of ``create_librimix_metadata.py`` as it was when the published metadata was made,
quirks and all, with Python's ``random`` seeded with 72: the pairs of the published Libri2Mix
train-clean-100 come out in their order. There one stream ran through all subsets, in the order in
which a folder happened to list them; here every subset begins with the seed.
"""

import random
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from ume.errors import UmeError
from ume.mixing.metadata import LOUDNESS

SEED = 72
NOISE_LOUDNESS = (LOUDNESS[0] - 5, LOUDNESS[1] - 5)  # LUFS
ATTEMPTS = 200  # groups in a row with a speaker twice, after which the rest is left
PASSES = 20  # over all utterances without a new mixture, after which there are no more
Group = List[int]  # utterances, by their rows


@dataclass(frozen=True)
class Noises:
    """The noise that may be taken; rows in order of length."""

    lengths: Sequence[int]  # samples
    augmented: Sequence[bool]

    def candidates(self, mixtures: int) -> List[int]:
        """Rows to take from: augmented noise only where the rest is too little."""
        plain = [row for row, augmented in enumerate(self.augmented) if not augmented]
        return plain if mixtures <= len(plain) else list(range(len(self.lengths)))


@dataclass(frozen=True)
class Draw:
    """One mixture as drawn."""

    utterances: Tuple[int, ...]  # rows
    noise: Optional[int]  # row; None: without noise
    loudness: Tuple[float, ...]  # LUFS, of each utterance and of the noise


def draw_mixtures(
    speakers: Sequence[str],
    lengths: Sequence[int],
    noises: Optional[Noises],
    size: int,
    train: bool,
    count: int,
    seed: int = SEED,
) -> List[Draw]:
    """The mixtures of one subset, from the speaker and the length (samples) of each utterance.

    In training sets, and in mixtures of one speaker, utterances are used once; of other sets there
    are ``count`` mixtures. Raises :class:`UmeError` where these cannot be made.
    """
    rng = random.Random(seed)
    groups: List[Group] = []
    taken: List[Optional[int]] = []
    if train or size == 1:
        groups = group_utterances(rng, speakers, size)
        taken = take_noises(rng, groups, lengths, noises, train)
        count = len(groups)
    passes = 0
    while len(groups) < count:
        before = len(groups)
        groups += group_utterances(rng, speakers, size)
        taken += take_noises(rng, groups, lengths, noises, train)
        drop_repeated(groups, taken)
        passes = 0 if len(groups) > before else passes + 1
        if passes == PASSES:
            raise UmeError(
                f"these utterances and noises give about {len(groups)} different mixtures, not "
                f"{count}; ask for fewer"
            )
    chosen = list(zip(groups, taken))[:count]
    return [Draw(tuple(group), noise, draw_loudness(rng, size, noises)) for group, noise in chosen]


def group_utterances(rng: random.Random, speakers: Sequence[str], size: int) -> List[Group]:
    """Groups of ``size`` utterances of different speakers; each utterance is in one at most."""
    left = list(range(len(speakers)))
    groups: List[Group] = []
    failures = 0
    while len(left) >= size and failures < ATTEMPTS:
        group = rng.sample(left, size)
        if len({speakers[row] for row in group}) < size:
            failures += 1
            continue
        for row in group:
            del left[bisect_left(left, row)]
        groups.append(group)
        failures = 0
    return groups


def take_noises(
    rng: random.Random,
    groups: List[Group],
    lengths: Sequence[int],
    noises: Optional[Noises],
    train: bool,
) -> List[Optional[int]]:
    """A noise for each group, no shorter than its longest utterance, each used once.

    Where no such noise is left, training sets take the longest that is, and in other sets the group
    is taken out of ``groups``.
    """
    if noises is None:
        return [None] * len(groups)
    left = noises.candidates(len(groups))
    left_lengths = [noises.lengths[row] for row in left]
    taken: List[Optional[int]] = []
    for group in list(groups):
        first = bisect_left(left_lengths, max(lengths[row] for row in group))
        if first < len(left):
            place = rng.sample(range(first, len(left)), 1)[0]
        elif train and left:
            place = len(left) - 1
        elif train:
            raise UmeError(
                f"{len(groups)} mixtures need as many noises and there are {len(noises.lengths)}; "
                "LibriMix's augment_train_noise.py makes more"
            )
        else:
            groups.remove(group)
            continue
        taken.append(left.pop(place))
        del left_lengths[place]
    return taken


def drop_repeated(groups: List[Group], noises: List[Optional[int]]) -> None:
    """Take out groups that are there before, and a noise for each.

    The published script changes the lists it walks over, so that the one after a group taken out
    is not looked at; and it takes out the first group and the first noise that equal those it
    means. Its groups come out only if this does the same.
    """
    counts = Counter(map(frozenset, groups))
    walked = 0
    while walked < min(len(groups), len(noises)):
        key = frozenset(groups[walked])
        if counts[key] > 1:
            place = 0
            while place < min(len(groups), len(noises)):
                if place != walked and frozenset(groups[place]) == key:
                    group, noise = groups[place], noises[place]
                    groups.remove(group)
                    noises.remove(noise)
                    counts[key] -= 1
                place += 1
        walked += 1


def draw_loudness(rng: random.Random, size: int, noises: Optional[Noises]) -> Tuple[float, ...]:
    """Loudness (LUFS) of the utterances, then of the noise; a noise's first draw is thrown away."""
    loudness = [rng.uniform(*LOUDNESS) for _ in range(size)]
    if noises is not None:
        rng.uniform(*LOUDNESS)
        loudness.append(rng.uniform(*NOISE_LOUDNESS))
    return tuple(loudness)
