"""Write the words that Whisper's own decoder hears in separated voices, true sources or mixtures.

One word file per method: ``words/whisper.json``, and for separated voices of a model that diarizes
also ``words/whisper-gated.json``, where each voice is silent outside its own diarization.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Literal

import ume.compat  # noqa: F401  (before lhotse)

# isort: split
import numpy as np
import soundfile
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from tqdm import tqdm

from ume.activity import SAMPLING_RATE, Annotation, read_rttm, segments_to_samples
from ume.audio import resample
from ume.dataset.mixtures import load_example
from ume.errors import UmeError
from ume.files import existing, read_json, write_json
from ume.inference.transcribe import Transcriber
from ume.jobs import check_job, of_job

GROUP = 8  # recordings decoded together, whatever the number of jobs: so the words are the same
Entries = Dict[str, List[Dict[str, Any]]]  # method -> SegLST


@dataclass
class Config:
    """Options of the cascade."""

    hyp: str
    """Hypothesis folder: words go to its `words/`; for `separated` it holds the voices."""
    cuts: str
    """Manifest of mixture cuts."""
    input: Literal["separated", "sources", "mixture"] = "separated"
    """The voices in the hypothesis folder, the true sources, or the mixture as one stream."""
    whisper: str = "auto"
    """Whisper model: a folder or file (Hugging Face, OpenAI, CTranslate2), or auto"""
    num_threads: int = 0
    """Threads of the arithmetic; 0: torch's choice."""
    job: int = 1
    """This job, from 1; 0 merges the shares of all jobs."""
    num_jobs: int = 1
    """Number of jobs; the words do not depend on it."""


def main(config: Config) -> None:
    """Transcribe one job's share of the recordings; the only job merges too."""
    check_job(config.job, config.num_jobs, first=0)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    if config.job > 0:
        transcribe_share(config)
    if config.job == 0 or config.num_jobs == 1:
        merge(config)


def share(config: Config, job: int) -> Path:
    """The file of one job's words."""
    return Path(config.hyp) / "words" / "whisper" / f"{job}.json"


def transcribe_share(config: Config) -> None:
    """Write ``words/whisper/<job>.json``: this job's words and what they were made with."""
    started = time.process_time()
    cuts = sorted(CutSet.from_file(existing(config.cuts)), key=lambda cut: (cut.duration, cut.id))
    groups = [cuts[start : start + GROUP] for start in range(0, len(cuts), GROUP)]
    voices = Voices(config)
    transcriber = Transcriber(config.whisper)
    words: Entries = {method: [] for method in voices.methods}
    for group in tqdm(of_job(groups, config.job, config.num_jobs), desc="cascade", mininterval=5):
        for method, entries in transcribe_group(group, voices, transcriber).items():
            words[method] += entries
    write_json(
        share(config, config.job),
        {
            "whisper": str(transcriber.path),
            "sha256": transcriber.sha256,
            "cuts": config.cuts,
            "input": config.input,
            "num_jobs": config.num_jobs,
            "cpu_seconds": time.process_time() - started,
            "words": words,
        },
    )
    count = max(transcriber.num_windows, 1)
    print(
        f"{transcriber.num_windows} windows of 30 s: encoder "
        f"{1000 * transcriber.encode_seconds / count:.0f} ms, "
        f"decoder {1000 * transcriber.decode_seconds / count:.0f} ms of CPU each"
    )


class Voices:
    """Where the streams to transcribe come from, and what each method does to them."""

    def __init__(self, config: Config) -> None:
        self.hyp, self.input = Path(config.hyp), config.input
        self.methods = ["whisper"]
        if self.input == "separated":
            meta = read_json(existing(self.hyp / "meta.json", "steps/infer.sh"))
            self.num_speakers: int = meta["num_speakers"]
            if "diarization" in meta["tasks"]:
                self.methods.append("whisper-gated")
                rttm = existing(self.hyp / "hyp.rttm", "steps/infer.sh")
                self.activity: Annotation = read_rttm(rttm)

    def load(self, cut: Cut) -> List[np.ndarray]:
        """The streams of ``cut``, each (T,) float32, in order 1..S."""
        if self.input == "mixture":
            return [load_example(cut).audio]
        if self.input == "sources":
            return list(load_example(cut).sources)
        return [self.separated(f"{cut.id}_{k}") for k in range(1, self.num_speakers + 1)]

    def separated(self, name: str) -> np.ndarray:
        """One separated voice."""
        path = existing(self.hyp / "audio" / f"{name}.flac", "steps/infer.sh")
        try:
            audio, rate = soundfile.read(path, dtype="float32")
        except soundfile.LibsndfileError:
            raise UmeError(f"{path} cannot be read; run steps/infer.sh again") from None
        return resample(audio, rate, SAMPLING_RATE)

    def gated(self, cut: Cut, voices: List[np.ndarray]) -> List[np.ndarray]:
        """``voices`` of ``cut``, zero where the diarization says that they are silent."""
        turns = self.activity.get(cut.id, {})
        return [
            voice * segments_to_samples(turns.get(str(k), []), len(voice))
            for k, voice in enumerate(voices, start=1)
        ]


def transcribe_group(cuts: List[Cut], voices: Voices, transcriber: Transcriber) -> Entries:
    """SegLST of the streams of ``cuts``, by method."""
    streams = [voices.load(cut) for cut in cuts]
    result: Entries = {}
    for method in voices.methods:
        if method == "whisper-gated":
            streams = [voices.gated(*pair) for pair in zip(cuts, streams, strict=True)]
        words = iter(transcriber([voice for group in streams for voice in group]))
        result[method] = [
            {
                "session_id": cut.id,
                "speaker": str(k),
                "start_time": 0.0,
                "end_time": round(cut.duration, 3),
                "words": next(words),
            }
            for cut, group in zip(cuts, streams, strict=True)
            for k in range(1, len(group) + 1)
        ]
    return result


def merge(config: Config) -> None:
    """Join the shares of all jobs as ``words/<method>.json``, and ``cascade.json``."""
    first = read_json(existing(share(config, 1), "steps/cascade.sh"))
    paths = [share(config, job) for job in range(1, first["num_jobs"] + 1)]
    shares = [read_json(existing(path, "steps/cascade.sh")) for path in paths]
    for path, part in zip(paths, shares, strict=True):
        if any(part[name] != first[name] for name in ("sha256", "num_jobs", "cuts", "input")):
            raise UmeError(f"{path} is of another run; run steps/cascade.sh again")
    for method in first["words"]:
        entries = [entry for part in shares for entry in part["words"][method]]
        entries.sort(key=lambda entry: (entry["session_id"], entry["speaker"]))
        write_json(Path(config.hyp) / "words" / f"{method}.json", entries)
    about = {name: first[name] for name in ("whisper", "sha256", "cuts", "input")}
    about["cpu_seconds"] = sum(part["cpu_seconds"] for part in shares)
    write_json(Path(config.hyp) / "cascade.json", about)
