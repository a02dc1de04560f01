"""Audio files as they are written here: FLAC of 16 bits at 16 kHz."""

import io

import numpy as np
import soundfile

from ume.activity import SAMPLING_RATE
from ume.files import PathLike, write_bytes


def write_flac(path: PathLike, audio: np.ndarray) -> None:
    """Write ``audio`` (T,), samples in [-1, 1), to ``path`` at once."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLING_RATE, "PCM_16", format="FLAC")
    write_bytes(path, buffer.getvalue())
