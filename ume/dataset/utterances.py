"""The utterances of a data folder as cuts of one speaker each."""

from pathlib import Path
from typing import List

from lhotse import RecordingSet, SupervisionSet
from lhotse.cut import MonoCut

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.errors import UmeError
from ume.files import PathLike, existing
from ume.mixing.cuts import source_cut, speech_segments

MADE_BY = "local/prepare_librispeech.sh or local/prepare_speakers.sh"


def utterance_cuts(folder: PathLike, part: str) -> List[MonoCut]:
    """The utterances of ``part`` that have speech, each from its supervision's start to its end.

    Raises:
        UmeError: the folder has no such part, or nothing is said in it.
    """
    path = existing(Path(folder) / f"recordings_{part}.jsonl.gz", MADE_BY)
    recordings = {recording.id: recording for recording in RecordingSet.from_file(path)}
    cuts = [
        source_cut(
            spoken.id, recordings[spoken.recording_id], spoken, 1.0, spoken.duration, spoken.start
        )
        for spoken in SupervisionSet.from_file(path.with_name(f"supervisions_{part}.jsonl.gz"))
        if speech_segments(spoken)
    ]
    if not cuts:
        raise UmeError(f"{folder}: part {part} has no speech; make it again by {MADE_BY}")
    return cuts
