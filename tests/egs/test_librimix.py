"""The LibriMix recipe end to end: real speech, noise made for it, a model that learns nothing."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.egs.recipe import environment

ROOT = Path(__file__).resolve().parents[2]
SUBSETS = {"train-clean-100": 3, "dev-clean": 2, "test-clean": 2}  # of test-other's speakers
METHODS = [
    "ctc-greedy-search",
    "prefix-beam-search",
    "ctc-decoding",
    "1best",
    "nbest",
    "nbest-oracle",
    "nbest-rescoring",
    "whole-lattice-rescoring",
    "attention-decoder",
    "ctc-attention",
]
SEPARATION = ["SI-SDRi", "SDRi", "SIR", "SAR", "STOI", "ESTOI"]  # PESQ where it could be compiled


@pytest.fixture(scope="module")
def corpora(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with LibriSpeech/ and wham_noise/, named and laid out as the real ones."""
    folder = tmp_path_factory.mktemp("the corpora")
    source = shared / "data" / "librispeech"
    speakers = sorted(path for path in (source / "test-other").iterdir() if path.is_dir())
    for subset, count in SUBSETS.items():
        for speaker in speakers[:count]:
            shutil.copytree(speaker, folder / "LibriSpeech" / subset / speaker.name)
        del speakers[:count]
    shutil.copy(source / "SPEAKERS.TXT", folder / "LibriSpeech")
    rng = np.random.default_rng(0)
    for part in ("tr", "cv", "tt"):
        (folder / "wham_noise" / part).mkdir(parents=True)
        for number in range(20):
            noise = 0.05 * rng.standard_normal((16000 * int(rng.integers(4, 12)), 2))
            path = folder / "wham_noise" / part / f"{number:02}.wav"
            soundfile.write(path, noise, 16000, "PCM_16")
    return folder


def test_all_stages_every_method_and_every_metric(corpora: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        "model: {asr: {differentiate_by: encoders, decoder_layers: 1}}\ntrain_modes: [max, min]\n"
    )
    data, exp = tmp_path / "data of this", tmp_path / "exp"
    options = [
        *("--librispeech", str(corpora / "LibriSpeech"), "--wham", str(corpora / "wham_noise")),
        *("--metadata", "own", "--num-mixtures", "1", "--type", "mix_both"),
        *("--conf", str(ROOT / "egs/mini_librimix/conf/smoke.yaml"), "--overlay", str(overlay)),
        *("--encoder-weights", "none", "--vocab-size", "40", "--nj", "1"),
        *("--data", str(data), "--exp", str(exp), "--title", "Plumbing: nothing was learned"),
    ]
    command = [str(ROOT / "egs/librimix/run.sh"), *options, "--stage", "1"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stdout + run.stderr

    results = (exp / "RESULTS.md").read_text()
    assert "Plumbing: nothing was learned" in results
    for method in METHODS:
        assert f"| cpWER, {method} |" in results, method
    scores = json.loads((exp / "test_max" / "scores.json").read_text())
    names = {metric["name"] for metric in scores["metrics"]}
    wanted = {"DER", "JER", "confusion-only DER", "overlap-only DER", "cpWER", "ORC-WER", "tcpWER"}
    assert names >= wanted | {"permutation WER"} | set(SEPARATION)
    references = {m.get("reference") for m in scores["metrics"] if m["name"] == "DER"}
    assert references == {None, "utterance"}
    for name in (*SEPARATION, *wanted - {"DER"}):
        assert f"| {name}" in results, name
    assert not (exp / "test_min" / "words").exists()

    again = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert again.returncode == 0 and "starting" not in again.stdout


@pytest.mark.parametrize(
    "options, message",
    [
        ([], "option --librispeech is missing"),
        (["--librispeech", "x", "--type", "mix_both"], "needs --wham"),
        (["--librispeech", "x", "--train-set", "train-50"], "train-100, train-360 or both"),
        (["--librispeech", "x", "--sampling-rate", "8000", "--sparselibrimix", "y"], "of 16 kHz"),
        (["--librispeech", "x", "--stage", "17"], "there is no stage '17'"),
    ],
)
def test_bad_options_are_one_line(options: list, message: str) -> None:
    command = [str(ROOT / "egs/librimix/run.sh"), *options]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert run.returncode == 1 and message in run.stderr and len(run.stderr.splitlines()) == 1
