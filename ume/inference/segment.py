"""Speech posteriors to who spoke when: threshold, median filter, RTTM; and the folder's meta.json.

The last step of inference: it joins what the jobs wrote and checks that nothing is missing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from safetensors.numpy import load_file
from scipy.ndimage import median_filter

from ume.activity import Annotation, frames_to_segments, write_rttm
from ume.errors import UmeError
from ume.files import existing, read_json, write_json


@dataclass
class Config:
    """Options of segmentation."""

    hyp: str
    """Hypothesis folder that `ume infer` wrote."""
    tuned: str
    """`tuned.json` of `ume tune`: threshold and median filter, chosen on dev."""


def binarise(posteriors: np.ndarray, threshold: float, median: int) -> np.ndarray:
    """Speech activity (F, S), bool, of posteriors (F, S).

    The median filter is over ``median`` (odd) frames of each speaker; edges are repeated.
    """
    smooth = median_filter(posteriors.astype(np.float32), size=(median, 1), mode="nearest")
    return smooth > threshold


def read_posteriors(hyp: Path) -> Dict[str, np.ndarray]:
    """All jobs' posteriors, recording -> (F, S)."""
    found: Dict[str, np.ndarray] = {}
    for path in sorted(existing(hyp / "posteriors", "steps/infer.sh").glob("*.safetensors")):
        found.update(load_file(path))
    return found


def join_meta(hyp: Path) -> Dict[str, Any]:
    """One ``meta.json`` out of the jobs' own; shards of an earlier run with more jobs go."""
    first = read_json(existing(hyp / "meta" / "1.json", "steps/infer.sh"))
    jobs = [str(job) for job in range(1, first["num_jobs"] + 1)]
    parts = [read_json(existing(hyp / "meta" / f"{job}.json", "steps/infer.sh")) for job in jobs]
    for name in ("model_sha256", "cuts_sha256", "num_jobs", "input"):
        if any(part[name] != first[name] for part in parts):
            raise UmeError(f"{hyp}/meta: the jobs do not agree on {name}; run steps/infer.sh again")
    for path in [*hyp.glob("meta/*.json"), *hyp.glob("*/*.safetensors")]:
        if path.stem not in jobs:
            path.unlink()
    samples = {name: count for part in parts for name, count in part["num_samples"].items()}
    return {
        **first,
        "num_recordings": len(samples),
        "audio_seconds": sum(part["audio_seconds"] for part in parts),
        "cpu_seconds": sum(part["cpu_seconds"] for part in parts),
        "recordings": sorted(samples),
        "num_samples": samples,
    }


def main(config: Config) -> None:
    """Write ``hyp.rttm``, ``segments.json`` (where there are posteriors) and ``meta.json``."""
    hyp = existing(config.hyp, "steps/infer.sh")
    meta = join_meta(hyp)
    if meta["input"] == "separated" and (hyp / "posteriors").exists():
        tuned = read_json(existing(config.tuned, "ume tune"))
        meta.update(threshold=tuned["threshold"], median=tuned["median"])
        found = read_posteriors(hyp)
        missing = set(meta["recordings"]) ^ set(found)
        if missing:
            raise UmeError(f"{hyp}: no posteriors of {min(missing)}; run steps/infer.sh again")
        samples = meta["num_samples"]
        annotation: Annotation = {}
        for name in meta["recordings"]:
            active = binarise(found[name], tuned["threshold"], tuned["median"])  # (F, S)
            annotation[name] = {
                str(k): frames_to_segments(frames, samples[name])
                for k, frames in enumerate(active.T, start=1)
            }
        write_rttm(hyp / "hyp.rttm", annotation)
        write_json(hyp / "segments.json", seglst(annotation))
    write_json(hyp / "meta.json", meta)


def seglst(annotation: Annotation) -> List[Dict[str, Any]]:
    """The segments as SegLST, without words."""
    return [
        {
            "session_id": name,
            "speaker": speaker,
            "start_time": round(start, 3),
            "end_time": round(end, 3),
            "words": "",
        }
        for name, speakers in annotation.items()
        for speaker, segments in speakers.items()
        for start, end in segments
    ]
