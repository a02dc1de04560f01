"""Speech activity follows every operation on a cut, frame by frame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from ume.activity import SAMPLING_RATE, Segment, merge_segments
from ume.mixing.cuts import cut_activity

DURATION = 4.0

steps = st.integers(0, 400).map(lambda step: step / 100)
speech_lists = st.lists(
    st.tuples(steps, steps).map(lambda pair: tuple(sorted(pair))), min_size=1, max_size=4
).map(merge_segments)


def make_cut(segments: list, name: str = "a") -> MonoCut:
    source = AudioSource("file", [0], "none.wav")
    recording = Recording(name, [source], SAMPLING_RATE, 64000, DURATION)
    supervision = SupervisionSegment(
        name, name, 0.0, DURATION, speaker=name,
        alignment={"speech": [AlignmentItem("speech", s, e - s) for s, e in segments]},
    )  # fmt: skip
    return MonoCut(name, 0.0, DURATION, 0, recording=recording, supervisions=[supervision])


def inside(segments: list, start: float, end: float, shift: float = 0.0) -> list:
    """Segments cut to [start, end], then moved by ``shift``."""
    kept = [(max(s, start) + shift, min(e, end) + shift) for s, e in segments]
    return merge_segments((s, e) for s, e in kept if e - s > 1e-6)


def agree(found: list, expected: "list[Segment]") -> bool:
    found = [(s, e) for s, e in found if e - s > 1e-6]
    return len(found) == len(expected) and np.allclose(found, expected, atol=1e-4)


@given(speech_lists, st.integers(0, 300), st.integers(50, 400))
def test_truncation(segments: list, offset: int, length: int) -> None:
    start, duration = offset / 100, min(length / 100, DURATION - offset / 100)
    cut = make_cut(segments).truncate(offset=start, duration=duration)
    expected = inside(segments, start, start + duration, -start)
    assert agree(cut_activity(cut).get("a", []), expected)


@given(speech_lists, st.sampled_from([0.5, 1.0, 1.5]))
def test_windows(segments: list, size: float) -> None:
    windows = CutSet.from_cuts([make_cut(segments)]).cut_into_windows(size)
    for index, window in enumerate(windows):
        start = index * size
        expected = inside(segments, start, min(DURATION, start + size), -start)
        assert agree(cut_activity(window).get("a", []), expected)


@given(speech_lists, speech_lists, st.integers(0, 300))
def test_mixing_and_truncating_the_mixture(one: list, two: list, offset: int) -> None:
    start = offset / 100
    mixture = make_cut(one).mix(make_cut(two, "b"), offset_other_by=start)
    activity = cut_activity(mixture)
    assert agree(activity["a"], inside(one, 0, DURATION))
    assert agree(activity["b"], inside(two, 0, DURATION, start))
    part = cut_activity(mixture.truncate(offset=1.0, duration=2.0))
    assert agree(part.get("a", []), inside(one, 1.0, 3.0, -1.0))
    assert agree(part.get("b", []), inside(two, 1.0 - start, 3.0 - start, start - 1.0))


@given(speech_lists, st.sampled_from(["left", "right", "both"]))
def test_padding(segments: list, direction: str) -> None:
    padded = make_cut(segments).pad(duration=6.0, direction=direction)
    shift = {"left": 2.0, "right": 0.0, "both": 1.0}[direction]
    assert agree(cut_activity(padded)["a"], inside(segments, 0, DURATION, shift))


@given(speech_lists, st.sampled_from([0.9, 1.1]))
def test_speed(segments: list, factor: float) -> None:
    (found,) = cut_activity(make_cut(segments).perturb_speed(factor)).values()
    expected = [(s / factor, e / factor) for s, e in inside(segments, 0, DURATION)]
    assert len(found) == len(expected)
    assert np.allclose(found, expected, atol=1e-3) or not expected


@pytest.mark.parametrize("offset", [0.25, 1.0])
def test_moving_a_supervision_moves_its_speech_and_keeps_the_rest(offset: float) -> None:
    (supervision,) = make_cut([(1.0, 2.0)]).supervisions
    moved = supervision.with_offset(offset)
    assert moved.alignment["speech"][0].start == 1.0 + offset
    assert supervision.alignment["speech"][0].start == 1.0
    assert (moved.id, moved.speaker, moved.duration) == ("a", "a", DURATION)
