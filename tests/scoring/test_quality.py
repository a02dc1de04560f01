"""Metrics of separated voices against their libraries, on real speech; what cannot be scored."""

from pathlib import Path
from typing import List

import numpy as np
import pystoi
import pytest
import soundfile
from scipy.signal import resample_poly

from ume.errors import UmeError
from ume.scoring import quality
from ume.scoring.quality import parse_metrics, score_quality
from ume.scoring.separation import score_separation

ALL = ["BSSEval", "STOI", "PESQ"]


@pytest.fixture(scope="module")
def voices(shared: Path) -> tuple:
    """Sources, voices and mixture of two speakers, 2 s of real speech."""
    folder = shared / "data" / "librispeech" / "test-other"
    paths: List[Path] = [
        sorted(speaker.rglob("*.flac"))[0] for speaker in sorted(folder.iterdir())[:2]
    ]
    truth = np.stack([soundfile.read(path, dtype="float32")[0][8000:40000] for path in paths])
    noise = 0.002 * np.random.default_rng(0).standard_normal(truth.shape)
    return truth, (truth + 0.1 * truth[::-1] + noise).astype(np.float32), truth.sum(axis=0)


def test_each_is_its_library(voices: tuple) -> None:
    mir_eval = pytest.importorskip("mir_eval")
    truth, found, mixture = voices
    averages = score_quality(["BSSEval", "STOI"], found, truth, mixture, 16000)
    sides = (found, np.stack([mixture, mixture]))
    with pytest.warns(FutureWarning, match="mir_eval.separation"):
        (sdr, sir, sar, _), (base, *_) = (
            mir_eval.separation.bss_eval_sources(truth, e, compute_permutation=False) for e in sides
        )
    expected = {"SDR": sdr, "SDRi": sdr - base, "SIR": sir, "SAR": sar}
    for name, extended in (("STOI", False), ("ESTOI", True)):
        after, before = (
            np.array([pystoi.stoi(s, e, 16000, extended) for s, e in zip(truth, side)])
            for side in sides
        )
        expected.update({name: after, f"{name}i": after - before})
    assert set(averages) == set(expected)
    for name, values in expected.items():
        tolerance = 1e-6 if "STOI" in name else 0.01
        assert averages[name].rate == pytest.approx(values.mean(), abs=tolerance), name
        assert averages[name].count == 2


@pytest.mark.parametrize("rate, mode", [(16000, "wb"), (8000, "nb")])
def test_pesq_is_its_library(voices: tuple, rate: int, mode: str) -> None:
    pesq = pytest.importorskip("pesq", reason="pesq is not installed: nothing to compare with")
    truth, found, mixture = (
        resample_poly(x, rate, 16000, axis=-1).astype(np.float32) for x in voices
    )
    averages = score_quality(["PESQ"], found, truth, mixture, rate)
    after, before = (
        np.array([pesq.pesq(rate, s, e, mode) for s, e in zip(truth, side)])
        for side in (found, np.stack([mixture, mixture]))
    )
    assert averages["PESQ"].rate == pytest.approx(after.mean(), abs=1e-6)
    assert averages["PESQi"].rate == pytest.approx((after - before).mean(), abs=1e-6)


def test_order_and_silence(voices: tuple) -> None:
    truth, found, mixture = voices
    silent = np.zeros_like(truth[:1])
    three = np.concatenate([truth, silent]), np.concatenate([found[::-1], silent + 0.01])
    active = np.ones(three[0].shape, dtype=bool)
    score = score_separation(three[1], three[0], mixture, active, 16000, ["BSSEval", "STOI"])
    plain = score_quality(["BSSEval", "STOI"], found, truth, mixture, 16000)
    assert score.permutation == (1, 0, 2)
    for name, average in plain.items():
        assert score.averages[name, "whole"].numbers == pytest.approx(average.numbers, abs=1e-6)


def test_too_short_is_left_out() -> None:
    short = np.random.default_rng(0).standard_normal((2, 3000)).astype(np.float32)
    averages = score_quality(["STOI"], short, short, short.sum(axis=0), 16000)
    assert averages["STOI"].count == averages["ESTOIi"].count == 0


def test_rate_of_pesq(voices: tuple) -> None:
    truth, found, mixture = voices
    with pytest.raises(UmeError, match="8 or 16 kHz, not 11025 Hz"):
        score_quality(["PESQ"], found, truth, mixture, 11025)


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "find_spec", lambda name: object())
    assert parse_metrics("SI-SDR") == [] and parse_metrics("PESQ SI-SDR STOI") == ["STOI", "PESQ"]
    monkeypatch.setattr(quality, "find_spec", lambda name: None)
    assert parse_metrics(" ".join(ALL)) == ["BSSEval", "STOI"]
    with pytest.raises(UmeError, match="--separation-metrics SDR: give some of SI-SDR, BSSEval"):
        parse_metrics("SDR")
