"""Choose the threshold, the median filter and the minimum durations of diarization on dev."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

import numpy as np
import torch

from ume.activity import frame_samples, segments_to_frames
from ume.dataset.mixtures import reference_activity
from ume.errors import UmeError
from ume.files import existing, read_json, write_json
from ume.inference.segment import Rule, read_posteriors
from ume.metrics.frame_der import frame_der
from ume.metrics.results import DiarizationErrors

THRESHOLDS = tuple(round(0.2 + 0.05 * step, 2) for step in range(13))  # 0.2 .. 0.8
MEDIANS = (0.02, 0.1, 0.22, 0.34, 0.5)  # seconds
MIN_SILENCES = (0.0, 0.1, 0.2, 0.3, 0.5)  # seconds
MIN_SPEECHES = (0.0, 0.06, 0.1, 0.2)  # seconds


@dataclass
class Config:
    """Options of tuning."""

    hyp: str
    """Hypothesis folder of a dev set that `ume infer` wrote."""
    cuts: str
    """Manifest of the same dev set."""
    out: str
    """`tuned.json` to write."""


def search(
    rules: Iterable[Rule],
    posteriors: Dict[str, np.ndarray],
    references: Dict[str, np.ndarray],
    frame_shift: float,
) -> Dict[Rule, DiarizationErrors]:
    """Frame errors of every rule; both dicts give (F, S) per recording."""
    table: Dict[Rule, DiarizationErrors] = {}
    for rule in rules:
        errors = DiarizationErrors()
        for name, reference in references.items():
            samples = len(reference) * frame_samples(frame_shift)
            streams = rule.segments(posteriors[name], samples, frame_shift)
            active = np.stack(
                [segments_to_frames(turns, samples, frame_shift) for turns in streams], axis=1
            )  # (F, K)
            most = max(active.shape[1], reference.shape[1])  # streams, or speakers, of nobody
            both = [
                np.pad(each, ((0, 0), (0, most - each.shape[1]))) for each in (active, reference)
            ]
            errors += frame_der(*(torch.from_numpy(each)[None] for each in both))
        table[rule] = errors
    return table


def first_rules(frame_shift: float) -> List[Rule]:
    """Every threshold with every median filter."""
    medians = [2 * int(seconds / frame_shift / 2 + 1e-6) + 1 for seconds in MEDIANS]
    return [Rule(threshold, median) for median in medians for threshold in THRESHOLDS]


def second_rules(rule: Rule) -> List[Rule]:
    """``rule`` with every pair of minimum durations, none first."""
    return [
        replace(rule, min_silence=silence, min_speech=speech)
        for silence in MIN_SILENCES
        for speech in MIN_SPEECHES
    ]


def best(table: Dict[Rule, DiarizationErrors]) -> Tuple[Rule, DiarizationErrors]:
    """The rule of the lowest error rate; of equals the first."""
    return min(table.items(), key=lambda item: item[1].rate)


def main(config: Config) -> None:
    """Write the rule that :func:`best` finds: first without minimum durations, then with them.

    A model without a diarization head has no rule.
    """
    hyp = existing(config.hyp, "steps/infer.sh")
    if "diarization" not in read_json(existing(hyp / "meta" / "1.json", "steps/infer.sh"))["tasks"]:
        write_json(Path(config.out), {"recordings": 0})
        print("the model has no diarization head: there is nothing to choose")
        return
    posteriors, shift = read_posteriors(hyp)
    references = reference_activity(config.cuts, shift)
    missing = set(references) - set(posteriors)
    if missing:
        raise UmeError(f"{hyp} has no posteriors of {min(missing)}; run steps/infer.sh again")
    rule, _ = best(search(first_rules(shift), posteriors, references, shift))
    rule, errors = best(search(second_rules(rule), posteriors, references, shift))
    write_json(
        Path(config.out),
        {
            **asdict(rule),
            "frame_shift": shift,
            "frame_der": round(100 * errors.rate, 3),
            "recordings": len(references),
            "cuts": config.cuts,
        },
    )
    print(f"{rule}: {errors}")
