"""A killed run of ``ume score`` goes on and gives what an undisturbed one gives."""

import json
from pathlib import Path
from typing import Any, List

import pytest

from tests.scoring.synthetic import Material, make_test_set
from ume.errors import UmeError
from ume.scoring import shards
from ume.scoring.recording import score_recording
from ume.scoring.score import Config, main

METRICS = "SI-SDR BSSEval STOI"


def config(material: Material, **options: Any) -> Config:
    folders = str(material.cuts), str(material.hyp / "separated"), str(material.hyp)
    return Config(*folders, **options)


def made(material: Material) -> dict:
    """Content of all that is written, by name."""
    written = [p for p in material.hyp.glob("*") if p.is_file()] + [*material.hyp.glob("words/*")]
    return {path.name: path.read_text() for path in written}


class Killed(Exception):
    """Stands for a signal."""


def killed_at(monkeypatch: pytest.MonkeyPatch, number: int) -> List[str]:
    """Have the scoring of recording ``number`` fail; returns those that were begun."""
    begun: List[str] = []

    def score(task: Any) -> Any:
        begun.append(task.cut.id)
        if len(begun) == number:
            raise Killed
        return score_recording(task)

    monkeypatch.setattr(shards, "score_recording", score)
    return begun


def test_resumed_is_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SIZE", 2)
    material = make_test_set(tmp_path, size=5)
    options = config(material, separation_metrics=METRICS)
    main(options)
    undisturbed = made(material)
    assert {"ref.stm", "1best.stm", "sources-1best.stm", "scores.json"} <= set(undisturbed)
    for name in ("scores.json", "per_utterance.csv", "ratios.json"):
        (material.hyp / name).unlink()
    killed_at(monkeypatch, 4)
    with pytest.raises(Killed):
        main(options)
    assert not (material.hyp / "scores.json").exists()
    begun = killed_at(monkeypatch, 0)
    main(options)
    assert begun == ["mix-002", "mix-003", "mix-004"]  # the first two were scored
    assert made(material) == undisturbed
    assert not (material.hyp / shards.FOLDER).exists()


def test_jobs_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SIZE", 1)
    material = make_test_set(tmp_path, size=3)
    main(config(material, separation_metrics=METRICS))
    alone = made(material)
    main(config(material, separation_metrics=METRICS, num_jobs=3))
    assert made(material) == alone


@pytest.mark.parametrize("change", ["metrics", "words", "audio"])
def test_other_inputs_or_options_start_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(shards, "SIZE", 1)
    material = make_test_set(tmp_path, size=2)
    killed_at(monkeypatch, 2)
    with pytest.raises(Killed):
        main(config(material))
    if change == "words":
        path = material.hyp / "separated" / "words" / "1best.json"
        words = json.loads(path.read_text())
        words[0]["words"] = "OTHER"
        path.write_text(json.dumps(words))
    if change == "audio":
        path = material.hyp / "separated" / "audio" / "mix-000_1.flac"
        path.write_bytes((material.hyp / "separated" / "audio" / "mix-000_2.flac").read_bytes())
    begun = killed_at(monkeypatch, 0)
    main(config(material, separation_metrics="STOI" if change == "metrics" else "SI-SDR"))
    assert begun == ["mix-000", "mix-001"]


def test_an_error_in_a_process_is_one_line(tmp_path: Path) -> None:
    material = make_test_set(tmp_path, size=2)
    (material.hyp / "separated" / "audio" / "mix-001_2.flac").unlink()
    with pytest.raises(UmeError, match="mix-001_2.flac does not exist"):
        main(config(material, num_jobs=2))
