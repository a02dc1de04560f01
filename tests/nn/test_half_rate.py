"""Halving and doubling the rate: scipy's resampling, lengths, and what a filterbank sees of it."""

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from ume.errors import UmeError
from ume.nn.filterbank import FreeFilterbank, STFTFilterbank
from ume.nn.half_rate import HalfRate
from ume.nn.separation import SeparationConfig, SeparationHead


@pytest.mark.parametrize("samples", [1600, 1601, 7])
def test_the_rate_is_changed_as_scipy_does(samples: int) -> None:
    bank = HalfRate(STFTFilterbank(64, 16))
    audio = np.random.default_rng(0).standard_normal((2, samples))
    halved = bank.down(torch.from_numpy(audio))
    expected = resample_poly(audio, 1, 2, axis=1)
    assert halved.shape == (2, -(-samples // 2))
    np.testing.assert_allclose(halved.numpy(), expected, atol=1e-6)
    doubled = bank.up(halved, samples)
    np.testing.assert_allclose(
        doubled.numpy(), resample_poly(expected, 2, 1, axis=1)[:, :samples], atol=1e-6
    )


@pytest.mark.parametrize("inner", [STFTFilterbank(256, 80), FreeFilterbank(64, 16, 8)])
@pytest.mark.parametrize("samples", [8000, 8001, 8159])
def test_frames_are_those_of_the_stride_at_16_khz(inner, samples: int) -> None:
    bank = HalfRate(inner)
    spectrum, features = bank.encode(torch.randn(2, samples))
    frames = -(-samples // bank.stride)
    assert features.shape == (2, frames, bank.num_features)
    assert bank.strength(torch.randn(2, samples)).shape == (2, frames, bank.num_masks)
    sources = bank.decode(spectrum, torch.ones(2, 3, frames, bank.num_masks), samples)
    assert sources.shape == (2, 3, samples)


def test_what_is_below_4_khz_passes_and_what_is_above_does_not() -> None:
    bank = HalfRate(STFTFilterbank(256, 80))
    time = torch.arange(16000) / 16000
    for hertz, low, high in ((1000, 0.98, 1.02), (3200, 0.95, 1.05), (5500, 0.0, 0.01)):
        tone = torch.sin(2 * torch.pi * hertz * time)[None]
        spectrum, _ = bank.encode(tone)
        back = bank.decode(spectrum, torch.ones(1, 1, spectrum.shape[1], bank.num_masks), 16000)
        middle = slice(2000, 14000)
        gain = back[0, 0, middle].norm() / tone[0, middle].norm()
        assert low <= gain <= high, hertz
        if low:
            torch.testing.assert_close(back[0, 0, middle], tone[0, middle], atol=0.05, rtol=0)


def test_a_head_at_8_khz() -> None:
    config = SeparationConfig(
        sampling_rate=8000, kernel=256, stride=80, bottleneck=8, hidden=16, blocks=2, repeats=1
    )
    head = SeparationHead(config, width=12, num_speakers=2)
    assert head.frame_shift == 0.01 and head.frame_lens(torch.tensor([16000])).tolist() == [100]
    for change, message in (
        ({"sampling_rate": 44100}, "choose 8000 or 16000"),
        ({"stride": 320}, "must divide 160"),
    ):
        with pytest.raises(UmeError, match=message):
            SeparationHead(SeparationConfig(**{**vars(config), **change}), 12, 2)
