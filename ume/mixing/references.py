"""References of a set in the formats of other tools: RTTM, STM, SegLST and UEM."""

from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

import meeteval
from lhotse import SupervisionSegment
from lhotse.cut import Cut

from ume.activity import Segment, write_rttm
from ume.files import write_json, write_text
from ume.mixing.cuts import cut_activity


def write_references(folder: Path, name: str, cuts: Sequence[Cut]) -> None:
    """What ``cuts`` say is true, for the set ``name`` (``<part>_<mode>``).

    ``ref_<name>.rttm`` (speech), ``utterance_<name>.rttm`` (utterances, pauses and all),
    ``ref_<name>.stm`` and ``.json`` (SegLST; only utterances whose words are known) and
    ``ref_<name>.uem`` (all of each mixture).
    """
    write_rttm(folder / f"ref_{name}.rttm", {cut.id: cut_activity(cut) for cut in cuts})
    write_rttm(folder / f"utterance_{name}.rttm", {cut.id: utterance_times(cut) for cut in cuts})
    words = meeteval.io.SegLST([
        {
            "session_id": cut.id,
            "speaker": supervision.speaker,
            "start_time": start,
            "end_time": end,
            "words": supervision.text,
        }
        for cut in cuts
        for supervision, start, end in timed(cut) if supervision.text is not None
    ])  # fmt: skip
    write_json(folder / f"ref_{name}.json", list(words))
    write_text(folder / f"ref_{name}.stm", meeteval.io.STM.new(words).dumps())
    uem = "".join(f"{cut.id} 1 0.000 {cut.duration:.3f}\n" for cut in cuts)
    write_text(folder / f"ref_{name}.uem", uem)


def timed(cut: Cut) -> Iterator[Tuple[SupervisionSegment, float, float]]:
    """Supervisions in order of time, with start and end (s) inside ``cut``, to 1 ms."""
    for supervision in sorted(cut.supervisions, key=lambda s: (s.start, s.speaker)):
        start, end = max(0.0, supervision.start), min(cut.duration, supervision.end)
        yield supervision, round(start, 3), round(end, 3)


def utterance_times(cut: Cut) -> Dict[str, List[Segment]]:
    """Speaker -> its utterances (s) from end to end."""
    times: Dict[str, List[Segment]] = {}
    for supervision, start, end in timed(cut):
        times.setdefault(supervision.speaker, []).append((start, end))
    return times
