"""Analysis and synthesis filterbanks of the separation head."""

from abc import ABC, abstractmethod
from typing import Tuple

import numpy as np
import torch
from torch import Tensor, nn

from ume.nn.linear import linear


class Filterbank(nn.Module, ABC):
    """Waveform to frames and back by strided convolutions, both trainable.

    They are computed as products with overlapping frames, channels last: torch 1.13 has no fast
    kernel for the way back. ``encode`` pads the clip so that frame f is centred on sample
    ``f * stride``, and gives ``num_frames(T) = ceil(T / stride)`` frames; ``decode`` gives back T
    samples.

    Attributes:
        num_features: what the mask network sees per frame.
        num_masks: mask values per frame and source.
    """

    num_features: int
    num_masks: int

    def __init__(self, num_filters: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.encoder = nn.Conv1d(1, num_filters, kernel, stride, bias=False)  # (C, 1, L)
        self.decoder = nn.ConvTranspose1d(num_filters, 1, kernel, stride, bias=False)

    def num_frames(self, num_samples: int) -> int:
        """Frames of a clip of ``num_samples``."""
        return -(-num_samples // self.stride)

    def analyse(self, audio: Tensor) -> Tensor:
        """(B, T) -> (B, F, C)."""
        left = self.kernel // 2
        frames = self.num_frames(audio.shape[-1])
        right = (frames - 1) * self.stride + self.kernel - left - audio.shape[-1]
        padded = nn.functional.pad(audio, (left, max(right, 0)))
        cut = padded.unfold(1, self.kernel, self.stride)[:, :frames]  # (B, F, L)
        return linear(cut, self.encoder.weight[:, 0])

    def synthesise(self, frames: Tensor, num_samples: int) -> Tensor:
        """(N, F, C) -> (N, T)."""
        left = self.kernel // 2
        audio = overlap_add(linear(frames, self.decoder.weight[:, 0].t()), self.stride)[:, left:]
        missing = max(num_samples - audio.shape[-1], 0)
        return nn.functional.pad(audio, (0, missing))[:, :num_samples]

    @abstractmethod
    def encode(self, audio: Tensor) -> Tuple[Tensor, Tensor]:
        """``audio`` (B, T) -> spectrum (B, F, C) to mask, features (B, F, num_features)."""

    @abstractmethod
    def strength(self, audio: Tensor) -> Tensor:
        """How strong ``audio`` (B, T) is where a mask has a value: (B, F, num_masks), above 0."""

    @abstractmethod
    def decode(self, spectrum: Tensor, masks: Tensor, num_samples: int) -> Tensor:
        """``masks`` (B, S, F, num_masks) on ``spectrum`` (B, F, C) -> sources (B, S, T)."""


class FreeFilterbank(Filterbank):
    """Conv-TasNet's own: filters from a random start, rectified (Luo and Mesgarani, 2019)."""

    def __init__(self, num_filters: int = 512, kernel: int = 32, stride: int = 16) -> None:
        super().__init__(num_filters, kernel, stride)
        self.num_features = self.num_masks = num_filters

    def encode(self, audio: Tensor) -> Tuple[Tensor, Tensor]:
        spectrum = self.analyse(audio).relu()
        return spectrum, spectrum

    def strength(self, audio: Tensor) -> Tensor:
        return self.analyse(audio).relu()

    def decode(self, spectrum: Tensor, masks: Tensor, num_samples: int) -> Tensor:
        batch, speakers = masks.shape[:2]
        masked = (masks * spectrum[:, None]).flatten(0, 1)  # (B * S, F, C)
        return self.synthesise(masked, num_samples).view(batch, speakers, num_samples)


class STFTFilterbank(Filterbank):
    """Filters that start as a short-time Fourier transform, and are then trained.

    Real and imaginary parts share one real mask; the mask network sees the log-magnitude. Learns
    to separate in minutes where random filters need hours.
    """

    def __init__(self, kernel: int = 512, stride: int = 160) -> None:
        bins = kernel // 2 + 1
        super().__init__(2 * bins, kernel, stride)
        self.num_features = self.num_masks = bins
        analysis, synthesis = stft_filters(kernel, stride)
        with torch.no_grad():
            self.encoder.weight.copy_(analysis[:, None])
            self.decoder.weight.copy_(synthesis[:, None])

    def encode(self, audio: Tensor) -> Tuple[Tensor, Tensor]:
        spectrum = self.analyse(audio)
        return spectrum, log_magnitude(magnitude(spectrum))

    def strength(self, audio: Tensor) -> Tensor:
        return magnitude(self.analyse(audio))

    def decode(self, spectrum: Tensor, masks: Tensor, num_samples: int) -> Tensor:
        batch, speakers = masks.shape[:2]
        parts = spectrum.unflatten(2, (2, self.num_masks))  # (B, F, 2, C)
        masked = (masks[:, :, :, None] * parts[:, None]).flatten(3).flatten(0, 1)
        return self.synthesise(masked, num_samples).view(batch, speakers, num_samples)


def overlap_add(frames: Tensor, stride: int) -> Tensor:
    """Sum of ``frames`` (N, F, L), each ``stride`` samples after the one before: (N, T).

    Some zeros may follow the last frame's end.
    """
    pieces = -(-frames.shape[2] // stride)
    padded = nn.functional.pad(frames, (0, pieces * stride - frames.shape[2]))
    split = padded.unflatten(2, (pieces, stride)).unbind(dim=2)  # each (N, F, stride)
    total = nn.functional.pad(split[0], (0, 0, 0, pieces - 1))
    for late, piece in enumerate(split[1:], start=1):
        total = total + nn.functional.pad(piece, (0, 0, late, pieces - 1 - late))
    return total.flatten(1)


def magnitude(spectrum: Tensor) -> Tensor:
    """Magnitude (B, F, C) of a spectrum (B, F, 2 C) of real parts, then imaginary parts."""
    real, imaginary = spectrum.chunk(2, dim=2)
    return (real.square() + imaginary.square() + 1e-8).sqrt()


def rms(audio: Tensor, audio_lens: Tensor) -> Tensor:
    """Root mean square (B,) of each clip's own samples, above zero; padding is zero."""
    return (audio.square().sum(dim=1) / audio_lens).sqrt().clamp(min=1e-5)


def log_magnitude(magnitudes: Tensor) -> Tensor:
    """Compressed magnitudes, of any shape; audio of unit RMS gives about 0 to 6, silence 0."""
    return torch.log1p(10 * magnitudes)


def stft_filters(kernel: int, stride: int) -> Tuple[Tensor, Tensor]:
    """Analysis and synthesis filters (2 * bins, kernel) of an STFT with a Hann window.

    The analysis is scaled so that white noise of unit variance has unit magnitude; the synthesis
    is the least-squares inverse (Griffin and Lim, 1984), exact where windows overlap fully.
    """
    window = np.hanning(kernel + 1)[:-1]
    time, bins = np.arange(kernel), np.arange(kernel // 2 + 1)
    phase = 2 * np.pi * np.outer(bins, time) / kernel
    scale = np.sqrt((window**2).sum())
    analysis = np.concatenate([np.cos(phase), -np.sin(phase)]) * window / scale
    envelope = np.zeros(kernel)  # sum of squared windows over all frames, period = stride
    for start in range(-(kernel // stride) * stride, kernel, stride):
        low, high = max(start, 0), min(start + kernel, kernel)
        if low < high:
            envelope[low:high] += window[low - start : high - start] ** 2
    hermitian = np.full(len(bins), 2.0)  # a one-sided spectrum counts twice but at its ends
    hermitian[0] = hermitian[-1] = 1.0
    inverse = np.concatenate([np.cos(phase), -np.sin(phase)]) * np.tile(hermitian, 2)[:, None]
    synthesis = inverse * window * scale / kernel / envelope
    return torch.from_numpy(analysis).float(), torch.from_numpy(synthesis).float()
