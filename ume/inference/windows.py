"""Windows that slide over speech, and the segments of windows that have speakers.

Windows are ``(start, end)`` in seconds, (N, 2), in order of time.
"""

import math
from typing import Dict, Iterable, List, Sequence

import numpy as np

from ume.activity import Segment, merge_segments

ROUNDING = 1e-6  # of a step: times are not exact


def sliding_windows(
    speech: Iterable[Segment], duration: float = 1.5, shift: float = 0.25
) -> np.ndarray:
    """Windows (N, 2) of ``duration`` every ``shift`` s of each region of ``speech``.

    The last window of a region ends with it; a region shorter than ``duration`` is one window.
    ``shift`` must be below ``duration``, so that the windows of a region overlap.

    >>> sliding_windows([(0.0, 2.1), (3.0, 3.5)], 1.5, 0.5).round(3).tolist()
    [[0.0, 1.5], [0.5, 2.0], [0.6, 2.1], [3.0, 3.5]]
    """
    if not 0 < shift < duration:
        raise ValueError(f"windows of {duration} s every {shift} s do not overlap")
    windows = [np.zeros((0, 2))]
    for start, end in merge_segments(speech):
        last = max(start, end - duration)
        steps = math.ceil((last - start) / shift - ROUNDING)
        starts = np.minimum(start + shift * np.arange(steps + 1), last)
        windows.append(np.stack([starts, np.minimum(starts + duration, end)], axis=1))
    return np.concatenate(windows)


def cells(windows: np.ndarray) -> np.ndarray:
    """The part (N, 2) of each window that it stands for.

    Between overlapping neighbours the border is in the middle of their overlap.

    >>> cells(np.array([[0.0, 1.5], [0.5, 2.0], [3.0, 4.5]])).tolist()
    [[0.0, 1.0], [1.0, 2.0], [3.0, 4.5]]
    """
    owned = windows.copy()
    overlap = np.flatnonzero(windows[:-1, 1] > windows[1:, 0])
    middle = (windows[overlap, 1] + windows[overlap + 1, 0]) / 2
    owned[overlap, 1] = owned[overlap + 1, 0] = middle
    return owned


def speaker_segments(windows: np.ndarray, labels: np.ndarray) -> Dict[str, List[Segment]]:
    """Segments of each speaker, of labels (N,) of the windows; speakers are named "1", "2", ...

    >>> windows = np.array([[0.0, 1.5], [0.5, 2.0], [3.0, 4.5]])
    >>> speaker_segments(windows, np.array([0, 0, 2]))
    {'1': [(0.0, 2.0)], '3': [(3.0, 4.5)]}
    """
    owned = cells(windows)
    return {
        str(label + 1): merge_segments(map(tuple, owned[labels == label].tolist()))
        for label in np.unique(labels)
    }


def intersection(one: Sequence[Segment], other: Sequence[Segment]) -> List[Segment]:
    """What lies in both of two lists of segments.

    >>> intersection([(0.0, 2.0), (3.0, 4.0)], [(1.0, 3.5)])
    [(1.0, 2.0), (3.0, 3.5)]
    """
    first, second = (np.array(segments).reshape(-1, 2) for segments in (one, other))
    starts = np.maximum.outer(first[:, 0], second[:, 0]).ravel()
    ends = np.minimum.outer(first[:, 1], second[:, 1]).ravel()
    return merge_segments(zip(starts.tolist(), ends.tolist()))
