"""The ablation script end to end in a smoke size."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.egs.recipe import RECIPE, Recipe, environment
from ume.__main__ import VERBS, make_parser
from ume.files import read_json
from ume.training.train import Config


def test_one_thing_changes_and_the_table_compares_and_words_may_come_first(tmp_path):
    smoke = Recipe(tmp_path)
    script, exp = RECIPE / "ablations.sh", tmp_path / "ab lations"
    options = [word for word in smoke.command()[1:]]
    options.remove("--exp")
    options.remove(str(smoke.exp))
    command = [
        str(script),
        "--only",
        "single-diarization",
        "--exp",
        str(exp),
        "--",
        *options,
    ]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stdout + run.stderr
    weights = {
        name: yaml.safe_load((exp / name / "config.yaml").read_text())["model"]["loss"]["asr"]
        for name in ("unchanged", "single-diarization")
    }
    assert weights == {"unchanged": 0.33, "single-diarization": 0.0}
    single = exp / "single-diarization"
    figures = {metric["name"] for metric in read_json(single / "test_max/scores.json")["metrics"]}
    assert (
        {"DER", "JER", "speakers counted right"} <= figures
        and not any("SDR" in name or "WER" in name for name in figures)
        and not (single / "test_max" / "separated" / "audio").exists()
    )
    table = (exp / "ablations.md").read_text()
    assert "### test_max" in table and "### test_min" in table
    assert "| unchanged |" in table and "all, 6 mixtures" in table
    row = next(line for line in table.splitlines() if line.startswith("| single-diarization |"))
    # a difference in DER alone
    assert re.search(r"\d \(", row) and row.endswith("| not run | not run |")

    first = tmp_path / "first.yaml"
    first.write_text("model: {loss: {diarization: 0.0, separation: 0.0, asr: 1.0}}\nsteps: 4\n")
    papers = tmp_path / "papers.yaml"
    papers.write_text("model: {asr: {differentiate_by: encoders, decoder_layers: 1}}\n")
    overlays = ["--overlay", str(papers), "--first", str(first)]
    smoke.succeed("--stage", "4", "--stop-stage", "6", *overlays)
    made = yaml.safe_load((smoke.exp / "first" / "config.yaml").read_text())
    assert (made["steps"], made["model"]["loss"]["separation"]) == (4, 0)
    begun = yaml.safe_load((smoke.exp / "config.yaml").read_text())
    assert begun["initialize_from"] == str(smoke.exp / "first")
    assert begun["model"]["asr"]["decoder_layers"] == 1 and begun["steps"] == 12
    for name in ("separated", "sources", "mixture"):
        assert (smoke.exp / "test_max" / name / "words" / "ctc-attention.json").exists()


def test_every_overlay_is_of_options_that_exist():
    parser = make_parser("train", Config, VERBS["train"][1])
    folders = [RECIPE / "conf" / name for name in ("ablations", "words")]
    overlays = [path for folder in folders for path in sorted(folder.rglob("*.yaml"))]
    assert len(overlays) > 20
    for path in overlays:
        needed = ["--exp", "e", "--data", "d", "--lang", "l"]
        parser.parse_args(["--config", str(path), *needed])


def test_an_ablation_that_does_not_exist_is_named(tmp_path: Path):
    command = [str(RECIPE / "ablations.sh"), "--only", "none", "--exp", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert run.returncode == 1 and "conf/ablations/none.yaml" in run.stderr + run.stdout


@pytest.mark.parametrize("script", ["ablations.sh", "words.sh"])
@pytest.mark.parametrize("given", [["--overlay", "x.yaml"], ["--exp=y"]])
def test_what_the_script_gives_itself_is_refused(script: str, given: list, tmp_path: Path):
    command = [str(RECIPE / script), "--exp", str(tmp_path), "--", "--steps", "4", *given]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert run.returncode == 1 and "after --: this script gives it itself" in run.stderr
