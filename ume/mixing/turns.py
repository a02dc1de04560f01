"""Who speaks when in a simulated conversation: turns, pauses and overlaps drawn at random.

Speakers are drawn one after the other: the same one goes on, or any of the others follows, each
as likely. Who follows begins after a pause, or before the one before has ended, as in the
simulated conversations of Landini et al. 2022, who draw from histograms of real ones. Here pauses
and overlaps are exponentially distributed (pauses as in EEND's simulation, Fujita et al. 2019),
turns log-normally. A turn is a piece of an utterance from a start of speech on, as long as was
drawn, or to the end of the speech before.
"""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np

from ume.activity import SAMPLING_RATE
from ume.errors import UmeError

SHORTEST = 1.0  # seconds of a turn, unless the utterance is shorter


@dataclass(kw_only=True)
class Rules:
    """How conversations go."""

    duration: float = 30.0
    """Seconds after which a conversation ends, once everybody has spoken; 0: a turn for each."""
    turn: float = 4.0
    """Median of a turn, seconds; no longer than the utterance it is taken from."""
    turn_spread: float = 0.6
    """Standard deviation of the logarithm of a turn's length."""
    change: float = 0.9
    """Probability that another speaker takes the next turn."""
    overlap_share: float = 0.4
    """Probability that a speaker who takes over begins before the one before has ended."""
    overlap: float = 1.0
    """Mean of such an overlap, seconds; no longer than either of the two turns."""
    pause: float = 0.5
    """Mean of the pause before a turn without overlap, seconds."""
    level_range: float = 8.0
    """Speakers are of a loudness uniform in -25 LUFS and as many dB below it."""

    def check(self) -> None:
        """:class:`UmeError` names an option that is out of range."""
        for name in ("change", "overlap_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UmeError(f"--{name.replace('_', '-')} must be within 0 .. 1")
        for name in ("duration", "turn_spread", "overlap", "pause", "level_range"):
            if getattr(self, name) < 0:
                raise UmeError(f"--{name.replace('_', '-')} must not be below 0")
        if self.turn <= 0:
            raise UmeError("--turn must be above 0")


@dataclass(frozen=True)
class Turn:
    """A piece of an utterance in a conversation; times in samples."""

    speaker: str
    utterance: str
    first: int  # of the utterance
    num_samples: int
    start: int  # in the conversation

    @property
    def end(self) -> int:
        """Where it ends in the conversation."""
        return self.start + self.num_samples


@dataclass(frozen=True)
class Spoken:
    """An utterance and the speech in it: (N, 2) starts and ends in samples, at least one."""

    id: str
    speech: np.ndarray

    def piece(self, length: int, rng: np.random.Generator) -> Tuple[int, int]:
        """[first, end) of at most ``length`` samples, from a start of speech; no silence ends it.

        Of the starts that leave room for ``length`` one is drawn. Those after which so little is
        said that the piece would be shorter than SHORTEST do not count; where no other is left,
        the piece is the longest there is.
        """
        starts, ends = self.speech.T
        length = min(length, ends[-1] - starts[0])
        stops = starts + length
        last = ends[np.searchsorted(starts, stops) - 1]  # of the speech that starts before a stop
        found = np.minimum(stops, last) - starts  # (N,)
        enough = found >= min(length, SHORTEST * SAMPLING_RATE)
        fitting = np.flatnonzero(enough & (stops <= ends[-1]))
        chosen = rng.choice(fitting) if len(fitting) else found.argmax()
        return int(starts[chosen]), int(starts[chosen] + found[chosen])


def draw_turns(
    voices: Sequence[Tuple[str, Sequence[Spoken]]], rules: Rules, rng: np.random.Generator
) -> List[Turn]:
    """The turns of a conversation in order of time; each of ``voices`` has one at least.

    ``voices`` are speakers with their utterances, which are used by turns, in random order.
    A speaker never overlaps itself.
    """
    decks: List[List[Spoken]] = [[] for _ in voices]
    last = [0] * len(voices)  # where each speaker has ended
    turns: List[Turn] = []
    speakers: List[int] = []
    while (speaker := next_speaker(speakers, len(voices), last, rules, rng)) is not None:
        name, utterances = voices[speaker]
        if not decks[speaker]:
            decks[speaker] = [utterances[i] for i in rng.permutation(len(utterances))]
        utterance = decks[speaker].pop()
        length = max(SHORTEST, rules.turn * np.exp(rules.turn_spread * rng.standard_normal()))
        first, end = utterance.piece(round(length * SAMPLING_RATE), rng)
        start = draw_start(turns, name, end - first, rules, rng)
        turns.append(Turn(name, utterance.id, first, end - first, max(start, last[speaker])))
        last[speaker] = turns[-1].end
        speakers.append(speaker)
    return turns


def next_speaker(
    speakers: Sequence[int], count: int, last: Sequence[int], rules: Rules, rng: np.random.Generator
) -> Optional[int]:
    """Who of ``count`` speakers follows ``speakers``; None where the conversation is over.

    ``last`` is where each of them has ended (samples).
    """
    before = speakers[-1] if speakers else None
    silent = sorted(set(range(count)) - set(speakers))
    if max(last) >= rules.duration * SAMPLING_RATE:
        return int(rng.choice(silent)) if silent else None
    if before is not None and (rng.random() >= rules.change or count == 1):
        return before
    return int(rng.choice([speaker for speaker in range(count) if speaker != before]))


def draw_start(
    turns: Sequence[Turn], speaker: str, length: int, rules: Rules, rng: np.random.Generator
) -> int:
    """Where a turn of ``length`` samples starts that follows ``turns``."""
    if not turns:
        return 0
    before = turns[-1]
    if speaker != before.speaker and rng.random() < rules.overlap_share:
        drawn = round(rng.exponential(rules.overlap) * SAMPLING_RATE)
        return before.end - min(drawn, length, before.num_samples)
    return before.end + round(rng.exponential(rules.pause) * SAMPLING_RATE)
