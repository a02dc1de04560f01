"""Lhotse audio transforms that give a virtual mixture the samples of LibriMix's own scripts.

Lhotse finds a transform of a manifest by its class, so import this module before reading cuts.

Lhotse asks a transform first which time of the audio it needs for the time that is wanted, and
then hands it that audio. Both transforms here need more than is wanted, and drop the rest: so a
window, or a cut that ends early, has the very samples that the whole has there.
"""

import math
import threading
from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np
from lhotse import Recording
from lhotse.augmentation import AudioTransform
from lhotse.utils import fastcopy

from ume.activity import SAMPLING_RATE

FADE = SAMPLING_RATE // 2 + 1  # samples of the crossfade between two copies of a noise
MARGIN = 11  # samples after resampling: scipy's filter reaches 10 of them to each side


class _Wanted(threading.local):
    """What each transform has been asked for and not been given yet: (first sample, number)."""

    def __init__(self) -> None:
        self.ranges: dict = {}

    def remember(self, transform: AudioTransform, first: int, count: int) -> None:
        self.ranges[id(transform)] = (first, count)

    def recall(self, transform: AudioTransform, whole: int) -> Tuple[int, int]:
        return self.ranges.pop(id(transform), (0, whole))


_WANTED = _Wanted()


@dataclass
class ExtendNoise(AudioTransform):
    """Noise of exactly ``num_samples``, 16 kHz: its beginning, or copies of it joined.

    The copies are crossfaded over half a second by the two halves of a Hann window, as in
    LibriMix's ``extend_noise``. Source: Cosentino et al. 2020, arXiv 2005.11262.

    Args:
        file_samples: samples of the noise's file.
        num_samples: samples to make of it.
    """

    file_samples: int
    num_samples: int

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        """``samples`` (channels, T) as they were asked for."""
        if self.file_samples >= self.num_samples:
            return samples
        first, count = _WANTED.recall(self, self.num_samples)
        return extend(samples, self.num_samples)[:, first : first + count]

    def reverse_timestamps(
        self, offset: float, duration: Optional[float], sampling_rate: int
    ) -> Tuple[float, Optional[float]]:
        """What to read: the same time, never beyond ``num_samples``; all of a noise too short."""
        first = round(offset * SAMPLING_RATE)
        wanted = self.num_samples if duration is None else round(duration * SAMPLING_RATE)
        count = min(wanted, self.num_samples - first)
        if self.file_samples >= self.num_samples:
            return offset, count / SAMPLING_RATE
        _WANTED.remember(self, first, count)
        return 0.0, None


@dataclass
class ResamplePoly(AudioTransform):
    """The rate divided by ``factor``, by scipy's ``resample_poly``, as LibriMix does it.

    Args:
        num_samples: samples before; there are ceil(``num_samples`` / ``factor``) after.
        factor: 2 for 16 to 8 kHz.
    """

    num_samples: int
    factor: int

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        """``samples`` (channels, T) resampled, as they were asked for."""
        from scipy.signal import resample_poly  # half a second to import, and seldom needed

        resampled = resample_poly(samples, 1, self.factor, axis=-1)
        first, count = _WANTED.recall(self, resampled.shape[-1])
        return resampled[:, first : first + count]

    def reverse_timestamps(
        self, offset: float, duration: Optional[float], sampling_rate: int
    ) -> Tuple[float, Optional[float]]:
        """What to read: what the filter reaches beyond the time that is wanted, too."""
        total = -(-self.num_samples // self.factor)
        first = round(offset * sampling_rate)
        count = total - first if duration is None else round(duration * sampling_rate)
        begin = max(0, first - MARGIN)
        end = min(self.num_samples, (first + count + MARGIN) * self.factor)
        _WANTED.remember(self, first - begin, count)
        rate = sampling_rate * self.factor
        return begin / sampling_rate, (end - begin * self.factor) / rate


def extend(noise: np.ndarray, num_samples: int) -> np.ndarray:
    """``noise`` (channels, T), T > ``FADE``, continued by itself to (channels, ``num_samples``)."""
    rising = np.hanning(2 * FADE - 1)[:FADE]
    extended = noise
    while extended.shape[-1] < num_samples:
        joint = extended[:, -FADE:] * rising[::-1] + noise[:, :FADE] * rising
        extended = np.concatenate([extended[:, :-FADE], joint, noise[:, FADE:]], axis=-1)
    return extended[:, :num_samples].astype(np.float32)


def fitted(noise: Recording, num_samples: int) -> Recording:
    """``noise``, 16 kHz, as a recording of ``num_samples``."""
    return fastcopy(
        noise,
        num_samples=num_samples,
        duration=num_samples / SAMPLING_RATE,
        transforms=[ExtendNoise(noise.num_samples, num_samples), *(noise.transforms or [])],
    )


def resampled(recording: Recording, rate: int) -> Recording:
    """``recording``, with what is done to it already, at ``rate`` Hz, which divides its own."""
    if rate == recording.sampling_rate:
        return recording
    factor = recording.sampling_rate // rate
    transform = ResamplePoly(recording.num_samples, factor)
    num_samples = math.ceil(recording.num_samples / factor)
    return fastcopy(
        recording,
        sampling_rate=rate,
        num_samples=num_samples,
        duration=num_samples / rate,
        transforms=[*(recording.transforms or []), transform],
    )


def file_format(recording: Recording) -> Tuple[int, int]:
    """Sampling rate (Hz) and samples of the file behind ``recording``."""
    rate, num_samples = recording.sampling_rate, recording.num_samples
    for transform in reversed(recording.transforms or []):
        if isinstance(transform, ResamplePoly):
            rate, num_samples = rate * transform.factor, transform.num_samples
        elif isinstance(transform, ExtendNoise):
            num_samples = transform.file_samples
    return rate, num_samples
