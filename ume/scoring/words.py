"""Word error rates of a recording with several streams, by meeteval."""

from typing import Dict, List, NamedTuple, Sequence

from meeteval.wer import ErrorRate, cp_word_error_rate, orc_word_error_rate

from ume.metrics.results import WordErrors

UNMATCHED = "unmatched-"  # of a stream that no reference was given to


class Transcript(NamedTuple):
    """One stream after the cpWER assignment; either side may be empty."""

    id: str
    reference: List[str]
    hypothesis: List[str]


class WordScore(NamedTuple):
    """Both rates of one recording, and its streams as cpWER paired them."""

    cp: WordErrors
    orc: WordErrors
    transcripts: List[Transcript]


def score_words(
    recording: str, references: Dict[str, str], streams: Dict[str, str], utterances: Sequence[str]
) -> WordScore:
    """cpWER and ORC-WER of normalised texts: reference speaker -> text, stream -> text.

    ``utterances`` are what ORC-WER gives to a stream each: the references', as they begin.

    >>> score = score_words("m", {"ann": "A B", "bob": "C"}, {"1": "C", "2": "A B B"}, ["A B", "C"])
    >>> print(score.cp, score.transcripts[0])
    33.33% [ 1 / 3, 1 ins, 0 del, 0 sub ] Transcript(id='m_ann', reference=['A', 'B'], \
hypothesis=['A', 'B', 'B'])
    """
    cp = cp_word_error_rate(references, streams, reference_sort=False, hypothesis_sort=False)
    orc = orc_word_error_rate(
        list(utterances), streams, reference_sort=False, hypothesis_sort=False
    )
    transcripts = [
        Transcript(
            f"{recording}_{UNMATCHED + stream if speaker is None else speaker}",
            references.get(speaker, "").split(),
            streams.get(stream, "").split(),
        )
        for speaker, stream in cp.assignment
    ]
    return WordScore(_word_errors(cp), _word_errors(orc), transcripts)


def permutation_errors(references: Dict[str, str], streams: Dict[str, str]) -> WordErrors:
    """Errors under the one-to-one assignment of fewest, as in the literature of PIT (Yu et al.
    2017): all streams of the model count, and there are as many as speakers.

    cpWER also takes unequal numbers, and here leaves out streams in which nobody was found.

    Raises:
        ValueError: the numbers differ.
    """
    if len(references) != len(streams):
        raise ValueError(f"{len(streams)} streams of {len(references)} speakers")
    return _word_errors(
        cp_word_error_rate(references, streams, reference_sort=False, hypothesis_sort=False)
    )


def _word_errors(rate: ErrorRate) -> WordErrors:
    return WordErrors(rate.insertions, rate.deletions, rate.substitutions, rate.length)
