"""Choose on dev how speaker embeddings are clustered: AHC's threshold, then VBx's scales."""

from dataclasses import dataclass, replace
from itertools import product
from typing import Dict, Iterable, List, Sequence, Tuple

import numpy as np
import torch

from ume.activity import SAMPLING_RATE, Segment, segments_to_frames
from ume.errors import UmeError
from ume.inference.clustering import STARTING_POINTS, Options, Scores, first_labels, refine
from ume.inference.plda import Plda
from ume.inference.vbx import Hmm
from ume.metrics.frame_der import frame_der
from ume.metrics.results import DiarizationErrors

FA = (0.07, 0.1, 0.2, 0.3, 0.4)
FB = (0.8, 5.0, 14.0, 30.0, 64.0)
LOOPS = (0.0, 0.65, 0.9, 0.99)
OFFSETS = {"cosine": (-0.015, 0.05, 0.1, 0.2, 0.3), "plda": (0.0, 5.0, 10.0, 15.0, 20.0)}
"""By scores. Mostly above the calibrated threshold: VBx can join clusters, but not part them."""


@dataclass(frozen=True)
class Recording:
    """A recording of dev."""

    embeddings: np.ndarray
    """(N, D)."""
    windows: np.ndarray
    """(N, 2), seconds."""
    reference: Dict[str, List[Segment]]
    """Segments (s) of each speaker."""
    overlap: Sequence[Segment] = ()
    """Where two speakers are said to speak."""


def tune(
    recordings: Sequence[Recording], plda: Plda, scores: Scores = "cosine"
) -> Tuple[Options, DiarizationErrors]:
    """The options of the lowest frame DER over all ``recordings``, and its errors.

    First every starting point with every threshold of AHC, then every :class:`Hmm` of the grid with
    the best threshold.
    """
    starts = product(STARTING_POINTS.values(), OFFSETS[scores])
    first = [Options(hmm, scores, offset) for hmm, offset in starts]
    best, _ = _best(search(first, recordings, plda))
    grid = [best.hmm, *(Hmm(*values) for values in product(FA, FB, LOOPS))]
    return _best(search([replace(best, hmm=hmm) for hmm in grid], recordings, plda))


def search(
    candidates: Iterable[Options], recordings: Sequence[Recording], plda: Plda
) -> Dict[Options, DiarizationErrors]:
    """Frame errors of every candidate, at collar 0 and with overlap."""
    table = {options: DiarizationErrors() for options in candidates}
    for recording in recordings:
        labels: Dict[Tuple[str, float], np.ndarray] = {}
        for options in table:
            start = (options.scores, options.offset)
            if start not in labels:
                labels[start] = first_labels(recording.embeddings, plda, options)
            embeddings, windows = recording.embeddings, recording.windows
            found = refine(embeddings, windows, plda, labels[start], options.hmm, recording.overlap)
            table[options] += segment_der(found, recording.reference)
    return table


def segment_der(
    found: Dict[str, List[Segment]], reference: Dict[str, List[Segment]]
) -> DiarizationErrors:
    """Frame errors of the segments (s) of any number of speakers."""
    ends = [end for speakers in (found, reference) for segs in speakers.values() for _, end in segs]
    samples = round(max(ends, default=0.0) * SAMPLING_RATE)
    count = max(1, len(found), len(reference))
    activity = [
        np.stack(
            [segments_to_frames(segments, samples) for segments in speakers.values()]
            + [segments_to_frames([], samples)] * (count - len(speakers)),
            axis=1,
        )
        for speakers in (found, reference)
    ]  # (F, S) of each
    estimate, truth = (torch.from_numpy(frames)[None] for frames in activity)
    return frame_der(estimate, truth)


def _best(table: Dict[Options, DiarizationErrors]) -> Tuple[Options, DiarizationErrors]:
    best = min(table.items(), key=lambda item: item[1].rate)
    if not best[1].total:
        raise UmeError("nobody speaks in the recordings to tune on; give others")
    return best
