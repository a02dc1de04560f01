"""Real recordings with a reference of who speaks when: cuts of voices that nobody knows apart."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import SAMPLING_RATE, Segment, read_rttm, write_rttm
from ume.corpora.folder import write_manifest
from ume.corpora.reading import read_header
from ume.errors import UmeError
from ume.files import atomic_folder, existing, write_json
from ume.mixing.cuts import cut_activity, statistics

MODE = "part"


@dataclass
class Config:
    """Options of ``ume prepare-recordings``."""

    audio: str
    """Folder of `<recording>.flac` or `.wav`, 16 kHz, one channel."""
    rttm: str
    """RTTM file of who speaks when in them."""
    output: str
    """Mixture folder to write."""
    part: str = "test"
    """Part that the recordings make up."""


def main(config: Config) -> None:
    """Write ``cuts_<part>_part.jsonl.gz``, ``ref_<part>_part.rttm`` and ``about.json``.

    Speech after the end of a recording is left out, said and counted.

    Raises:
        UmeError: no audio; a recording that the RTTM file does not know, or without its audio.
    """
    if not re.fullmatch("[A-Za-z0-9-]+", config.part):
        raise UmeError(f"--part {config.part}: give a name of letters, digits and hyphens")
    folder = existing(config.audio)
    paths = {path.stem: path for path in sorted(folder.glob("*.flac"))}
    for path in sorted(folder.glob("*.wav")):
        if path.stem in paths:
            raise UmeError(f"{path} is there as FLAC, too; remove one of them")
        paths[path.stem] = path
    reference = read_rttm(config.rttm)
    if not paths:
        raise UmeError(f"{folder} holds no *.flac or *.wav; check the path")
    missing = sorted(set(paths) ^ set(reference))
    if missing:
        where = config.rttm if missing[0] in paths else config.audio
        raise UmeError(f"{where} lacks recording {missing[0]}")
    cuts = [recording_cut(path, reference[name]) for name, path in paths.items()]
    outside = {cut.id: left_out(cut, reference[cut.id]) for cut in cuts}
    outside = {name: found for name, found in outside.items() if any(found.values())}
    for name, found in outside.items():
        print(
            f"{paths[name]} is shorter than its reference: {found['seconds']:.2f} s of speech and "
            f"{found['speakers']} whole speaker(s) are left out"
        )
    with atomic_folder(config.output, "about.json", [config.audio, config.rttm]) as output:
        name = f"{config.part}_{MODE}"
        write_manifest(output / f"cuts_{name}.jsonl.gz", cuts)
        write_rttm(output / f"ref_{name}.rttm", {cut.id: cut_activity(cut) for cut in cuts})
        about: Dict[str, Any] = {"audio": str(folder), "rttm": config.rttm}
        write_json(output / "about.json", {
            **about, "outside": outside, "parts": {config.part: {MODE: statistics(cuts)}},
        })  # fmt: skip


def left_out(cut: MonoCut, speakers: Dict[str, List[Segment]]) -> Dict[str, float]:
    """Speech (s) of a reference after the end of the cut, and speakers who have no other."""
    late = [(max(start, cut.duration), end) for own in speakers.values() for start, end in own]
    return {
        "speakers": len(speakers.keys() - {s.speaker for s in cut.supervisions}),
        "seconds": round(sum(end - start for start, end in late if end > start), 2),
    }


def recording_cut(path: Path, speakers: Dict[str, List[Segment]]) -> MonoCut:
    """A recording with a supervision for each of its speakers, from first word to last."""
    header = read_header(path)
    recording = Recording.from_file(path, recording_id=path.stem)
    duration = header.frames / SAMPLING_RATE
    supervisions = []
    for speaker, segments in sorted(speakers.items()):
        inside = [(start, min(end, duration)) for start, end in segments if start < duration]
        if not inside:
            continue
        supervisions.append(SupervisionSegment(
            id=f"{path.stem}-{speaker}",
            recording_id=path.stem,
            start=inside[0][0],
            duration=round(inside[-1][1] - inside[0][0], 7),
            speaker=speaker,
            alignment={"speech": [
                AlignmentItem("speech", round(start, 7), round(end - start, 7))
                for start, end in inside
            ]},
        ))  # fmt: skip
    if not supervisions:
        raise UmeError(
            f"{path} lasts {duration:.1f} s and all its speech in the RTTM file is after that; "
            "check the file, and that its times are seconds"
        )
    return MonoCut(
        id=path.stem, start=0.0, duration=recording.duration, channel=0, recording=recording,
        supervisions=supervisions,
    )  # fmt: skip
