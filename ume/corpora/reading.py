"""Audio files of a corpus, read whole: 16 kHz, one channel, with errors for people."""

from pathlib import Path

import numpy as np
import soundfile

from ume.activity import SAMPLING_RATE
from ume.errors import UmeError

SILENT = 1e-4  # peak below which a recording holds nothing


def read_header(path: Path, mono: bool = True) -> "soundfile._SoundFileInfo":
    """The file's header; :class:`UmeError` unless it says 16 kHz and, for ``mono``, one channel."""
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        raise UmeError(f"{path} is not readable audio; restore or remove it") from None
    if info.samplerate != SAMPLING_RATE:
        raise UmeError(f"{path} has {info.samplerate} Hz, not {SAMPLING_RATE}; resample it")
    if mono and info.channels != 1:
        raise UmeError(f"{path} has {info.channels} channels, not 1; make it mono")
    return info


def read_audio(path: Path, num_samples: int) -> np.ndarray:
    """All samples (T,); :class:`UmeError` if they are cut short, silent or not finite."""
    audio = read_samples(path, num_samples)
    if np.abs(audio).max(initial=0.0) < SILENT:
        raise UmeError(f"{path} is silent; remove it")
    return audio


def read_samples(path: Path, num_samples: int) -> np.ndarray:
    """All samples (T,); :class:`UmeError` if they are cut short or not finite."""
    try:
        audio, _ = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError:
        audio = np.zeros(0, dtype=np.float32)
    if len(audio) != num_samples:
        raise UmeError(f"{path} is truncated; restore or remove it")
    if not np.isfinite(audio).all():
        raise UmeError(f"{path} holds NaN or infinite samples; restore or remove it")
    return audio
