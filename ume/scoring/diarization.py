"""Diarization and Jaccard error rates of a recording, by pyannote.metrics."""

from typing import Dict, List

from pyannote.core import Annotation, Timeline
from pyannote.core import Segment as Interval
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

from ume.activity import Segment, merge_segments
from ume.metrics.results import Average, DiarizationErrors

Speech = Dict[str, List[Segment]]  # speaker -> segments in seconds


def score_diarization(
    reference: Speech,
    hypothesis: Speech,
    duration: float,
    collar: float,
    overlap_only: bool = False,
) -> DiarizationErrors:
    """Errors in seconds of speaker time over the whole recording; overlap is scored.

    Args:
        reference, hypothesis: speaker -> ``(start, end)`` in seconds.
        duration: seconds; the UEM is ``[0, duration]``.
        collar: seconds left out on **each** side of a reference boundary, as in md-eval
            (pyannote's own option is the total width).
        overlap_only: the UEM is where two or more speak by the reference.

    >>> score_diarization({"a": [(0.0, 4.0)]}, {"1": [(0.0, 3.0)]}, 5.0, collar=0.0).rate
    0.25
    >>> score_diarization({"a": [(0.0, 4.0)]}, {"1": [(0.0, 3.75)]}, 5.0, collar=0.25).rate
    0.0
    """
    truth = _annotation(reference)
    uem = truth.get_overlap() if overlap_only else _whole(duration)
    detail = DiarizationErrorRate(collar=2 * collar).compute_components(
        truth, _annotation(hypothesis), uem=uem
    )
    return DiarizationErrors(
        miss=detail["missed detection"],
        false_alarm=detail["false alarm"],
        confusion=detail["confusion"],
        total=detail["total"],
    )


def score_jaccard(reference: Speech, hypothesis: Speech, duration: float, collar: float) -> Average:
    """Jaccard error rate (Ryant et al. 2019): the mean over the reference's speakers of the share
    of time, of that in which the speaker or its match is heard, in which not both are.

    Arguments as for :func:`score_diarization`.

    >>> score_jaccard({"a": [(0.0, 4.0)]}, {"1": [(1.0, 5.0)]}, 5.0, collar=0.0).rate
    0.4
    """
    detail = JaccardErrorRate(collar=2 * collar).compute_components(
        _annotation(reference), _annotation(hypothesis), uem=_whole(duration)
    )
    return Average(detail["speaker error"], int(detail["speaker count"]))


def trivial_hypotheses(reference: Speech, duration: float) -> Dict[str, Speech]:
    """What needs no model: everyone speaks all the time, one does whenever anybody does, or nobody.

    The second answer knows where there is speech, and nothing of speakers.
    """
    spoken = merge_segments(segment for own in reference.values() for segment in own)
    return {
        "all-speak": {speaker: [(0.0, duration)] for speaker in reference},
        "one speaker": {"1": spoken},
        "all-silent": {},
    }


def _whole(duration: float) -> Timeline:
    return Timeline([Interval(0, duration)])


def _annotation(speech: Speech) -> Annotation:
    annotation = Annotation()
    for speaker, segments in speech.items():
        for track, (start, end) in enumerate(segments):
            annotation[Interval(start, end), f"{speaker}-{track}"] = speaker
    return annotation
