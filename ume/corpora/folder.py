"""The data folder of docs/contracts.md: Lhotse manifests, Kaldi text and about.json of a corpus."""

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

from lhotse import AudioSource, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import SAMPLING_RATE, Segment, merge_segments
from ume.files import write_json, write_text


@dataclass(frozen=True)
class Utterance:
    """One utterance of one speaker: what a data folder holds about it."""

    id: str
    speaker: str
    gender: str
    text: Optional[str]  # upper case, one space between words; None: no words are promised
    path: Path
    num_samples: int
    speech: List[Segment]  # seconds
    activity: str  # where ``speech`` comes from: "alignment" or "vad"
    session: Optional[str] = None  # recording session, such as a video
    language: Optional[str] = "English"
    trimmed: bool = False  # the supervision spans the speech, not the whole file

    def recording(self) -> Recording:
        """The utterance as a Lhotse recording."""
        return Recording(
            id=self.id,
            sources=[AudioSource(type="file", channels=[0], source=str(self.path))],
            sampling_rate=SAMPLING_RATE,
            num_samples=self.num_samples,
            duration=self.num_samples / SAMPLING_RATE,
        )

    def supervision(self) -> SupervisionSegment:
        """The utterance as a Lhotse supervision with its ``alignment["speech"]``."""
        duration = self.num_samples / SAMPLING_RATE
        speech = [
            (start, min(end, duration))
            for start, end in merge_segments(self.speech)
            if start < duration
        ]
        first, last = (speech[0][0], speech[-1][1]) if self.trimmed else (0.0, duration)
        return SupervisionSegment(
            id=self.id,
            recording_id=self.id,
            start=first,
            duration=round(last - first, 7),
            text=self.text,
            language=self.language,
            speaker=self.speaker,
            gender=self.gender,
            alignment={"speech": [
                AlignmentItem("speech", round(start, 7), round(end - start, 7))
                for start, end in speech
            ]},
            custom={"session": self.session} if self.session else None,
        )  # fmt: skip


def write_data_folder(
    folder: Path, parts: Dict[str, List[Utterance]], about: Dict[str, Any]
) -> None:
    """Write manifests, texts and about.json, which begins with ``about``, to ``folder``."""
    for part, utterances in parts.items():
        utterances = sorted(utterances, key=lambda utterance: utterance.id)
        write_manifest(folder / f"recordings_{part}.jsonl.gz", (u.recording() for u in utterances))
        write_manifest(
            folder / f"supervisions_{part}.jsonl.gz", (u.supervision() for u in utterances)
        )
        lines = [f"{u.id} {u.text}\n" for u in utterances if u.text is not None]
        write_text(folder / f"text_{part}", "".join(lines))
    summaries = {part: summary(utterances) for part, utterances in parts.items()}
    write_json(folder / "about.json", {**about, "parts": summaries})


def audio_bytes(parts: Dict[str, List[Utterance]]) -> int:
    """How large the files of all utterances are: in about.json it tells the stages that measure
    audio that another has taken its place."""
    return sum(u.path.stat().st_size for utterances in parts.values() for u in utterances)


def write_manifest(path: Path, items: Iterable[Any]) -> None:
    """Write recordings, supervisions or cuts as Lhotse does, but the same bytes each time."""
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        for item in items:
            file.write((json.dumps(item.to_dict(), ensure_ascii=False) + "\n").encode())


def summary(utterances: List[Utterance]) -> Dict[str, Any]:
    """Counts of one part, its speakers and their sex."""
    return {
        "num_utterances": len(utterances),
        "num_with_text": sum(u.text is not None for u in utterances),
        "hours": round(sum(u.num_samples for u in utterances) / SAMPLING_RATE / 3600, 3),
        "activity": dict(sorted(Counter(u.activity for u in utterances).items())),
        "speakers": dict(sorted({u.speaker: u.gender for u in utterances}.items())),
    }
