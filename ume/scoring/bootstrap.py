"""Percentile bootstrap intervals, resampled by group: the recordings of a pair are not independent.

Efron and Tibshirani 1993, chapter 13; Bisani and Ney 2004 for word error rates.
"""

from typing import Optional, Sequence, Tuple, Union

import numpy as np

Numbers = Union[Sequence[float], np.ndarray]  # one for each recording

RESAMPLES = 1000
SEED = 0
CONFIDENCE = 95  # percent


def interval(
    numerators: Numbers,
    denominators: Numbers,
    groups: Sequence[str],
    seed: int = SEED,
) -> Optional[Tuple[float, float]]:
    """The 95 % interval of ``sum(numerators) / sum(denominators)``.

    Args:
        numerators, denominators: one each per recording.
        groups: the group of each recording, such as its pair of speakers; whole groups are drawn
            with replacement. Two quantities over the same groups see the same draws.

    Returns:
        ``(low, high)``; ``None`` for fewer than two groups with anything to count, since nothing
        can then be said.

    >>> interval([1, 1, 1, 1], [2, 2, 2, 2], ["a", "a", "b", "c"])
    (0.5, 0.5)
    """
    return percentiles(resampled(numerators, denominators, groups, seed))


def difference(
    first: Tuple[Numbers, Numbers],
    second: Tuple[Numbers, Numbers],
    groups: Sequence[str],
    seed: int = SEED,
) -> Optional[Tuple[float, float]]:
    """The 95 % interval of the second rate minus the first, over the same recordings.

    Each is a pair of numerators and denominators. Both rates are of the same draws, so that what
    is hard for both does not widen the interval.

    >>> difference(([1, 2, 3], [9, 9, 9]), ([2, 3, 4], [9, 9, 9]), ["a", "b", "c"])[0] > 0
    True
    """
    before, after = (resampled(*pair, groups, seed) for pair in (first, second))
    return percentiles(after - before)


def resampled(
    numerators: Numbers, denominators: Numbers, groups: Sequence[str], seed: int
) -> np.ndarray:
    """The rate of each resample, (R,); NaN where it has nothing to count, or none has."""
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    top = np.bincount(index, weights=numerators, minlength=len(names))  # (G,)
    bottom = np.bincount(index, weights=denominators, minlength=len(names))
    if np.count_nonzero(bottom) < 2:
        return np.full(RESAMPLES, np.nan)
    size = len(names)
    drawn = np.random.default_rng([seed, size]).integers(size, size=(RESAMPLES, size))
    totals = bottom[drawn].sum(axis=1)  # (R,)
    return np.divide(
        top[drawn].sum(axis=1), totals, out=np.full(RESAMPLES, np.nan), where=totals > 0
    )


def percentiles(values: np.ndarray) -> Optional[Tuple[float, float]]:
    """The middle 95 % of ``values`` (R,), those that are not NaN; None where all are."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
