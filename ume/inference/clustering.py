"""Who spoke when, of speaker embeddings of windows: AHC, then VBx, then segments; docs/vbx.md."""

from dataclasses import dataclass
from typing import Dict, List, Literal, Sequence, Tuple

import numpy as np

from ume.activity import Segment, merge_segments
from ume.inference.ahc import agglomerate, cosine_scores
from ume.inference.plda import Plda
from ume.inference.vbx import Hmm, vbx
from ume.inference.windows import intersection, speaker_segments

Scores = Literal["cosine", "plda"]
STARTING_POINTS = {
    "ami": Hmm(0.4, 64.0, 0.65),
    "voxconverse": Hmm(0.3, 14.0, 0.9),
    "libricss": Hmm(0.1, 5.0, 0.9),
    "gmm": Hmm(0.07, 0.8, 0.0),
}
"""To be tuned from; ``gmm``, in which the order of the windows does not count, goes with
:func:`ume.inference.plda.cosine_plda` as well."""


@dataclass(frozen=True)
class Options:
    """How embeddings are clustered."""

    hmm: Hmm = STARTING_POINTS["ami"]
    """VBx."""
    scores: Scores = "cosine"
    """What AHC compares by: `cosine`, or `plda`, log likelihood ratios."""
    offset: float = -0.015
    """AHC joins what scores so much, or more, above the calibrated threshold."""


def first_labels(embeddings: np.ndarray, plda: Plda, options: Options) -> np.ndarray:
    """Labels (N,) from 0 that AHC gives to embeddings (N, D)."""
    if options.scores == "plda":
        projected = plda.project(embeddings)  # (N, E)
        return agglomerate(plda.scores(projected, projected), options.offset)
    return agglomerate(cosine_scores(plda.normalise(embeddings)), options.offset)


def diarize(
    embeddings: np.ndarray,
    windows: np.ndarray,
    plda: Plda,
    options: Options,
    overlap: Sequence[Segment] = (),
) -> Dict[str, List[Segment]]:
    """Segments (s) of each speaker, "1", "2", ... by who speaks first.

    Args:
        embeddings: ``(N, D)``, one of each window.
        windows: ``(N, 2)`` in seconds, of :func:`ume.inference.windows.sliding_windows`.
        overlap: where two speakers are said to speak: there the second is the one that VBx holds
            for second likeliest.
    """
    if len(embeddings) != len(windows):
        raise ValueError(f"{len(embeddings)} embeddings of {len(windows)} windows")
    labels = first_labels(embeddings, plda, options)
    return refine(embeddings, windows, plda, labels, options.hmm, overlap)


def refine(
    embeddings: np.ndarray,
    windows: np.ndarray,
    plda: Plda,
    labels: np.ndarray,
    hmm: Hmm,
    overlap: Sequence[Segment] = (),
) -> Dict[str, List[Segment]]:
    """The part of :func:`diarize` that follows AHC, from its labels (N,)."""
    if len(windows) == 0:
        return {}
    clusters = vbx(plda.project(embeddings), plda.between, labels, hmm)
    first, second = likeliest(clusters.log_posteriors)
    speakers = speaker_segments(windows, first)
    for speaker, segments in speaker_segments(windows, second).items():
        speakers[speaker] = merge_segments([*speakers[speaker], *intersection(segments, overlap)])
    return speakers


def likeliest(log_posteriors: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The likeliest speaker (N,) of each window, and the second likeliest (N,), of (N, S).

    Only speakers who are somewhere the likeliest count, and are numbered from 0 as they come. Of
    a single one both are that one.

    >>> likeliest(np.log([[0.2, 0.1, 0.7], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]))
    (array([0, 1, 0]), array([1, 0, 1]))
    """
    first = log_posteriors.argmax(axis=1)  # (N,)
    names, places = np.unique(first, return_index=True)
    ranks = log_posteriors[:, names[places.argsort()]].argsort(axis=1)  # (N, speakers)
    return ranks[:, -1], ranks[:, -2:][:, 0]
