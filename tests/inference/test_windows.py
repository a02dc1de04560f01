"""Windows cover speech and nothing else, and labels of windows cover it once."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ume.activity import merge_segments
from ume.inference.windows import cells, intersection, sliding_windows, speaker_segments

times = st.integers(0, 2000).map(lambda tick: tick / 100)
regions = st.lists(st.tuples(times, times), max_size=8)


@example([(0.66, 2.16)], (1.5, 0.25))  # 2.16 - 1.5 > 0.66 in floating point
@given(regions, st.sampled_from([(1.5, 0.25), (1.0, 0.3), (2.0, 1.9)]))
def test_windows_lie_in_speech_and_their_cells_cover_it_once(speech, sizes) -> None:
    duration, shift = sizes
    windows = sliding_windows(speech, duration, shift)
    speech = merge_segments(speech)
    owned = cells(windows)
    assert (np.diff(windows) <= duration + 1e-9).all() and (np.diff(owned) > 0).all()
    assert (owned[1:, 0] >= owned[:-1, 1]).all()
    assert (owned[:, 0] >= windows[:, 0]).all() and (owned[:, 1] <= windows[:, 1]).all()
    joined = merge_segments(map(tuple, owned.tolist()))
    np.testing.assert_allclose(np.array(joined), np.array(speech), atol=1e-9)
    for start, end in speech:
        inside = windows[(windows[:, 0] >= start) & (windows[:, 1] <= end + 1e-9)]
        assert inside[0, 0] == start and inside[-1, 1] == pytest.approx(end)
        assert (np.diff(inside[:, 0]) <= shift + 1e-9).all()
        if end - start >= duration:
            np.testing.assert_allclose(np.diff(inside), duration)


@given(regions, st.randoms(use_true_random=False))
def test_every_speaker_has_the_cells_of_the_own_windows(speech, random) -> None:
    windows = sliding_windows(speech)
    labels = np.array([random.randrange(3) for _ in windows], dtype=int)
    found = speaker_segments(windows, labels)
    lengths = np.diff(cells(windows))[:, 0]
    assert set(found) == {str(label + 1) for label in labels}
    for speaker, segments in found.items():
        time = sum(end - start for start, end in segments)
        assert time == pytest.approx(lengths[labels == int(speaker) - 1].sum())


@given(regions, regions)
def test_intersections_are_those_of_ticks(one, other) -> None:
    one, other = merge_segments(one), merge_segments(other)
    ticks = np.arange(2000) / 100 + 0.005
    masks = [
        np.any([(ticks > start) & (ticks < end) for start, end in segments] or [ticks < 0], axis=0)
        for segments in (one, other, intersection(one, other))
    ]
    np.testing.assert_array_equal(masks[0] & masks[1], masks[2])


def test_windows_must_overlap() -> None:
    with pytest.raises(ValueError, match="windows of 1 s every 1 s do not overlap"):
        sliding_windows([(0, 5)], 1, 1)
