"""Virtual mixture cuts (Lhotse) in the modes max, min and part, and their speech activity."""

from typing import Dict, Iterable, List, Optional, Sequence

import numpy as np
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.cut import Cut, MixedCut, MixTrack
from lhotse.utils import fastcopy

import ume.compat  # noqa: F401  (mends Lhotse)
import ume.mixing.offset  # noqa: F401  (Lhotse finds transforms in manifests)
import ume.mixing.transforms  # noqa: F401
from ume.activity import (
    FRAME_SHIFT,
    SAMPLING_RATE,
    Segment,
    merge_segments,
    num_frames,
    segments_to_frames,
)
from ume.mixing.metadata import Mixture

MODES = ("max", "min", "part")
SLACK = 1e-6  # seconds: sums of times are rounded


def mixture_cut(
    mixture: Mixture,
    recordings: Dict[str, Recording],
    supervisions: Dict[str, SupervisionSegment],
    mode: str,
) -> MixedCut:
    """The mixture cut of docs/contracts.md; recordings and supervisions by utterance.

    All recordings are of one sampling rate, and the mixture's starts in samples of it.
    """
    rate = recordings[mixture.sources[0]].sampling_rate
    lengths = [recordings[source].num_samples for source in mixture.sources]
    if mode == "min":
        lengths = [min(lengths)] * len(lengths)
    starts = mixture.starts if mode == "part" else [0] * len(lengths)
    return MixedCut(
        id=mixture.id,
        tracks=[
            MixTrack(
                source_cut(f"{mixture.id}-{k}", recordings[source], supervisions[source],
                           gain, length / rate),
                offset=start / rate,
            )
            for k, (source, gain, length, start) in enumerate(
                zip(mixture.sources, mixture.gains, lengths, starts), 1
            )
        ],
    )  # fmt: skip


def source_cut(
    name: str,
    recording: Recording,
    supervision: SupervisionSegment,
    gain: float,
    duration: float,
    start: float = 0.0,
) -> MonoCut:
    """``duration`` seconds of an utterance from ``start`` on, scaled by ``gain``.

    Words that are cut are taken out: the text becomes None unless all speech is inside.
    """
    speech = speech_segments(supervision)
    whole = not speech or (
        start - SLACK <= speech[0][0] and speech[-1][1] <= start + duration + SLACK
    )
    inside = supervision.with_offset(-start).trim(end=duration)
    items = [item for item in inside.alignment["speech"] if item.duration > 0]
    return MonoCut(
        id=name,
        start=start,
        duration=duration,
        channel=0,
        recording=recording.perturb_volume(gain, affix_id=False),
        supervisions=[fastcopy(
            inside, text=supervision.text if whole else None, alignment={"speech": items}
        )],
        custom={"gain": gain},
    )  # fmt: skip


def speech_segments(supervision: SupervisionSegment) -> List[Segment]:
    """Speech activity (s) of a supervision, in the time of the cut it is in."""
    items = (supervision.alignment or {}).get("speech", [])
    return merge_segments((item.start, item.end) for item in items)


def utterances(cut: Cut) -> Dict[str, List[SupervisionSegment]]:
    """Speaker -> supervisions in order of time; speakers in source order."""
    found: Dict[str, List[SupervisionSegment]] = {}
    for supervision in cut.supervisions:
        found.setdefault(supervision.speaker, []).append(supervision)
    return {speaker: sorted(own, key=lambda s: s.start) for speaker, own in found.items()}


def talks_over_itself(own: Sequence[SupervisionSegment]) -> bool:
    """Whether utterances of one speaker, in order of time, overlap."""
    return any(later.start < one.end - 1e-6 for one, later in zip(own, own[1:]))


def joined_text(own: Sequence[SupervisionSegment]) -> Optional[str]:
    """The words of a speaker's utterances; None unless those of all are known."""
    texts = [supervision.text for supervision in own]
    return None if None in texts else " ".join(texts)


def joined_speech(own: Sequence[SupervisionSegment]) -> List[Segment]:
    """Speech activity (s) of a speaker's utterances."""
    return merge_segments(segment for one in own for segment in speech_segments(one))


def cut_activity(cut: Cut) -> Dict[str, List[Segment]]:
    """Speaker -> speech segments (s) of a cut, within its bounds."""
    return {
        speaker: merge_segments((max(0.0, s), min(cut.duration, e)) for s, e in joined_speech(own))
        for speaker, own in utterances(cut).items()
    }


def activity_frames(cut: Cut, frame_shift: float = FRAME_SHIFT) -> np.ndarray:
    """Speech activity (F, S) of a cut's speakers, in source order, bool."""
    return speech_frames(utterances(cut), 0.0, round(cut.duration * SAMPLING_RATE), frame_shift)


def speech_frames(
    spoken: Dict[str, List[SupervisionSegment]], start: float, num_samples: int, frame_shift: float
) -> np.ndarray:
    """Speech activity (F, S) of the utterances of S speakers from ``start`` s on, bool."""
    active = np.empty((num_frames(num_samples, frame_shift), len(spoken)), dtype=bool)
    for s, own in enumerate(spoken.values()):
        turns = [(begin - start, end - start) for begin, end in joined_speech(own)]
        active[:, s] = segments_to_frames(turns, num_samples, frame_shift)
    return active


def statistics(cuts: Iterable[Cut]) -> Dict[str, float]:
    """Hours, trivial all-speak DER (%) and overlap ratio (%) over ``cuts``.

    All-speak says that every speaker of a mixture speaks all the time: all its errors are false
    alarms, relative to the speech of all speakers. The overlap ratio is the share of the time with
    speech in which speakers overlap.
    """
    seconds = 0.0
    number = speech = false_alarm = overlap = union = 0
    for cut in cuts:
        active = activity_frames(cut)  # (F, S)
        speaking = active.sum(axis=1)  # (F,)
        number += 1
        seconds += cut.duration
        speech += int(speaking.sum())
        false_alarm += active.size - int(speaking.sum())
        overlap += int((speaking > 1).sum())
        union += int((speaking > 0).sum())
    return {
        "num_mixtures": number,
        "hours": round(seconds / 3600, 3),
        "all_speak_der": round(100 * false_alarm / speech, 2),
        "overlap_ratio": round(100 * overlap / union, 2),
    }
