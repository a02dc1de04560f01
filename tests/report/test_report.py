"""``ume report`` on a scored synthetic set; publishing keeps other sections; bad input."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scoring.synthetic import make_test_set
from ume.__main__ import main as ume
from ume.report.making import making
from ume.report.report import replace_section
from ume.scoring.score import Config as ScoreConfig
from ume.scoring.score import main as score


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    """An experiment folder with one scored set."""
    test_set = make_test_set(tmp_path / "data", size=3)
    score(ScoreConfig(str(test_set.cuts), str(test_set.hyp / "separated"), str(test_set.hyp)))
    exp = test_set.hyp.parent
    command = f"ume train --conf conf/ume.yaml --exp {Path.cwd()}/exp/a"
    (exp / "command.sh").write_text(f"#!/usr/bin/env bash\n{command}\n")
    (exp / "config.yaml").write_text("seed: 3\nsteps: 10\n")
    (exp / "env.json").write_text(json.dumps({"python": "3.11.7", "cores": 2}))
    (exp / "train.json").write_text(json.dumps({"steps": 10, "parameters": 1234}))
    (exp / ".done").mkdir()
    record = {"name": "train", "seconds": 61.2, "cpu_seconds": 100.4}
    (exp / ".done" / "train.json").write_text(json.dumps(record))
    (exp / ".done" / "score.json").write_text(json.dumps({"inputs": {}}))
    return exp


def test_results(exp: Path) -> None:
    assert ume(["report", "--exp", str(exp), "--sets", "test_max test_min", "--title", "Mini"]) == 0
    text = (exp / "RESULTS.md").read_text()
    assert "## Mini\n" in text and "### test_max\n" in text
    assert "| cpWER, 1best | mixture | % | 100.0 [100.0, 100.0] |" in text
    assert "not run: there is no test_min/scores.json" in text
    for line in (
        "- command: `ume train --conf conf/ume.yaml --exp exp/a`",
        "- seed: 3",
        "- trained with: python 3.11.7, cores 2",
        "- training: steps 10, parameters 1234",
        "| train | 61 | 100 |",
    ):
        assert line in text.splitlines()
    assert str(exp) not in text  # a record names no folder of the machine


def test_publish_replaces_its_section_alone(exp: Path, tmp_path: Path) -> None:
    published = tmp_path / "egs" / "RESULTS.md"
    for title in ("Embedded corpus", "Real speech"):
        options = ["--exp", str(exp), "--title", title, "--publish", str(published)]
        assert ume(["report", *options]) == 0
    first = published.read_text()
    assert first.count("\n## ") == 2
    assert ume(["report", *options]) == 0
    assert published.read_text() == first
    (exp / "config.yaml").write_text("seed: 4\n")
    assert ume(["report", *options]) == 0
    assert published.read_text().count("- seed: 3\n") == 1
    assert published.read_text().count("- seed: 4\n") == 1
    before = published.read_text()
    assert ume(["report", *options, "--title", " Real speech "]) == 0  # the last one counts
    assert published.read_text() == before


titles = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@given(st.lists(titles, min_size=1, unique=True), st.data())
def test_other_sections_are_kept(names: list, data: st.DataObject) -> None:
    document = "# R\n"
    for name in names:
        document = replace_section(document, name, f"## {name}\n\nold\n")
    chosen = data.draw(st.sampled_from(names))
    changed = replace_section(document, chosen, f"## {chosen}\n\nnew\n")
    assert changed == document.replace(f"## {chosen}\n\nold\n", f"## {chosen}\n\nnew\n")


def test_plots_are_linked(exp: Path, tmp_path: Path) -> None:
    (exp / "plots").mkdir()
    (exp / "plots" / "timeline.png").touch()
    published = tmp_path / "RESULTS.md"
    assert ume(["report", "--exp", str(exp), "--publish", str(published)]) == 0
    assert "![timeline](plots/timeline.png)" in (exp / "RESULTS.md").read_text()
    assert "timeline" not in published.read_text()


def test_where_somebodys_folders_are_is_not_told(tmp_path: Path) -> None:
    exp = tmp_path / "exp" / "echo"
    exp.mkdir(parents=True)
    recipe = "/home/me/egs/voxceleb2"
    command = f"ume train --config {recipe}/a.yaml,{recipe}/b.yaml --exp {exp}"
    (exp / "command.sh").write_text(f"{command} --data {Path.cwd()}/data\n")
    files = "egs/voxceleb2/a.yaml,egs/voxceleb2/b.yaml"
    told = f"`ume train --config {files} --exp exp/echo --data data`"
    assert told in making(exp, tmp_path)


def test_empty_folder_says_what_it_can(tmp_path: Path) -> None:
    assert making(tmp_path).startswith("- reported with: commit ")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--exp", "none"], "none does not exist; steps/train.sh makes it"),
        (["--exp", ".", "--sets", " "], "--sets is empty"),
        (["--exp", ".", "--title", ""], "--title"),
    ],
)
def test_bad_input_is_one_line(options: list, message: str, capsys: pytest.CaptureFixture) -> None:
    assert ume(["report", *options]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
