"""References of a set of mixture cuts as files of other tools: RTTM, STM, SegLST and UEM."""

from pathlib import Path
from typing import Any, Dict, List

from lhotse.cut import Cut
from meeteval.io import STM, SegLST

from ume.activity import Annotation, write_rttm
from ume.files import write_json, write_text
from ume.mixing.cuts import cut_activity


class References:
    """Who speaks when and what, gathered cut by cut.

    ``speech`` holds the speech activity, ``utterances`` all of each utterance, pauses and edges
    included; both are clipped to the cut. ``words`` is SegLST, of the mixtures whose texts are all
    whole: a reference that lacks a voice would count its words as insertions.
    """

    def __init__(self) -> None:
        self.speech: Annotation = {}
        self.utterances: Annotation = {}
        self.words: List[Dict[str, Any]] = []
        self.durations: Dict[str, float] = {}  # seconds

    def add(self, cut: Cut) -> None:
        """Take the references of ``cut``."""
        supervisions = cut.supervisions
        spans = [(max(0.0, s.start), min(cut.duration, s.end)) for s in supervisions]
        self.speech[cut.id] = cut_activity(cut)
        whole = self.utterances.setdefault(cut.id, {})
        for supervision, span in zip(supervisions, spans):
            whole.setdefault(supervision.speaker, []).append(span)
        self.durations[cut.id] = cut.duration
        if any(supervision.text is None for supervision in supervisions):
            return
        self.words += [
            {
                "session_id": cut.id,
                "speaker": supervision.speaker,
                "start_time": round(start, 3),
                "end_time": round(end, 3),
                "words": supervision.text,
            }
            for supervision, (start, end) in zip(supervisions, spans)
        ]

    def write(self, folder: Path, name: str) -> None:
        """Write the files of set ``name``, such as ``dev_max``, sorted by recording."""
        write_rttm(folder / f"ref_{name}.rttm", self.speech)
        write_rttm(folder / f"utterance_{name}.rttm", self.utterances)
        words = sorted(self.words, key=lambda segment: segment["session_id"])
        write_json(folder / f"ref_{name}.json", words)
        write_text(folder / f"ref_{name}.stm", STM.new(SegLST(words)).dumps() if words else "")
        ends = sorted(self.durations.items())
        lines = [f"{recording} 1 0.000 {end:.3f}\n" for recording, end in ends]
        write_text(folder / f"ref_{name}.uem", "".join(lines))
