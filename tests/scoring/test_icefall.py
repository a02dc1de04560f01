"""Result files are icefall's byte for byte: golden ones, and what icefall writes where it is."""

import ast
import io
from pathlib import Path
from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ume.scoring.icefall import error_stats, recogs, write_result_files
from ume.scoring.words import Transcript

NAMES = [f"{kind}-test_max-1best.txt" for kind in ("recogs", "errs", "wer-summary")]


def read_recogs(path: Path) -> List[Transcript]:
    """The streams of a ``recogs-`` file, as icefall's users read them."""
    lines = path.read_text().splitlines()
    streams = []
    for reference, hypothesis in zip(lines[::2], lines[1::2]):
        name, ref = reference.split(":\tref=")
        assert hypothesis.startswith(f"{name}:\thyp=")
        streams.append(
            Transcript(name, ast.literal_eval(ref), ast.literal_eval(hypothesis.split("=", 1)[1]))
        )
    return streams


def test_golden_files_are_written_again(golden: Path, tmp_path: Path) -> None:
    streams = read_recogs(golden / NAMES[0])
    assert len(streams) == 8 and any(not stream.reference for stream in streams)
    errors = write_result_files(tmp_path, "test_max", "1best", reversed(streams))
    assert str(errors) == "68.18% [ 15 / 22, 6 ins, 4 del, 5 sub ]"
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (golden / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_a_round_rate_is_a_python_float_in_the_summary(tmp_path: Path) -> None:
    write_result_files(tmp_path, "test_max", "1best", [Transcript("u", ["A", "B"], ["A"])])
    assert (tmp_path / NAMES[2]).read_text() == "settings\tWER\n1best\t50.0\n"


texts = st.lists(st.sampled_from(["A", "B", "C", "DON'T"]), max_size=6)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_icefall_writes_the_same(icefall: None, tmp_path_factory, pairs: list) -> None:
    from icefall.utils import store_transcripts, write_error_stats

    streams = [Transcript(f"m{i}_spk", ref, hyp) for i, (ref, hyp) in enumerate(pairs)]
    path = tmp_path_factory.mktemp("icefall") / "recogs.txt"
    store_transcripts(path, streams)
    assert path.read_text() == recogs(streams)
    errors, ours = error_stats(streams)
    if errors.length:  # icefall divides by it
        theirs = io.StringIO()
        rate = write_error_stats(theirs, "test", streams, enable_log=False)
        assert theirs.getvalue() == ours
        assert rate == float(f"{100 * errors.rate:.2f}")


def test_icefall_reads_the_golden_streams(icefall: None, golden: Path) -> None:
    from icefall.utils import write_error_stats

    theirs = io.StringIO()
    write_error_stats(theirs, "test_max-1best", read_recogs(golden / NAMES[0]), enable_log=False)
    assert theirs.getvalue() == (golden / NAMES[1]).read_text()
    with pytest.raises(ZeroDivisionError):  # where ours says n/a: the one difference
        write_error_stats(io.StringIO(), "test", [("u", [], ["A"])], enable_log=False)
