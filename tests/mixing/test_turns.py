"""Turns of conversations: what holds for any rules, and distributions as they are asked for."""

from typing import List, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.activity import SAMPLING_RATE
from ume.errors import UmeError
from ume.mixing.turns import Rules, Spoken, Turn, draw_turns

Voices = List[Tuple[str, List[Spoken]]]


def make_voices(count: int, rng: np.random.Generator, utterances: int = 3) -> Voices:
    """Speakers whose utterances hold 1 to 5 stretches of speech with pauses between."""
    voices = []
    for k in range(count):
        spoken = []
        for u in range(utterances):
            edges = np.cumsum(rng.integers(800, 48000, size=2 * rng.integers(1, 6)))
            spoken.append(Spoken(f"{k}-{u}", edges.reshape(-1, 2)))
        voices.append((str(k), spoken))
    return voices


share = st.floats(0, 1)
rules = st.builds(
    Rules, duration=st.floats(0, 40), turn=st.floats(0.1, 20), turn_spread=st.floats(0, 2),
    change=share, overlap_share=share, overlap=st.floats(0, 30), pause=st.floats(0, 5),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(rules, st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_invariants(rules: Rules, count: int, seed: int) -> None:
    voices = make_voices(count, np.random.default_rng([seed, 1]))
    turns = draw_turns(voices, rules, np.random.default_rng(seed))
    assert turns == draw_turns(voices, rules, np.random.default_rng(seed))
    assert {turn.speaker for turn in turns} == {name for name, _ in voices}  # each has a turn
    assert turns[0].start == 0
    ended = {name: 0 for name, _ in voices}
    spoken = {one.id: one.speech for _, utterances in voices for one in utterances}
    for turn in turns:
        speech = spoken[turn.utterance]
        assert turn.utterance.startswith(turn.speaker)
        assert turn.first in speech[:, 0]  # begins with speech
        assert 0 < turn.num_samples <= speech[-1, 1] - turn.first
        assert (speech[:, 0] < turn.first + turn.num_samples).sum() == (
            speech[:, 1] < turn.first + turn.num_samples
        ).sum() + 1  # ends in speech or with it
        assert turn.start >= ended[turn.speaker]  # nobody overlaps itself
        ended[turn.speaker] = turn.end
    for one, other in zip(turns, turns[1:]):
        assert other.start >= one.start and other.end >= one.end
        assert one.end - other.start <= min(one.num_samples, other.num_samples)
    everybody = max(k for k, turn in enumerate(turns)
                    if turn.speaker not in {t.speaker for t in turns[:k]})  # fmt: skip
    late = [k for k, turn in enumerate(turns) if turn.end >= rules.duration * SAMPLING_RATE]
    assert len(turns) - 1 == max(everybody, late[0])  # no turn more than is needed


def gaps(turns: List[Turn]) -> Tuple[np.ndarray, np.ndarray]:
    """Seconds between turns (below 0: overlap), and whether the speaker changes."""
    pairs = list(zip(turns, turns[1:]))
    return (
        np.array([(b.start - a.end) / SAMPLING_RATE for a, b in pairs]),
        np.array([a.speaker != b.speaker for a, b in pairs]),
    )


def test_without_overlap_and_with_nothing_else() -> None:
    voices = make_voices(3, np.random.default_rng(0))
    apart, _ = gaps(draw_turns(voices, Rules(overlap_share=0.0), np.random.default_rng(1)))
    assert (apart >= 0).all()
    rules = Rules(duration=0.0, overlap_share=1.0, overlap=1e6, turn=1e6)
    for seed in range(5):  # a mixture: the shorter of each two is all inside the longer
        one, two, three = draw_turns(voices, rules, np.random.default_rng(seed))
        assert one.end - two.start == min(one.num_samples, two.num_samples)
        assert two.end - three.start == min(two.num_samples, three.num_samples)


def test_distributions_are_those_of_the_rules() -> None:
    long = np.array([[0, 60 * SAMPLING_RATE]])
    voices = [(name, [Spoken(name, long)]) for name in "abcd"]
    rules = Rules(duration=20000.0, turn=8.0, turn_spread=0.3, change=0.8, overlap_share=0.3)
    turns = draw_turns(voices, rules, np.random.default_rng(0))
    gap, changed = gaps(turns)
    assert len(turns) > 2000
    assert changed.mean() == pytest.approx(0.8, abs=0.03)
    assert (gap[changed] < 0).mean() == pytest.approx(0.3, abs=0.04)
    assert (gap[~changed] >= 0).all()
    assert gap[gap > 0].mean() == pytest.approx(0.5, rel=0.1)
    assert -gap[gap < 0].mean() == pytest.approx(1.0, rel=0.1)
    seconds = np.array([turn.num_samples for turn in turns]) / SAMPLING_RATE
    assert np.median(seconds) == pytest.approx(8.0, rel=0.05)
    assert np.log(seconds).std() == pytest.approx(0.3, rel=0.1)
    followers = {(a.speaker, b.speaker) for a, b in zip(turns, turns[1:])}
    assert len(followers) == 16  # everybody follows everybody, and itself


def test_a_piece_is_long_enough_where_the_utterance_is() -> None:
    speech = np.array([[0, 1600], [48000, 80000], [112000, 113600]])
    for seed in range(20):
        first, end = Spoken("a", speech).piece(24000, np.random.default_rng(seed))
        assert (first, end) == (48000, 72000)  # the others hold 0.1 s
    assert Spoken("a", speech[:1]).piece(24000, np.random.default_rng(0)) == (0, 1600)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"change": 1.5}, "--change must be within 0 .. 1"),
        ({"overlap_share": -0.1}, "--overlap-share must be within 0 .. 1"),
        ({"turn": 0.0}, "--turn must be above 0"),
        ({"pause": -1.0}, "--pause must not be below 0"),
    ],
)
def test_bad_rules(options: dict, message: str) -> None:
    with pytest.raises(UmeError, match=message):
        Rules(**options).check()
