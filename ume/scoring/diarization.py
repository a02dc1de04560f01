"""Diarization error rate of a recording, by pyannote.metrics."""

from typing import Dict, Iterable, List

from pyannote.core import Annotation, Timeline
from pyannote.core import Segment as Interval
from pyannote.metrics.diarization import DiarizationErrorRate

from ume.activity import Segment
from ume.metrics.results import DiarizationErrors

Speech = Dict[str, List[Segment]]  # speaker -> segments in seconds


def score_diarization(
    reference: Speech, hypothesis: Speech, duration: float, collar: float
) -> DiarizationErrors:
    """Errors in seconds of speaker time over the whole recording; overlap is scored.

    Args:
        reference, hypothesis: speaker -> ``(start, end)`` in seconds.
        duration: seconds; the UEM is ``[0, duration]``.
        collar: seconds left out on **each** side of a reference boundary, as in md-eval
            (pyannote's own option is the total width).

    >>> score_diarization({"a": [(0.0, 4.0)]}, {"1": [(0.0, 3.0)]}, 5.0, collar=0.0).rate
    0.25
    >>> score_diarization({"a": [(0.0, 4.0)]}, {"1": [(0.0, 3.75)]}, 5.0, collar=0.25).rate
    0.0
    """
    detail = DiarizationErrorRate(collar=2 * collar).compute_components(
        _annotation(reference), _annotation(hypothesis), uem=Timeline([Interval(0, duration)])
    )
    return DiarizationErrors(
        miss=detail["missed detection"],
        false_alarm=detail["false alarm"],
        confusion=detail["confusion"],
        total=detail["total"],
    )


def trivial_hypotheses(speakers: Iterable[str], duration: float) -> Dict[str, Speech]:
    """What needs no model: everyone speaks all the time, or nobody ever does."""
    return {
        "all-speak": {speaker: [(0.0, duration)] for speaker in speakers},
        "all-silent": {},
    }


def _annotation(speech: Speech) -> Annotation:
    annotation = Annotation()
    for speaker, segments in speech.items():
        for track, (start, end) in enumerate(segments):
            annotation[Interval(start, end), f"{speaker}-{track}"] = speaker
    return annotation
