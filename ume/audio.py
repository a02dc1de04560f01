"""Audio files: read through Lhotse with errors for people, written as FLAC of 16 bits."""

import io
from typing import Any, List, Optional, Union

import numpy as np
import soundfile
from lhotse import Recording, RecordingSet, load_manifest
from lhotse.audio.utils import AudioLoadingError, DurationMismatchError
from lhotse.cut import Cut, MixedCut

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import SAMPLING_RATE
from ume.errors import UmeError
from ume.files import PathLike, existing, write_bytes

DAMAGED = (AudioLoadingError, DurationMismatchError)


def load_audio(item: Union[Cut, Recording], **options: Any) -> Any:
    """What Lhotse's ``item.load_audio(**options)`` returns.

    Raises:
        UmeError: an audio file behind it is missing or damaged; names it.
    """
    try:
        return item.load_audio(**options)
    except DAMAGED:
        raise UmeError(
            f"{damaged_file(item)} is missing or damaged; restore it, or prepare the corpus again"
        ) from None


def read_recordings(path: Optional[str], option: str) -> List[Recording]:
    """The recordings of a manifest given by ``option``, which are at 16 kHz; none of None.

    Raises:
        UmeError: there are none, or one is at another rate.
    """
    if path is None:
        return []
    manifest = load_manifest(existing(path))
    if not isinstance(manifest, RecordingSet) or not len(manifest):
        raise UmeError(f"{option}: {path} holds no recordings; make it by `lhotse prepare`")
    for recording in manifest:
        if recording.sampling_rate != SAMPLING_RATE:
            raise UmeError(
                f"{option}: {recording.id} in {path} is at {recording.sampling_rate} Hz; "
                "resample it to 16000 Hz"
            )
    return list(manifest)


def damaged_file(item: Union[Cut, Recording]) -> str:
    """The first audio file behind ``item`` that cannot be read."""
    parts = [track.cut for track in item.tracks] if isinstance(item, MixedCut) else [item]
    for recording in (getattr(part, "recording", part) for part in parts):
        try:
            recording.load_audio()
        except DAMAGED:
            return str(recording.sources[0].source)
    return item.id


class _OneReading(soundfile.SoundFile):
    """A file that is read once: else soundfile seeks after reading, and a seek decodes FLAC."""

    def seekable(self) -> bool:
        """Whether to look where the file stands before and after reading."""
        return False


def decode(path: PathLike, first: int, out: np.ndarray, channel: int = 0) -> int:
    """Fill ``out`` (T,), float32, with one channel of a file from sample ``first`` on.

    Returns how many samples there are. Raises :class:`soundfile.LibsndfileError`.
    """
    with _OneReading(path) as file:
        if first:
            file.seek(first)
        if file.channels == 1:
            return len(file.read(out=out))
        audio = file.read(len(out), dtype="float32")[:, channel]
    out[: len(audio)] = audio
    return len(audio)


def resample(audio: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """``audio`` (..., T) of ``rate`` Hz at ``wanted`` Hz, (..., ceil(T * wanted / rate))."""
    if rate == wanted:
        return audio
    from scipy.signal import resample_poly  # half a second to import, and seldom needed

    return resample_poly(audio, wanted, rate, axis=-1).astype(audio.dtype, copy=False)


def write_flac(path: PathLike, audio: np.ndarray, rate: int = SAMPLING_RATE) -> None:
    """Write ``audio`` (T,), samples in [-1, 1), to ``path`` at once."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, "PCM_16", format="FLAC")
    write_bytes(path, buffer.getvalue())
