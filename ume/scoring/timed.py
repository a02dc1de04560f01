"""Words in time: shared out among segments, for tcpWER and as STM."""

from typing import Dict, Iterable, List

import numpy as np
from meeteval.io import STM, SegLST
from meeteval.wer import time_constrained_minimum_permutation_word_error_rate as tcp_word_error_rate
from meeteval.wer.wer.time_constrained import get_pseudo_word_level_timings

from ume.activity import Segment
from ume.metrics.results import WordErrors
from ume.scoring.diarization import Speech

TCP_COLLAR = 5.0  # seconds

Utterance = Dict[str, object]  # a line of SegLST


def timed(
    recording: str, texts: Dict[str, str], speech: Speech, duration: float
) -> List[Utterance]:
    """SegLST of speakers (or streams): texts, each shared out among that speaker's segments.

    A speaker without segments has the whole recording of ``duration`` seconds for one; a speaker
    without words has one segment without words, so that it is known all the same.
    """
    return [
        {"session_id": recording, "speaker": speaker, "start_time": start, "end_time": end,
         "words": words}
        for speaker, text in texts.items()
        for (start, end), words in share_out(text, speech.get(speaker) or [(0.0, duration)])
    ]  # fmt: skip


def share_out(text: str, segments: List[Segment]) -> "List[tuple[Segment, str]]":
    """The words of each segment that gets any; the first has none where there are none.

    Words take room by their number of characters, as in meeteval, along all segments laid end to
    end; each goes to the segment in which its middle falls.

    >>> share_out("A LONGER WORD", [(0.0, 1.0), (2.0, 3.0), (5.0, 7.0)])
    [((0.0, 1.0), 'A'), ((2.0, 3.0), 'LONGER'), ((5.0, 7.0), 'WORD')]
    """
    words = text.split()
    if not words:
        return [(segments[0], "")]
    ends = np.cumsum([end - start for start, end in segments])  # (N,) seconds of speech
    lengths = np.array([len(word) for word in words])  # (W,) characters
    middles = (np.cumsum(lengths) - lengths / 2) / lengths.sum() * ends[-1]
    index = np.minimum(np.searchsorted(ends, middles, side="right"), len(segments) - 1)  # (W,)
    return [
        (segments[n], " ".join(words[w] for w in np.flatnonzero(index == n)))
        for n in np.unique(index)
    ]


def tcp_errors(reference: List[Utterance], hypothesis: List[Utterance]) -> WordErrors:
    """tcpWER by meeteval, words timed inside their segments as it does by default."""
    # Timed here, since meeteval would take segments over five seconds for words and warn.
    rate = tcp_word_error_rate(
        get_pseudo_word_level_timings(SegLST(reference), "character_based"),
        get_pseudo_word_level_timings(SegLST(hypothesis), "character_based_points"),
        collar=TCP_COLLAR,
        reference_pseudo_word_level_timing="none",
        hypothesis_pseudo_word_level_timing="none",
    )
    return WordErrors(rate.insertions, rate.deletions, rate.substitutions, rate.length)


def stm(utterances: Iterable[Utterance]) -> str:
    """Lines of an STM file, which ``meeteval-wer`` reads."""
    return STM.new(SegLST(list(utterances))).dumps()
