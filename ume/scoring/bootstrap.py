"""Percentile bootstrap intervals, resampled by group: the recordings of a pair are not independent.

Efron and Tibshirani 1993, chapter 13; Bisani and Ney 2004 for word error rates.
"""

from typing import Optional, Sequence, Tuple

import numpy as np

RESAMPLES = 1000
SEED = 0
CONFIDENCE = 95  # percent


def interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
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
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    top = np.bincount(index, weights=numerators, minlength=len(names))  # (G,)
    bottom = np.bincount(index, weights=denominators, minlength=len(names))
    if np.count_nonzero(bottom) < 2:
        return None
    size = len(names)
    drawn = np.random.default_rng([seed, size]).integers(size, size=(RESAMPLES, size))
    totals = bottom[drawn].sum(axis=1)  # (R,)
    rates = top[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(rates, [tail, 100 - tail])
    return float(low), float(high)
