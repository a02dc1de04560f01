"""A stretch of a cut's samples, read from its file directly where that gives what Lhotse gives."""

from typing import List, Optional

import numpy as np
import soundfile
from lhotse import MonoCut
from lhotse.augmentation import AudioTransform, Volume

from ume.audio import decode, load_audio
from ume.mixing.offset import Offset

POINTWISE = (Volume, Offset)  # transforms that treat every sample alone


def load_stretch(
    cut: MonoCut, first: int, count: int, out: Optional[np.ndarray] = None
) -> np.ndarray:
    """Samples [``first``, ``first + count``) of ``cut``, float32 (count,), in ``out`` if given.

    They are those of ``cut.truncate(...).load_audio()``, whose bookkeeping takes half as long as
    decoding a source of 7 s. Raises :class:`UmeError` if the audio is missing or damaged.
    """
    out = np.empty(count, dtype=np.float32) if out is None else out
    if not read_directly(cut, first, out):
        rate = cut.sampling_rate
        part = cut.truncate(offset=first / rate, duration=count / rate, preserve_id=True)
        audio = load_audio(part)[0, :count]  # maybe a sample less, after resampling
        out[: len(audio)], out[len(audio) :] = audio, 0
        return out[: len(audio)]
    return out


def read_directly(cut: MonoCut, first: int, out: np.ndarray) -> bool:
    """Fill ``out`` from a plain file with gains at most; False if it is not that, or too short."""
    recording = cut.recording
    transforms: List[AudioTransform] = cut.recording.transforms or []
    source, start = recording.sources[0], round(cut.start * cut.sampling_rate) + first
    pointwise = all(isinstance(transform, POINTWISE) for transform in transforms)
    if len(recording.sources) > 1 or source.type != "file" or not pointwise:
        return False
    try:
        count = decode(source.source, start, out, source.channels.index(cut.channel))
    except (soundfile.LibsndfileError, RuntimeError):
        return False
    if count < len(out):
        return False
    for transform in transforms:  # in place: memory anew costs more than the product
        if isinstance(transform, Volume):
            out *= transform.factor
        elif isinstance(transform, Offset):
            out += transform.value
    return True
