"""STOI and ESTOI against pystoi called plainly."""

import numpy as np
import pystoi
import pytest
import torch

from ume.metrics.stoi import resample, stoi


def speech_like(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    """Noise in syllables, with pauses."""
    time = np.arange(samples) / rate
    return rng.standard_normal(samples) * (np.sin(2 * np.pi * 3 * time) > -0.5) * (time % 1 < 0.8)


@pytest.mark.parametrize("rate, samples", [(16000, 30000), (8000, 12345), (10000, 12800)])
def test_is_pystoi(rate: int, samples: int) -> None:
    rng = np.random.default_rng(rate)
    source = speech_like(rng, samples, rate)
    estimates = source + rng.standard_normal((3, samples)) * np.array([[0.1], [0.5], [2.0]])
    signals = resample(np.concatenate([source[None], estimates]), rate)
    plain, extended = stoi(signals[1:], signals[0])
    for found, option in ((plain, False), (extended, True)):
        expected = [pystoi.stoi(source, e, rate, extended=option) for e in estimates]
        assert found.tolist() == pytest.approx(expected, abs=1e-9)
    assert plain[0] > plain[1] > plain[2] and plain[0] > 0.9


@pytest.mark.parametrize("samples", [100, 257, 3000])
def test_too_short(samples: int) -> None:
    signals = torch.tensor(np.random.default_rng(0).standard_normal((2, samples)))
    plain, extended = stoi(signals[1:], signals[0])
    assert plain.isnan().all() and extended.isnan().all()


def test_a_silent_estimate_is_not_intelligible() -> None:
    source = torch.tensor(speech_like(np.random.default_rng(0), 12000, 10000))
    plain, extended = stoi(torch.zeros(1, 12000, dtype=torch.float64), source)
    assert plain.item() == pytest.approx(0, abs=1e-6)
    assert extended.item() == pytest.approx(0, abs=1e-6)
