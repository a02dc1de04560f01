"""Log-mel features against independent computations, and their independence of padding."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.nn.frontend import LogMel, WhisperLogMel, mel_filters


def slaney_hz(mel: float) -> float:
    """Hz of a mel on Slaney's scale (Auditory Toolbox)."""
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


@pytest.mark.parametrize("num_mels, n_fft", [(80, 400), (80, 512), (128, 400)])
def test_mel_filters_are_slaneys_triangles(num_mels: int, n_fft: int) -> None:
    top = 15 + 27 * math.log(8) / math.log(6.4)
    edges = [slaney_hz(top * i / (num_mels + 1)) for i in range(num_mels + 2)]
    expected = np.zeros((num_mels, n_fft // 2 + 1))
    for m in range(num_mels):
        low, peak, high = edges[m : m + 3]
        for k in range(n_fft // 2 + 1):
            hz = k * 16000 / n_fft
            if low < hz < high:
                height = (hz - low) / (peak - low) if hz <= peak else (high - hz) / (high - peak)
                expected[m, k] = height * 2 / (high - low)
    np.testing.assert_allclose(mel_filters(num_mels, n_fft).numpy(), expected, atol=1e-7)


def test_known_values_of_whispers_filters() -> None:
    filters = mel_filters(80, 400)  # as in openai-whisper's mel_filters.npz
    assert filters[0, 1].item() == pytest.approx(0.02486259, abs=1e-7)
    assert filters[1, 1].item() == pytest.approx(0.00199082, abs=1e-7)


def direct_log_power(audio: np.ndarray, frame: int, n_fft: int, end: str) -> np.ndarray:
    """Log10 mel power of one frame, by a plain Fourier sum.

    The clip is mirrored at its start; after its ``end`` lie "zeros" or its "mirror" image.
    """
    last = len(audio) - 1
    signal = {i: audio[abs(i)] for i in range(-n_fft, len(audio)) if abs(i) <= last}
    if end == "mirror":
        signal.update({last + i: audio[last - i] for i in range(1, min(n_fft, last) + 1)})
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    times = np.arange(400) - 200
    samples = np.array([signal.get(160 * frame + int(t), 0.0) for t in times]) * window
    phases = np.outer(np.arange(n_fft // 2 + 1), times) * (-2j * np.pi / n_fft)
    power = np.abs(np.exp(phases) @ samples) ** 2
    return np.log10(np.maximum(mel_filters(80, n_fft).numpy() @ power, 1e-10))


def test_whisper_features_equal_a_direct_computation() -> None:
    audio = np.random.default_rng(0).normal(size=1700) * np.linspace(0, 1, 1700) ** 4
    features, lens = WhisperLogMel()(torch.tensor(audio[None]).float(), torch.tensor([1700]))
    log = np.stack([direct_log_power(audio, frame, 400, "zeros") for frame in range(11)])
    expected = (np.maximum(log, log.max() - 8) + 4) / 4
    assert lens.tolist() == [11]  # 10.6 hops: the last, partial one is kept
    np.testing.assert_allclose(features[0].numpy(), expected, atol=2e-5)


def test_espnet_features_equal_a_direct_computation() -> None:
    audio = np.random.default_rng(1).normal(size=1700)
    frontend = LogMel(normalise="global")
    frontend.mean += 1.0
    frontend.std *= 2.0
    features, _ = frontend(torch.tensor(audio[None]).float(), torch.tensor([1700]))
    log = np.stack(
        [direct_log_power(audio, frame, 512, "mirror") for frame in range(11)]
    ) * math.log(10)
    np.testing.assert_allclose(features[0].numpy(), (log - 1) / 2, atol=2e-4)


def test_utterance_normalisation() -> None:
    features, _ = LogMel()(torch.randn(2, 16000), torch.tensor([16000, 8000]))
    for clip in (features[0], features[1, :51]):
        torch.testing.assert_close(clip.mean(0), torch.zeros(80), atol=1e-4, rtol=0)
        torch.testing.assert_close(clip.std(0, unbiased=False), torch.ones(80), atol=1e-3, rtol=0)


@pytest.mark.parametrize("frontend", [WhisperLogMel(), LogMel(), LogMel(normalise="global")])
@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 4000), padding=st.integers(0, 4000), seed=st.integers(0, 99))
def test_padding_does_not_matter(
    frontend: torch.nn.Module, length: int, padding: int, seed: int
) -> None:
    torch.manual_seed(seed)
    clip = torch.randn(length)
    batch = torch.randn(2, length + padding) * 10  # junk where padding should be
    batch[0, :length] = clip
    together, lens = frontend(batch, torch.tensor([length, length + padding]))
    alone, _ = frontend(clip[None], torch.tensor([length]))
    whisper = isinstance(frontend, WhisperLogMel)
    frames = math.ceil(length / 160) if whisper else length // 160 + 1
    assert lens[0] == frames == alone.shape[1]
    torch.testing.assert_close(together[0, :frames], alone[0], atol=1e-5, rtol=1e-4)
    assert not together[0, frames:].any()


@pytest.mark.parametrize("frontend", [WhisperLogMel(), LogMel(), LogMel(normalise="clip")])
def test_a_source_heard_like_its_mixture_is_in_it_what_the_mixture_is(frontend) -> None:
    first, then = torch.randn(2, 1, 16000)
    first[:, 8000:], then[:, :8000] = 0, 0
    mixture, lens = first + 3 * then, torch.tensor([16000])
    whole, alone = (frontend(clip, lens)[0] for clip in (mixture, first))
    part = frontend(first, lens, mixture)[0]
    torch.testing.assert_close(part[:, :48], whole[:, :48])
    assert (alone - part).abs().max() > 0.05
    torch.testing.assert_close(frontend(mixture, lens, mixture)[0], whole)


@pytest.mark.parametrize("frontend", [WhisperLogMel(), LogMel()])
def test_silence_is_finite(frontend: torch.nn.Module) -> None:
    assert frontend(torch.zeros(1, 1000), torch.tensor([1000]))[0].isfinite().all()
