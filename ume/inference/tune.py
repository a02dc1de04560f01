"""Choose the threshold and the median filter of diarization on dev."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Tuple

import numpy as np
import torch

from ume.dataset.mixtures import reference_activity
from ume.errors import UmeError
from ume.files import existing, write_json
from ume.inference.segment import binarise, read_posteriors
from ume.metrics.frame_der import frame_der
from ume.metrics.results import DiarizationErrors

THRESHOLDS = tuple(round(0.2 + 0.05 * step, 2) for step in range(13))  # 0.2 .. 0.8
MEDIANS = (1, 5, 11, 17, 25)  # frames of 20 ms


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
    posteriors: Dict[str, np.ndarray], references: Dict[str, np.ndarray]
) -> Dict[Tuple[float, int], DiarizationErrors]:
    """Frame errors at every (threshold, median); both dicts give (F, S) per recording."""
    table: Dict[Tuple[float, int], DiarizationErrors] = {}
    for median in MEDIANS:
        for threshold in THRESHOLDS:
            errors = DiarizationErrors()
            for name, reference in references.items():
                active = binarise(posteriors[name], threshold, median)
                errors += frame_der(
                    torch.from_numpy(active)[None], torch.from_numpy(reference)[None]
                )
            table[threshold, median] = errors
    return table


def main(config: Config) -> None:
    """Write the pair of lowest frame DER; of equals the first."""
    hyp = existing(config.hyp, "steps/infer.sh")
    posteriors = read_posteriors(hyp)
    references = reference_activity(config.cuts)
    missing = set(references) - set(posteriors)
    if missing:
        raise UmeError(f"{hyp} has no posteriors of {min(missing)}; run steps/infer.sh again")
    table = search(posteriors, references)
    (threshold, median), errors = min(table.items(), key=lambda item: item[1].rate)
    write_json(
        Path(config.out),
        {
            "threshold": threshold,
            "median": median,
            "frame_der": round(100 * errors.rate, 3),
            "recordings": len(references),
            "cuts": config.cuts,
        },
    )
    print(f"threshold {threshold}, median {median} frames: {errors}")
