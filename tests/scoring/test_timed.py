"""Words in segments, tcpWER against meeteval."""

import meeteval
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
