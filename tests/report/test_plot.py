"""``ume plot`` draws what there is; bad input is one line."""

import json
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import soundfile

from tests.scoring.synthetic import Material, make_test_set
from ume.__main__ import main as ume
from ume.report.curves import read_curves, smooth
from ume.report.mixture import Example, spectrogram
from ume.report.plot import Config, load_example, typical


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return make_test_set(tmp_path, size=2)


def write_training(exp: Path) -> None:
    lines = [{"step": 10, "train/loss": 2.0}, {"step": 20, "train/loss": 1.0, "valid/loss": 1.5},
             {"step": 20, "valid/der": 30.0, "rwse/asr/1": 0.5}]  # fmt: skip
    (exp / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    weights = {"diarization": [0.2, 0.8], "separation": [0.5, 0.5], "asr": [0.9, 0.1]}
    (exp / "layer_weights.json").write_text(json.dumps(weights))


def test_all_pictures(material: Material, capsys: pytest.CaptureFixture) -> None:
    exp = material.hyp.parent
    write_training(exp)
    assert ume(["plot", "--exp", str(exp), "--cuts", str(material.cuts)]) == 0
    names = ["layer-weights", "learning-curves", "spectrograms", "timeline"]
    assert [path.stem for path in sorted((exp / "plots").iterdir())] == names
    for name in names:
        picture = matplotlib.image.imread(exp / "plots" / f"{name}.png")
        assert picture.shape[0] > 200 and picture.std() > 0.05
    assert "timeline.png" in capsys.readouterr().out


def test_example_is_in_the_order_of_the_reference(material: Material) -> None:
    exp = material.hyp.parent
    config = Config(str(exp), str(material.cuts), recording="mix-001")
    example = load_example(config, exp)
    assert isinstance(example, Example) and example.reference.id == "mix-001"
    assert example.streams == ("2", "1")
    assert np.array_equal(example.voices[0], material.mixtures[1].voices[1])
    assert 7 < example.si_sdri < 10 and 0 < example.der < 30


def test_a_stream_of_nobody_is_not_drawn(material: Material) -> None:
    hyp = material.hyp / "separated"
    meta = json.loads((hyp / "meta.json").read_text())
    (hyp / "meta.json").write_text(json.dumps({**meta, "num_speakers": 3}))
    for recording in meta["recordings"]:
        second = hyp / "audio" / f"{recording}_2.flac"
        noise = 0.01 * np.random.default_rng(0).standard_normal(soundfile.info(second).frames)
        soundfile.write(second.with_name(f"{recording}_3.flac"), noise, 16000)
    exp = material.hyp.parent
    example = load_example(Config(str(exp), str(material.cuts), recording="mix-001"), exp)
    assert example.streams == ("2", "1") and len(example.voices) == 2
    assert 7 < example.si_sdri < 10


def test_training_alone(tmp_path: Path) -> None:
    write_training(tmp_path)
    assert ume(["plot", "--exp", str(tmp_path)]) == 0
    assert len(list((tmp_path / "plots").iterdir())) == 2


def test_curves_of_any_line(tmp_path: Path) -> None:
    write_training(tmp_path)
    curves = read_curves(tmp_path / "metrics.jsonl")
    assert curves["train/loss"] == ([10, 20], [2.0, 1.0]) and curves["valid/der"] == ([20], [30.0])


def test_smoothing_keeps_a_constant() -> None:
    assert np.allclose(smooth([2.0] * 333), 2.0)


def test_spectrogram_of_a_tone_and_of_silence() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert (spectrogram(tone, 16000)[:, 20].argmax() * 16000 / 512) == 1000
    assert spectrogram(np.zeros(16000), 16000).max() == pytest.approx(-120)


def junk_metrics(exp: Path) -> None:
    (exp / "metrics.jsonl").write_text('{"step": 1}\n{"step"')


def empty_metrics(exp: Path) -> None:
    (exp / "metrics.jsonl").write_text("")


@pytest.mark.parametrize(
    "prepare, options, message",
    [
        (None, [], "nothing to draw"),
        (junk_metrics, [], "metrics.jsonl:2 is not a line of metrics"),
        (empty_metrics, [], "none of the known curves"),
        (None, ["--cuts", "none"], "none does not exist"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, prepare: Any, options: list, message: str, capsys: pytest.CaptureFixture
) -> None:
    if prepare:
        prepare(tmp_path)
    assert ume(["plot", "--exp", str(tmp_path), *options]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "plots").exists()


def test_unknown_recording(material: Material, capsys: pytest.CaptureFixture) -> None:
    exp = str(material.hyp.parent)
    options = ["--exp", exp, "--cuts", str(material.cuts), "--recording", "mix-9"]
    assert ume(["plot", *options]) == 1
    assert "'mix-9' is not among" in capsys.readouterr().err


def test_a_typical_mixture_is_the_one_of_median_si_sdri(tmp_path: Path) -> None:
    scores = tmp_path / "per_utterance.csv"
    assert typical(scores) == ""
    values = {"a": "9.0", "b": "-1.0", "c": "", "d": "4.0"}
    lines = ["mixture_ID,SI-SDRi_separated_whole"] + [f"{k},{v}" for k, v in values.items()]
    scores.write_text("\n".join(lines) + "\n")
    assert typical(scores) == "d"
