"""Virtual mixture cuts (Lhotse) in the modes max, min and part, and their speech activity."""

from typing import Dict, Iterable, List

import numpy as np
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.cut import Cut, MixedCut, MixTrack
from lhotse.utils import fastcopy

import ume.compat  # noqa: F401  (mends Lhotse)
import ume.mixing.transforms  # noqa: F401  (Lhotse finds them in manifests)
from ume.activity import FRAME_SHIFT, SAMPLING_RATE, Segment, merge_segments, segments_to_frames
from ume.mixing.metadata import Mixture

MODES = ("max", "min", "part")


def mixture_cut(
    mixture: Mixture,
    recordings: Dict[str, Recording],
    supervisions: Dict[str, SupervisionSegment],
    mode: str,
) -> MixedCut:
    """The mixture cut of docs/contracts.md; recordings and supervisions by utterance."""
    lengths = [recordings[source].num_samples for source in mixture.sources]
    if mode == "min":
        lengths = [min(lengths)] * len(lengths)
    starts = mixture.starts if mode == "part" else [0] * len(lengths)
    return MixedCut(
        id=mixture.id,
        tracks=[
            MixTrack(
                source_cut(f"{mixture.id}-{k}", recordings[source], supervisions[source],
                           gain, length / SAMPLING_RATE),
                offset=start / SAMPLING_RATE,
            )
            for k, (source, gain, length, start) in enumerate(
                zip(mixture.sources, mixture.gains, lengths, starts), 1
            )
        ],
    )  # fmt: skip


def source_cut(
    name: str, recording: Recording, supervision: SupervisionSegment, gain: float, duration: float
) -> MonoCut:
    """The first ``duration`` seconds of an utterance, scaled by ``gain``.

    Words that are cut are taken out: the text becomes None unless all speech is inside.
    """
    speech = speech_segments(supervision)
    whole = not speech or speech[-1][1] <= duration
    inside = supervision.trim(end=duration)
    items = [item for item in inside.alignment["speech"] if item.duration > 0]
    return MonoCut(
        id=name,
        start=0.0,
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


def cut_activity(cut: Cut) -> Dict[str, List[Segment]]:
    """Speaker -> speech segments (s) of a cut, within its bounds."""
    activity: Dict[str, List[Segment]] = {}
    for supervision in cut.supervisions:
        inside = [(max(0.0, s), min(cut.duration, e)) for s, e in speech_segments(supervision)]
        activity.setdefault(supervision.speaker, []).extend(inside)
    return {speaker: merge_segments(segments) for speaker, segments in activity.items()}


def activity_frames(cut: Cut, frame_shift: float = FRAME_SHIFT) -> np.ndarray:
    """Speech activity (F, S) of a cut's supervisions, in track order, bool."""
    samples = round(cut.duration * SAMPLING_RATE)
    return np.stack(
        [segments_to_frames(speech_segments(s), samples, frame_shift) for s in cut.supervisions],
        axis=-1,
    )


def statistics(cuts: Iterable[Cut]) -> Dict[str, float]:
    """Hours, sex pairs, trivial all-speak DER (%) and overlap ratio (%) over ``cuts``.

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
