"""Echo's whole stack: recordings in; who spoke when, latents, voices and tokens out.

How many people speak is not told. The hypothesis folder is that of ``ume infer``: ``ume tune``,
``ume segment``, ``ume decode`` and ``ume score`` go on from here.
"""

import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Optional, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ume.activity import FRAME_SAMPLES, FRAME_SHIFT, num_frames
from ume.dataset.mixtures import load_example, read_cuts
from ume.dataset.tokenizer import Tokenizer
from ume.errors import UmeError
from ume.files import existing, read_json, write_json
from ume.inference.routing import Heard, Rule, hear, link, shares, stitch, voices
from ume.inference.shard import Shard, reduced, write_voices
from ume.jobs import of_job
from ume.mixing.cuts import utterances
from ume.models.echo import Echo
from ume.models.files import load_echo

NEEDED = ("speakers", "slots")  # stages
SURE = 30.0  # nats by which nothing is likelier than any token where nobody is
LINKED = "slots of windows are linked by their embeddings"


@dataclass
class Config:
    """Options of ``ume stack``."""

    model: str
    """Experiment folder of Echo, after the stages speakers and slots."""
    cuts: str
    """Manifest of recordings or mixtures."""
    hyp: str
    """Hypothesis folder to write."""
    rule: Optional[str] = None
    """JSON of `ume tune-stack`; without it the defaults."""
    oracle_count: bool = False
    """Whether it is told how many people speak in each recording."""
    most: Optional[int] = None
    """People of a recording, at most; without it as many as there are slots. Those who speak most
    stay; what the others say is given to whom it is most like."""
    window: float = 6.0
    """Seconds that slots hear at once: what they were trained on."""
    hop: float = 3.0
    """Seconds from one window to the next."""
    num_threads: int = 0
    """Threads of the arithmetic; 0: torch's choice."""
    job: int = 1
    """This job, from 1."""
    num_jobs: int = 1
    """Jobs in all; job j takes every num_jobs-th recording, so the results do not depend on it."""


def main(config: Config) -> None:
    """Write this job's shards, voices and ``meta/<job>.json``."""
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    check_windows(config.window, config.hop, config.rule)
    rule = Rule() if config.rule is None else read_rule(config.rule)
    echo = load_with(config.model, NEEDED)
    most = config.most or echo.config.slots.num_slots
    cuts = sorted(read_cuts(config.cuts), key=lambda cut: (cut.duration, cut.id))
    mine = of_job(cuts, config.job, config.num_jobs)
    shard = Shard(FRAME_SHIFT, {cut.id: cut.sampling_rate for cut in mine})
    started, hyp = time.process_time(), Path(config.hyp)
    for cut in tqdm(mine, unit="cut", mininterval=5):
        audio = load_example(cut).audio
        heard = hear(echo, audio, config.window, config.hop)
        count = len(utterances(cut)) if config.oracle_count else None
        people = link(heard, rule, most, count)
        shard.num_samples[cut.id] = heard.num_samples
        shard.posteriors[cut.id] = reduced(torch.from_numpy(posteriors(heard, people, most)), True)
        made = stitch(voices(echo, audio, heard), heard.starts * FRAME_SAMPLES, people, len(audio))
        write_voices(hyp, cut.id, padded(made, most), cut.sampling_rate)
        keep_latents(echo, cut.id, heard, people, most, shard)
    shard.write(hyp, config.job, config.num_jobs)
    tasks = ["diarization", "separation"] + ["asr"] * ("content" in echo.config.stages)
    write_json(hyp / "meta" / f"{config.job}.json", {
        **shard.meta(echo, config.model, config.cuts, config.num_jobs, tasks),
        "input": "separated",
        "num_speakers": most,
        "alignment_rule": LINKED,
        "cpu_seconds": time.process_time() - started,
    })  # fmt: skip
    print(f"job {config.job} of {config.num_jobs}: done", file=sys.stderr)


def load_with(folder: str, stages: Sequence[str]) -> Echo:
    """A model that has been through ``stages``."""
    echo = load_echo(folder)
    for stage in stages:
        if stage not in echo.config.stages:
            raise UmeError(f"{folder} has not been through stage {stage}; train it first")
    return echo


def check_windows(window: float, hop: float, rule: Optional[str] = None) -> None:
    """One line for windows that leave something unheard, or that a rule was not chosen for."""
    if not FRAME_SHIFT <= hop <= window:
        raise UmeError(f"--hop {hop:g}: give more than 0 and at most --window, {window:g}")
    chosen = {} if rule is None else read_json(existing(rule, "ume tune-stack"))
    for name, value in (("window", window), ("hop", hop)):
        if chosen.get(name, value) != value:
            raise UmeError(
                f"--{name} {value:g}: {rule} was chosen for {chosen[name]:g}; make them agree"
            )


def read_rule(path: str) -> Rule:
    """What ``ume tune-stack`` has chosen."""
    chosen = read_json(existing(path, "ume tune-stack"))
    names = [part.name for part in fields(Rule)]
    for name in names:
        if name not in chosen:
            raise UmeError(f"{path} does not say {name}; make it again by ume tune-stack")
    return Rule(*(chosen[name] for name in names))


def posteriors(heard: Heard, people: np.ndarray, most: int) -> np.ndarray:
    """Speech of each of ``most`` people (N, G), zero of those that there are not."""
    frames = num_frames(heard.num_samples)
    active = heard.activity.transpose(0, 2, 1) * shares(heard.activity, people)  # (W, K, F)
    made = stitch(active, heard.starts, people, frames)  # (G, N)
    return padded(made, most).T


@torch.no_grad()
def keep_latents(
    echo: Echo, name: str, heard: Heard, people: np.ndarray, most: int, shard: Shard
) -> None:
    """Put the latents of each person into ``shard``, and what tokens each of ``most`` says.

    The latents of ``heard`` are used up.
    """
    windows = (window.numpy() for _ in range(len(heard.latents)) for window in heard.latents.pop(0))
    own = shares(heard.activity, people)[..., None].astype(np.float32)  # (W, K, F, 1)
    frames = num_frames(heard.num_samples)
    made = stitch(map(np.multiply, own, windows), heard.starts, people, frames, present=True)
    for k, stream in enumerate(padded(made, most), start=1):
        latents = torch.from_numpy(stream)
        if k <= len(made):
            shard.latents[f"{name}_{k}"] = reduced(latents, True)
        if "content" in echo.config.stages:
            shard.ctc[f"{name}_{k}"] = reduced(tokens(echo, latents), True)


def tokens(echo: Echo, latents: Tensor) -> Tensor:
    """Log-probabilities (N, V) of tokens in ``latents`` (N, D); blank where these are zero."""
    nobody = torch.full((echo.config.vocab_size,), -SURE)
    nobody[Tokenizer.blank] = 0.0
    return torch.where(latents.any(dim=1, keepdim=True), echo.log_probs(latents), nobody)


def padded(people: np.ndarray, most: int) -> np.ndarray:
    """``people`` (G, N, ...) as ``most`` of them, zero those that there are not."""
    missing = [(0, most - len(people)), *[(0, 0)] * (people.ndim - 1)]
    return np.pad(people, missing)
