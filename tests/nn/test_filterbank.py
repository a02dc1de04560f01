"""Filterbanks: what goes in comes out, and padding changes nothing."""

import numpy as np
import pytest
import scipy.signal
import torch

from ume.nn.filterbank import FreeFilterbank, STFTFilterbank, magnitude


@pytest.mark.parametrize("kernel, stride", [(512, 160), (512, 128), (320, 160), (400, 80)])
@pytest.mark.parametrize("samples", [16000, 16001, 15999])
def test_stft_with_masks_of_one_gives_the_signal_back(kernel, stride, samples):
    bank = STFTFilterbank(kernel, stride)
    audio = torch.randn(2, samples)
    spectrum, features = bank.encode(audio)
    assert features.shape == (2, kernel // 2 + 1, -(-samples // stride))
    ones = torch.ones(2, 3, kernel // 2 + 1, features.shape[2])
    back = bank.decode(spectrum, ones, samples)
    assert back.shape == (2, 3, samples)
    inside = slice(kernel, samples - kernel)  # at the ends windows do not overlap fully
    for k in range(3):
        torch.testing.assert_close(back[:, k, inside], audio[:, inside], atol=1e-4, rtol=0)


def test_stft_starts_as_scipys():
    bank, audio = STFTFilterbank(512, 160), torch.randn(1, 8000)
    ours = magnitude(bank.encode(audio)[0])[0].detach().numpy()  # (C, F)
    window = scipy.signal.get_window("hann", 512)
    _, _, theirs = scipy.signal.stft(
        np.pad(audio[0].numpy(), (0, 512)), nperseg=512, noverlap=352, window=window
    )
    theirs = np.abs(theirs) * window.sum() / np.sqrt((window**2).sum())
    np.testing.assert_allclose(ours[:, 2:45], theirs[:, 2:45], atol=2e-3)


def test_white_noise_has_unit_magnitude():
    spectrum, _ = STFTFilterbank().encode(torch.randn(4, 32000))
    assert magnitude(spectrum)[:, 5:-5].square().mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("bank", [STFTFilterbank(512, 160), FreeFilterbank(64, 32, 16)])
def test_padding_changes_nothing(bank):
    audio = torch.randn(1, 5000)
    padded = torch.nn.functional.pad(audio, (0, 3000))
    frames = bank.num_frames(5000)
    alone, together = bank.encode(audio)[1], bank.encode(padded)[1][..., :frames]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
