"""Intervals against a loop, and what holds for any data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ume.scoring.bootstrap import RESAMPLES, interval

recordings = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 50), st.sampled_from("abcdef")), min_size=1
)


def test_is_resampling_of_whole_groups() -> None:
    errors, lengths, groups = [3, 1, 0, 7, 2], [10, 10, 5, 20, 9], ["x", "y", "x", "z", "y"]
    rng = np.random.default_rng([0, 3])
    rates = []
    for draw in rng.integers(3, size=(RESAMPLES, 3)):
        chosen = [i for g in draw for i in range(5) if groups[i] == "xyz"[g]]
        rates.append(sum(errors[i] for i in chosen) / sum(lengths[i] for i in chosen))
    expected = np.percentile(rates, [2.5, 97.5])
    assert interval(errors, lengths, groups) == pytest.approx(tuple(expected))


@given(recordings, st.randoms())
def test_between_the_groups_in_any_order(data: list, random) -> None:
    top, bottom, groups = zip(*data)
    limits = interval(top, bottom, groups)
    if len(set(groups)) < 2:
        assert limits is None
        return
    rates = [
        sum(t for t, _, g in data if g == group) / sum(b for _, b, g in data if g == group)
        for group in set(groups)
    ]
    assert min(rates) - 1e-9 <= limits[0] <= limits[1] <= max(rates) + 1e-9
    random.shuffle(data)
    assert interval(*zip(*data)) == pytest.approx(limits)


def test_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    groups = [f"g{i}" for i in range(40)]
    hits = 0
    for _ in range(100):
        low, high = interval(rng.binomial(100, 0.3, size=40), [100] * 40, groups)
        hits += low <= 0.3 <= high
    assert 85 <= hits <= 100


def test_groups_without_anything_to_count() -> None:
    assert interval([0, 1], [0, 4], ["a", "b"]) is None
    assert interval([0, 1, 1], [0, 4, 4], ["a", "b", "c"]) == (0.25, 0.25)
