"""``ume compare-trainings``: what is called divergence, the table, the picture, bad input."""

import json
from pathlib import Path
from typing import Any, Dict, List

import matplotlib.image
import pytest
import yaml

from ume.__main__ import main as ume
from ume.report.trainings import read_run


def write_run(folder: Path, losses: Dict[str, List[float]], skipped: int = 0, **last: float) -> str:
    """A finished run with these training losses, and figures on dev at its end."""
    folder.mkdir()
    data = folder / "mix"
    data.mkdir()
    (data / "about.json").write_text(
        json.dumps({"parts": {"dev": {"max": {"all_speak_der": 40.0}}}})
    )
    weights = {"diarization": 0.5, "separation": 0.5, "asr": 0.5}
    options: Dict[str, Any] = {"data": str(data), "valid_mode": "max", "clip": 5.0, "seed": 3}
    (folder / "config.yaml").write_text(yaml.safe_dump({**options, "model": {"loss": weights}}))
    (folder / "train.json").write_text(json.dumps({"skipped_steps": skipped}))
    lines: List[Dict[str, float]] = []
    for number, values in enumerate(zip(*losses.values()), 1):
        named = {f"train/{task}": value for task, value in zip(losses, values)}
        lines.append({"step": 10 * number, **named, "train/norm": float(number)})
    norms = {"train/encoder_norm/asr": 4.0}
    lines.append({"step": lines[-1]["step"], **norms, **{f"valid/{k}": v for k, v in last.items()}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder)


FALLS = [1.0] * 2 + [0.9] * 16 + [0.8, 0.6]
RISES = [1.0] * 2 + [5.0] * 16 + [0.9, 1.2]


def test_a_run_diverges_if_a_loss_rises_or_an_update_was_not_finite(tmp_path: Path) -> None:
    fine = read_run("x", Path(write_run(tmp_path / "a", {"asr": FALLS, "separation": FALLS})))
    assert fine.ends["asr"] == (1.0, 0.7) and fine.diverged() == []
    rises = read_run("x", Path(write_run(tmp_path / "b", {"asr": FALLS, "separation": RISES})))
    assert rises.diverged() == ["separation rose"]
    broken = read_run("x", Path(write_run(tmp_path / "c", {"asr": [*FALLS[:-1], float("nan")]}, 2)))
    assert broken.diverged() == ["asr rose", "2 updates not finite"]
    assert fine.clipped() == 75 and fine.encoder_norm("asr") == 2.0


@pytest.mark.parametrize("last, heads", [
    ({"der": 39.9, "si_sdri": 0.1, "ter": 99.9}, []),
    ({"der": 40.0, "si_sdri": 0.0, "ter": 100.0}, ["diarization", "separation", "asr"]),
    ({"si_sdri": -0.1}, ["separation"]),
])  # fmt: skip
def test_a_head_that_is_no_better_than_no_model(
    tmp_path: Path, last: Dict[str, float], heads: List[str]
) -> None:
    run = read_run("x", Path(write_run(tmp_path / "a", {"asr": FALLS}, **last)))
    assert run.learned_nothing() == heads


def test_table_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    good = [write_run(tmp_path / n, {"asr": FALLS}, der=10.0, ter=80.0) for n in "ab"]
    bad = write_run(tmp_path / "c", {"asr": RISES}, der=50.0, ter=80.0)
    exps = f'["plain={",".join(good)}","other={bad}"]'
    assert ume(["compare-trainings", "--exps", exps, "--out", str(tmp_path / "out")]) == 0
    table = (tmp_path / "out" / "trainings.md").read_text()
    assert "| plain, seed 3 | no | - |" in table and table.count("plain, seed 3") == 2
    assert "| other, seed 3 | asr rose | diarization |" in table and "1.00 to 1.05" in table
    assert "All-speak DER on dev: 40.0 %" in table and "A run has *diverged* if" in table
    picture = matplotlib.image.imread(tmp_path / "out" / "trainings.png")
    assert picture.shape[0] > 600 and picture.std() > 0.05
    (tmp_path / "a" / "train.json").unlink()
    assert ume(["compare-trainings", "--exps", exps, "--out", str(tmp_path / "out")]) == 1
    assert "train.json does not exist; steps/train.sh" in capsys.readouterr().err
