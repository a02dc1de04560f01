"""A stretch of a cut's samples, read from its file directly where that gives what Lhotse gives."""

from typing import List, Optional

import numpy as np
import soundfile
from lhotse import MonoCut
from lhotse.augmentation import AudioTransform, Volume

from ume.audio import load_audio
from ume.mixing.offset import Offset

POINTWISE = (Volume, Offset)  # transforms that treat every sample alone


def load_stretch(cut: MonoCut, first: int, count: int) -> np.ndarray:
    """Samples [``first``, ``first + count``) of ``cut``, float32 (count,).

    They are those of ``cut.truncate(...).load_audio()``, whose bookkeeping takes half as long as
    decoding a source of 7 s. Raises :class:`UmeError` if the audio is missing or damaged.
    """
    audio = read_directly(cut, first, count)
    if audio is not None:
        return audio
    rate = cut.sampling_rate
    part = cut.truncate(offset=first / rate, duration=count / rate, preserve_id=True)
    return load_audio(part)[0, :count]


def read_directly(cut: MonoCut, first: int, count: int) -> Optional[np.ndarray]:
    """The same from a plain file with gains at most; None if it is not that, or not all there."""
    recording = cut.recording
    transforms = transforms_of(cut)
    source, start = recording.sources[0], round(cut.start * cut.sampling_rate) + first
    pointwise = all(isinstance(transform, POINTWISE) for transform in transforms)
    if len(recording.sources) > 1 or source.type != "file" or not pointwise:
        return None
    try:
        audio, _ = soundfile.read(source.source, count, start, dtype="float32")  # (T,) or (T, C)
    except (soundfile.LibsndfileError, RuntimeError):
        return None
    if audio.ndim == 2:
        audio = audio[:, source.channels.index(cut.channel)]
    if len(audio) < count:
        return None
    for transform in transforms:  # in place: memory anew costs more than the product
        if isinstance(transform, Volume):
            audio *= transform.factor
        elif isinstance(transform, Offset):
            audio += transform.value
    return audio


def transforms_of(cut: MonoCut) -> List[AudioTransform]:
    """What is done to the samples of a cut's file; manifests hold it as plain dictionaries."""
    return [
        one if isinstance(one, AudioTransform) else AudioTransform.from_dict(one)
        for one in cut.recording.transforms or []
    ]
