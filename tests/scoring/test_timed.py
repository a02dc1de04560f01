"""Words in segments, tcpWER against meeteval and its command line."""

import re
import subprocess
import sys
from pathlib import Path

import meeteval
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meeteval.io import SegLST

from ume.metrics.results import WordErrors
from ume.scoring.timed import TCP_COLLAR, share_out, stm, tcp_errors, timed

texts = st.lists(st.sampled_from(["A", "BE", "SEA", "LETTER"]), max_size=6).map(" ".join)
lengths = st.lists(st.integers(1, 40), min_size=2, max_size=6).filter(lambda x: len(x) % 2 == 0)


def segments(numbers: list) -> list:
    """Pauses and segments by turns, in tenths of a second."""
    edges = [sum(numbers[: n + 1]) / 10 for n in range(len(numbers))]
    return list(zip(edges[::2], edges[1::2]))


@given(texts, lengths.map(segments))
def test_all_words_in_their_order_and_in_given_segments(text: str, speech: list) -> None:
    shared = share_out(text, speech)
    assert " ".join(words for _, words in shared) == text
    assert [segment for segment, _ in shared] == sorted({segment for segment, _ in shared})
    assert {segment for segment, _ in shared} <= set(speech)
    assert len(shared) == 1 or all(words for _, words in shared)


def test_longer_segments_get_more_words() -> None:
    shared = share_out("ONE TWO SIX TEN", [(0.0, 3.0), (10.0, 11.0)])
    assert shared == [((0.0, 3.0), "ONE TWO SIX"), ((10.0, 11.0), "TEN")]


@settings(max_examples=20, deadline=None)
@given(st.lists(texts, min_size=1, max_size=3), st.lists(texts, min_size=1, max_size=3), st.data())
def test_tcp_is_meeteval(said: list, heard: list, data: st.DataObject) -> None:
    sides = []
    for side in (said, heard):
        speech = {f"s{k}": data.draw(lengths.map(segments)) for k in range(len(side))}
        sides.append(timed("m", {f"s{k}": text for k, text in enumerate(side)}, speech, 20.0))
    (expected,) = meeteval.wer.tcpwer(*map(SegLST, sides), collar=TCP_COLLAR).values()
    found = tcp_errors(*sides)
    assert (found.numerator, found.length) == (expected.errors, expected.length)


def test_words_far_from_their_time_are_errors() -> None:
    spoken = timed("m", {"ann": "A B"}, {"ann": [(0.0, 1.0)]}, 60.0)
    near = timed("m", {"1": "A B"}, {"1": [(4.0, 5.0)]}, 60.0)
    far = timed("m", {"1": "A B"}, {"1": [(40.0, 41.0)]}, 60.0)
    assert tcp_errors(spoken, near) == WordErrors(length=2)
    assert tcp_errors(spoken, far) == WordErrors(insertions=2, deletions=2, length=2)


def test_without_words_a_stream_is_known_all_the_same() -> None:
    silent = timed("m", {"1": "", "2": ""}, {"1": [(1.0, 2.0)]}, 9.0)
    assert stm(silent) == "m 1 1 1.0 2.0 \nm 1 2 0.0 9.0 \n"
    assert tcp_errors(silent, silent) == WordErrors()


def meeteval_wer(rate: str, reference: Path, hypothesis: Path, folder: Path) -> str:
    """The counts that meeteval's command prints, such as ``12 / 48, 6 ins, 6 del, 0 sub``."""
    program = Path(sys.executable).with_name("meeteval-wer")
    collar = ["--collar", "5"] if rate == "tcpwer" else []
    done = subprocess.run(
        [program, rate, "-r", reference, "-h", hypothesis, *collar,
         "--average-out", folder / "average.yaml", "--per-reco-out", folder / "all.yaml"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (counts,) = re.findall(r"\[ (.*) \]", done.stdout + done.stderr)
    return counts


@pytest.mark.parametrize("rate", ["cpwer", "tcpwer"])
def test_command_of_meeteval(tmp_path: Path, rate: str) -> None:
    reference = timed("m", {"ann": "A B C", "bob": "D E"}, {"ann": [(0, 3)], "bob": [(1, 2)]}, 50.0)
    hypothesis = timed("m", {"1": "D", "2": "A X C C"}, {"1": [(1, 2)], "2": [(30, 34)]}, 50.0)
    (tmp_path / "ref.stm").write_text(stm(reference))
    (tmp_path / "hyp.stm").write_text(stm(hypothesis))
    counts = meeteval_wer(rate, tmp_path / "ref.stm", tmp_path / "hyp.stm", tmp_path)
    found = tcp_errors(reference, hypothesis)
    expected = "3 / 5, 1 ins, 1 del, 1 sub" if rate == "cpwer" else found.counts[2:-2]
    assert counts == expected
    assert found.numerator == 8  # E, and all seven of the other pair
