"""cpWER and ORC-WER against meeteval's files interface; icefall's files."""

import re
from pathlib import Path

import meeteval
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meeteval.io import SegLST

from ume.metrics.results import WordErrors
from ume.scoring.icefall import error_stats, recogs, write_result_files
from ume.scoring.words import Transcript, score_words

texts = st.lists(st.sampled_from("ABC"), max_size=4).map(" ".join)


def seglst(streams: dict) -> SegLST:
    return SegLST(
        [
            {"session_id": "m", "speaker": k, "words": w, "start_time": 0, "end_time": 1}
            for k, w in streams.items()
        ]
    )


@given(st.lists(texts, min_size=1, max_size=3), st.lists(texts, min_size=1, max_size=3))
def test_is_meeteval(references: list, streams: list) -> None:
    reference = {f"spk{i}": text for i, text in enumerate(references)}
    hypothesis = {str(i): text for i, text in enumerate(streams, 1)}
    score = score_words("m", reference, hypothesis, references)
    cp = meeteval.wer.cpwer(seglst(reference), seglst(hypothesis))["m"]
    orc = meeteval.wer.orcwer(seglst(reference), seglst(hypothesis))["m"]
    assert (score.cp.numerator, score.cp.length) == (cp.errors, cp.length)
    assert (score.orc.numerator, score.orc.length) == (orc.errors, orc.length)
    assert score.orc.numerator <= score.cp.numerator
    errors, _ = error_stats(score.transcripts)  # kaldialign finds the same number
    assert (errors.numerator, errors.length) == (score.cp.numerator, score.cp.length)


def test_unmatched_stream_and_reference() -> None:
    more = score_words("m", {"ann": "A B"}, {"1": "C", "2": "A B"}, ["A B"])
    assert more.transcripts == [
        Transcript("m_ann", ["A", "B"], ["A", "B"]),
        Transcript("m_unmatched-1", [], ["C"]),
    ]
    fewer = score_words("m", {"ann": "A", "bob": "B C"}, {"1": "B C"}, ["A", "B C"])
    assert sorted(fewer.transcripts) == [
        Transcript("m_ann", ["A"], []),
        Transcript("m_bob", ["B", "C"], ["B", "C"]),
    ]


def test_orc_gives_each_utterance_to_a_stream() -> None:
    """Two streams that share a speaker's utterances out are right, and the order of time counts."""
    streams = {"1": "A B", "2": "C D X Y"}
    score = score_words("m", {"ann": "A B C D", "bob": "X Y"}, streams, ["A B", "C D", "X Y"])
    assert (score.orc.numerator, score.orc.length) == (0, 6)
    assert score.cp.numerator > 0


def test_silence_on_both_sides() -> None:
    score = score_words("m", {"ann": "", "bob": ""}, {"1": "", "2": ""}, ["", ""])
    assert score.cp == score.orc == WordErrors()


STREAMS = [
    Transcript("u2", ["I", "HATE", "YOU"], ["I", "YOU"]),
    Transcript("u1", ["I", "LOVE", "YOU"], ["WE", "LOVE", "YOU", "TOO"]),
]


def test_files_of_icefall(tmp_path: Path) -> None:
    errors = write_result_files(tmp_path, "test_max", "1best", STREAMS)
    assert errors == WordErrors(insertions=1, deletions=1, substitutions=1, length=6)
    assert (tmp_path / "recogs-test_max-1best.txt").read_text() == (
        "u1:\tref=['I', 'LOVE', 'YOU']\nu1:\thyp=['WE', 'LOVE', 'YOU', 'TOO']\n"
        "u2:\tref=['I', 'HATE', 'YOU']\nu2:\thyp=['I', 'YOU']\n"
    )
    assert (tmp_path / "wer-summary-test_max-1best.txt").read_text() == (
        "settings\tWER\n1best\t50.0\n"
    )
    assert (tmp_path / "errs-test_max-1best.txt").read_text() == (
        "%WER = 50.00\n"
        "Errors: 1 insertions, 1 deletions, 1 substitutions, over 6 reference words (4 correct)\n"
        "Search below for sections starting with PER-UTT DETAILS:, SUBSTITUTIONS:, DELETIONS:, "
        "INSERTIONS:, PER-WORD STATS:\n\n"
        "PER-UTT DETAILS: corr or (ref->hyp)  \n"
        "u1:\t(I->WE) LOVE YOU (*->TOO)\nu2:\tI (HATE->*) YOU\n\n"
        "SUBSTITUTIONS: count ref -> hyp\n1   I -> WE\n\n"
        "DELETIONS: count ref\n1   HATE\n\n"
        "INSERTIONS: count hyp\n1   TOO\n\n"
        "PER-WORD STATS: word  corr tot_errs count_in_ref count_in_hyp\n"
        "WE   0 1 0 1\nTOO   0 1 0 1\nI   1 1 2 1\nHATE   0 1 1 0\n"
        "YOU   2 0 2 2\nLOVE   1 0 1 1\n"
    )


def test_recogs_can_be_read_back() -> None:
    lines = recogs(STREAMS).splitlines()
    parsed = [re.fullmatch(r"(\S+):\t(ref|hyp)=(\[.*\])", line) for line in lines]
    assert [match[1] for match in parsed if match] == ["u2", "u2", "u1", "u1"]


def test_no_reference_words() -> None:
    errors, report = error_stats([Transcript("u", [], ["A"])])
    assert errors == WordErrors(insertions=1) and report.startswith("%WER = n/a")


@pytest.mark.parametrize("word", ["*"])
def test_the_mark_is_no_word(word: str) -> None:
    from ume.corpora.text import normalise

    assert normalise(word) == ""
