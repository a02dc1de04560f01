"""Training mixtures made harder: other speeds, rooms, noise; drawn by (seed, epoch, cut) alone."""

import zlib
from dataclasses import dataclass, field, replace
from typing import List, Optional

import numpy as np
from lhotse import Recording

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import SAMPLING_RATE, num_frames
from ume.audio import load_audio, read_recordings
from ume.dataset.batch import Example
from ume.errors import UmeError

DIRECT = 0.95  # the direct sound is the first sample of a response above this share of its peak
STREAM = 1  # of random numbers: not those that have drawn the window
EARLY = 0.05  # seconds after it that still count as the source: what a separation should give


@dataclass
class AugmentConfig:
    """What is done to training mixtures; nothing by default."""

    speeds: List[float] = field(default_factory=lambda: [1.0])
    """factors on the speed of a mixture, one drawn for each; such as [0.9, 1.0, 1.1]"""
    rirs: Optional[str] = None
    """recordings manifest (Lhotse) of room impulse responses at 16 kHz; the room is the same for
    all sources of a mixture where its recording has a channel for each"""
    rir_share: float = 0.5
    """share of the mixtures that are put into a room"""
    noise: Optional[str] = None
    """recordings manifest (Lhotse) of noise at 16 kHz"""
    noise_share: float = 0.5
    """share of the mixtures that noise is added to"""
    noise_snr: List[float] = field(default_factory=lambda: [0.0, 20.0])
    """lowest and highest ratio of the mixture, as it is then, to the noise, dB"""


class Augmenter:
    """Changes examples as an :class:`AugmentConfig` says.

    Sources stay the references: sped up, and with the early part (50 ms) of a room's response;
    its reverberation and noise are in the mixture only.
    """

    def __init__(self, config: AugmentConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        if not config.speeds or min(config.speeds) <= 0:
            raise UmeError(f"augment.speeds is {config.speeds}; give factors above 0")
        for name in ("rir_share", "noise_share"):
            if not 0 <= getattr(config, name) <= 1:
                raise UmeError(f"augment.{name} is {getattr(config, name)}; give it from 0 to 1")
        snr = config.noise_snr
        if len(snr) != 2 or not snr[0] <= snr[1]:
            raise UmeError(
                f"augment.noise_snr is {snr}; give the lowest and the highest, such as [0, 20]"
            )
        self.rirs = read_recordings(config.rirs, "augment.rirs")
        self.noise = read_recordings(config.noise, "augment.noise")

    def __call__(self, example: Example, epoch: int, nth: int = 0) -> Example:
        """``example`` as it is heard in ``epoch``; its ``nth`` copy otherwise."""
        config = self.config
        own = [self.seed, epoch, zlib.crc32(example.id.encode()), STREAM]
        rng = np.random.default_rng(own + [nth] * (nth > 0))
        example = change_speed(example, float(rng.choice(config.speeds)))
        if self.rirs and rng.uniform() < config.rir_share:
            example = reverberate(example, self.draw_responses(len(example.sources), rng))
        if self.noise and rng.uniform() < config.noise_share:
            noise = self.draw_noise(len(example.audio), rng)
            low, high = config.noise_snr
            example = add_noise(example, noise, rng.uniform(low, high))
        return example

    @property
    def slowest(self) -> float:
        """The lowest speed that a mixture can have; at most 1."""
        return min(1.0, *self.config.speeds)

    def at_slowest(self) -> "Augmenter":
        """The same, but for the speed, which is always the lowest."""
        return Augmenter(replace(self.config, speeds=[min(self.config.speeds)]), self.seed)

    def draw_responses(self, count: int, rng: np.random.Generator) -> List[np.ndarray]:
        """A response (T,) for each source: channels of one recording, or several recordings."""
        first = load_audio(draw(self.rirs, rng))
        if len(first) >= count:
            return [first[channel] for channel in rng.permutation(len(first))[:count]]
        return [first[0], *(load_audio(draw(self.rirs, rng))[0] for _ in range(count - 1))]

    def draw_noise(self, length: int, rng: np.random.Generator) -> np.ndarray:
        """A stretch of noise (``length``,), repeated where the recording is shorter."""
        recording = draw(self.noise, rng)
        spare = recording.num_samples - length
        if spare <= 0:
            audio = load_audio(recording)[0]
            return np.resize(np.roll(audio, -int(rng.integers(len(audio)))), length)
        start = int(rng.integers(spare + 1)) / SAMPLING_RATE
        cut = recording.to_cut().truncate(offset=start, duration=length / SAMPLING_RATE)
        return load_audio(cut)[0, :length]


def draw(choices: List[Recording], rng: np.random.Generator) -> Recording:
    """One of ``choices``."""
    return choices[int(rng.integers(len(choices)))]


def change_speed(example: Example, speed: float) -> Example:
    """Everything ``speed`` times as fast, and as much higher."""
    if speed == 1.0:
        return example
    from scipy.signal import resample_poly  # half a second to import, and seldom needed

    slow, fast = 100, round(100 * speed)
    sources = resample_poly(example.sources, slow, fast, axis=1).astype(np.float32)
    audio = resample_poly(example.audio, slow, fast).astype(np.float32)
    frames = num_frames(len(audio), example.frame_shift)
    origin = (np.arange(frames) + 0.5) * (len(example.activity) / frames)
    activity = example.activity[origin.astype(int)]
    return replace(example, audio=audio, sources=sources, activity=activity)


def reverberate(example: Example, responses: List[np.ndarray]) -> Example:
    """Each source in its room; levels, and what else is in the mixture, stay as they are."""
    from scipy.signal import fftconvolve  # see change_speed

    rest = example.audio - example.sources.sum(axis=0)  # (T,), noise
    length = example.sources.shape[1]
    wet, early = [], []
    for source, response in zip(example.sources, responses):
        start = int(np.argmax(np.abs(response) >= DIRECT * np.abs(response).max()))
        response = response[start:]
        heard = fftconvolve(source, response)[:length]
        near = fftconvolve(source, response[: round(EARLY * SAMPLING_RATE)])[:length]
        gain = np.sqrt(np.square(source).sum() / max(np.square(near).sum(), 1e-12))
        wet.append(gain * heard)
        early.append(gain * near)
    mixture = rest + np.sum(wet, axis=0)
    return replace(
        example, audio=mixture.astype(np.float32), sources=np.stack(early).astype(np.float32)
    )


def add_noise(example: Example, noise: np.ndarray, snr: float) -> Example:
    """``noise`` (T,) at ``snr`` dB below the mixture."""
    speech, power = np.square(example.audio).mean(), np.square(noise).mean()
    if speech == 0 or power == 0:
        return example
    gain = np.sqrt(speech / power) * 10 ** (-snr / 20)
    return replace(example, audio=example.audio + (gain * noise).astype(np.float32))
