"""Speech posteriors to who spoke when, as RTTM; and the folder's meta.json.

The last step of inference: it joins what the jobs wrote and checks that nothing is missing.
"""

import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file
from scipy.ndimage import median_filter

from ume.activity import (
    FRAME_SHIFT,
    Annotation,
    Segment,
    frames_to_segments,
    merge_segments,
    write_rttm,
)
from ume.errors import UmeError
from ume.files import existing, read_json, write_json

ROUNDING = 1e-6  # seconds: sums of frames are not exact


@dataclass
class Config:
    """Options of segmentation."""

    hyp: str
    """Hypothesis folder that `ume infer` wrote."""
    tuned: str
    """`tuned.json` of `ume tune`: what it chose on dev."""


@dataclass(frozen=True)
class Rule:
    """How posteriors become segments."""

    threshold: float
    """Posterior above which a frame is speech."""
    median: int = 1
    """Frames (odd) of the median filter; 1: none."""
    min_silence: float = 0.0
    """Pauses of a speaker up to so many seconds are filled."""
    min_speech: float = 0.0
    """Segments under so many seconds are then dropped."""

    @classmethod
    def read(cls, path: str) -> "Rule":
        """The rule in ``tuned.json``."""
        tuned = read_json(existing(path, "ume tune"))
        return cls(**{field.name: tuned[field.name] for field in fields(cls)})

    def segments(
        self, posteriors: np.ndarray, num_samples: int, frame_shift: float
    ) -> List[List[Segment]]:
        """Segments (s) of each speaker, of posteriors (F, S) of a signal of ``num_samples``."""
        found: List[List[Segment]] = []
        for frames in binarise(posteriors, self.threshold, self.median).T:
            segments = frames_to_segments(frames, num_samples, frame_shift)
            segments = merge_segments(segments, self.min_silence + ROUNDING)
            found.append([(s, e) for s, e in segments if e - s >= self.min_speech - ROUNDING])
        return found


def binarise(posteriors: np.ndarray, threshold: float, median: int) -> np.ndarray:
    """Speech activity (F, S), bool, of posteriors (F, S).

    The median filter is over ``median`` (odd) frames of each speaker; edges are repeated.
    """
    smooth = median_filter(posteriors.astype(np.float32), size=(median, 1), mode="nearest")
    return smooth > threshold


def read_posteriors(hyp: Path) -> Tuple[Dict[str, np.ndarray], float]:
    """All jobs' posteriors, recording -> (F, S), and their frame shift in seconds."""
    found: Dict[str, np.ndarray] = {}
    shift = FRAME_SHIFT
    for path in sorted(existing(hyp / "posteriors", "steps/infer.sh").glob("*.safetensors")):
        found.update(load_file(path))
        with safe_open(str(path), framework="numpy") as shard:
            metadata = shard.metadata() or {}
        if "frame_shift" not in metadata:
            raise UmeError(f"{path} does not say its frame_shift; run steps/infer.sh again")
        shift = float(metadata["frame_shift"])
    return found, shift


def join_meta(hyp: Path) -> Dict[str, Any]:
    """One ``meta.json`` out of the jobs' own."""
    first = read_json(existing(hyp / "meta" / "1.json", "steps/infer.sh"))
    jobs = [str(job) for job in range(1, first["num_jobs"] + 1)]
    parts = [read_json(existing(hyp / "meta" / f"{job}.json", "steps/infer.sh")) for job in jobs]
    for name in ("model_sha256", "cuts_sha256", "num_jobs", "input"):
        if any(part[name] != first[name] for part in parts):
            raise UmeError(f"{hyp}/meta: the jobs do not agree on {name}; run steps/infer.sh again")
    samples = {name: count for part in parts for name, count in part["num_samples"].items()}
    return {
        **first,
        "num_recordings": len(samples),
        "audio_seconds": sum(part["audio_seconds"] for part in parts),
        "cpu_seconds": sum(part["cpu_seconds"] for part in parts),
        "recordings": sorted(samples),
        "num_samples": samples,
    }


def drop_words(hyp: Path, meta: Dict[str, Any]) -> None:
    """Remove words that were decoded of what another model, or other cuts, gave here before."""
    if not (hyp / "meta.json").exists():
        return
    before = read_json(hyp / "meta.json")
    if (hyp / "words").exists() and any(
        before[name] != meta[name] for name in ("model_sha256", "cuts_sha256")
    ):
        shutil.rmtree(hyp / "words")
        print(f"removed {hyp / 'words'}: they were of another model or other cuts")


def drop_other_tasks(hyp: Path, tasks: Sequence[str]) -> None:
    """Remove what a model of other ``tasks`` gave here before."""
    if "separation" not in tasks:
        shutil.rmtree(hyp / "audio", ignore_errors=True)
    if "diarization" not in tasks:
        for name in ("hyp.rttm", "segments.json"):
            (hyp / name).unlink(missing_ok=True)


def main(config: Config) -> None:
    """Write ``hyp.rttm``, ``segments.json`` (where there are posteriors) and ``meta.json``."""
    hyp = existing(config.hyp, "steps/infer.sh")
    meta = join_meta(hyp)
    drop_words(hyp, meta)
    drop_other_tasks(hyp, meta["tasks"])
    if "diarization" in meta["tasks"]:
        rule = Rule.read(config.tuned)
        found, shift = read_posteriors(hyp)
        meta.update(asdict(rule), frame_shift=shift)
        missing = set(meta["recordings"]) ^ set(found)
        if missing:
            raise UmeError(f"{hyp}: no posteriors of {min(missing)}; run steps/infer.sh again")
        samples = meta["num_samples"]
        annotation: Annotation = {}
        for name in meta["recordings"]:
            streams = rule.segments(found[name], samples[name], shift)
            annotation[name] = {str(k): turns for k, turns in enumerate(streams, start=1)}
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
