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
    assert features.shape == (2, -(-samples // stride), kernel // 2 + 1)
    ones = torch.ones(2, 3, features.shape[1], kernel // 2 + 1)
    back = bank.decode(spectrum, ones, samples)
    assert back.shape == (2, 3, samples)
    inside = slice(kernel, samples - kernel)  # at the ends windows do not overlap fully
    for k in range(3):
        torch.testing.assert_close(back[:, k, inside], audio[:, inside], atol=1e-4, rtol=0)


def test_stft_starts_as_scipys():
    bank, audio = STFTFilterbank(512, 160), torch.randn(1, 8000)
    ours = magnitude(bank.encode(audio)[0])[0].t().detach().numpy()  # (C, F)
    window = scipy.signal.get_window("hann", 512)
    _, _, theirs = scipy.signal.stft(
        np.pad(audio[0].numpy(), (0, 512)), nperseg=512, noverlap=352, window=window
    )
    theirs = np.abs(theirs) * window.sum() / np.sqrt((window**2).sum())
    np.testing.assert_allclose(ours[:, 2:45], theirs[:, 2:45], atol=2e-3)


def test_white_noise_has_unit_magnitude():
    spectrum, _ = STFTFilterbank().encode(torch.randn(4, 32000))
    assert magnitude(spectrum)[:, :, 5:-5].square().mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("bank", [STFTFilterbank(512, 160), FreeFilterbank(64, 32, 16)])
def test_padding_changes_nothing(bank):
    audio = torch.randn(1, 5000)
    padded = torch.nn.functional.pad(audio, (0, 3000))
    frames = bank.num_frames(5000)
    alone, together = bank.encode(audio)[1], bank.encode(padded)[1][:, :frames]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bank", [STFTFilterbank(512, 160), FreeFilterbank(64, 32, 16)])
def test_filters_are_those_of_torchs_convolutions(bank):
    left = bank.kernel // 2
    spectrum = bank.analyse(torch.randn(2, 5000))
    assert spectrum.shape[1] == bank.num_frames(5000)
    audio = torch.randn(2, 4999)
    padded = torch.nn.functional.pad(audio, (left, bank.kernel))
    expected = bank.encoder(padded[:, None]).transpose(1, 2)[:, : bank.num_frames(4999)]
    torch.testing.assert_close(bank.analyse(audio), expected, atol=1e-5, rtol=1e-5)
    back = bank.decoder(spectrum.transpose(1, 2))[:, 0, left:]
    ours = bank.synthesise(spectrum, 4000)
    torch.testing.assert_close(ours, back[:, :4000], atol=1e-4, rtol=1e-5)
