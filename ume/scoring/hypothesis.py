"""The hypothesis folder as the scorer reads it; a recording missing or too many is an error."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Set

import numpy as np
import soundfile

from ume.activity import read_rttm
from ume.errors import UmeError
from ume.files import PathLike, existing, read_json
from ume.scoring.diarization import Speech

Texts = Dict[str, Dict[str, str]]  # recording -> stream -> words


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis folder whose recordings have been checked."""

    path: Path
    meta: Dict[str, Any]

    @classmethod
    def open(cls, path: PathLike, ids: Iterable[str]) -> "Hypothesis":
        """Open the folder that ``ume infer`` wrote for exactly the recordings ``ids``.

        Raises:
            UmeError: the folder is missing, or its recordings are not those.
        """
        path = existing(path, made_by="ume infer")
        meta = read_json(existing(path / "meta.json", made_by="ume infer"))
        _same(set(meta["recordings"]), set(ids), path)
        return cls(path, meta)

    def has(self, task: str) -> bool:
        """Whether the model answered ``task``: diarization, separation or asr."""
        return task in self.meta["tasks"]

    @property
    def streams(self) -> List[str]:
        """Labels of the streams, ``"1"`` to ``"S"``."""
        return [str(k) for k in range(1, self.meta["num_speakers"] + 1)]

    def speech(self) -> Dict[str, Speech]:
        """Recording -> stream -> segments in seconds; empty where nobody was found."""
        recordings = self.meta["recordings"]
        annotation = read_rttm(existing(self.path / "hyp.rttm", made_by="ume infer"))
        unknown = sorted(set(annotation) - set(recordings))
        if unknown:
            raise UmeError(
                f"{self.path / 'hyp.rttm'} has {unknown[0]}, unknown to meta.json; "
                "run ume infer again"
            )
        return {recording: annotation.get(recording, {}) for recording in recordings}

    def audio(self, recording: str, num_samples: int, rate: int) -> np.ndarray:
        """The separated voices of a recording of ``rate`` Hz, float32 (S, T).

        Raises:
            UmeError: a file is missing, unreadable, or not of the mixture's length and rate.
        """
        return np.stack(
            [
                _read_audio(self.path / "audio" / f"{recording}_{stream}.flac", num_samples, rate)
                for stream in self.streams
            ]
        )

    def words(self) -> Dict[str, Texts]:
        """Decoding method -> recording -> stream -> words, of every ``words/<method>.json``."""
        files = sorted((self.path / "words").glob("*.json"))
        return {file.stem: self._read_words(file) for file in files}

    def decoding(self, setting: str) -> Dict[str, float]:
        """Decoding method -> its ``setting``, of every ``words/<method>/1.json`` that has it."""
        shares = {
            file.parent.name: read_json(file) for file in sorted(self.path.glob("words/*/1.json"))
        }
        return {method: share[setting] for method, share in shares.items() if setting in share}

    def _read_words(self, file: Path) -> Texts:
        texts: Texts = {}
        for entry in read_json(file):
            stream = texts.setdefault(entry["session_id"], {})
            if entry["speaker"] in stream:
                raise UmeError(
                    f"{file} has stream {entry['speaker']} of {entry['session_id']} "
                    "twice; run ume decode again"
                )
            stream[entry["speaker"]] = entry["words"]
        _same(set(texts), set(self.meta["recordings"]), file)
        return texts


def _same(found: Set[str], wanted: Set[str], where: Path) -> None:
    """Raise :class:`UmeError` that names a recording of only one of the two sets."""
    for ids, problem in ((wanted - found, "lacks"), (found - wanted, "has, unlike the cuts,")):
        if ids:
            others = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
            raise UmeError(
                f"{where} {problem} recording {min(ids)}{others}; make it again from the same cuts"
            )


def _read_audio(path: Path, num_samples: int, rate: int) -> np.ndarray:
    try:
        audio, found = soundfile.read(existing(path, made_by="ume infer"), dtype="float32")
    except soundfile.LibsndfileError as error:
        raise UmeError(f"{path} cannot be read ({error}); run ume infer again") from None
    if found != rate or audio.shape != (num_samples,):
        raise UmeError(
            f"{path} has {audio.shape} samples at {found} Hz, its mixture ({num_samples},) at "
            f"{rate} Hz; run ume infer again"
        )
    return audio
