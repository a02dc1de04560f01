"""Run a model over mixture cuts: activity, voices and CTC log-probabilities, one shard per job."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterable, Sequence

import torch
from lhotse.cut import Cut
from tqdm import tqdm

from ume.activity import FRAME_SAMPLES
from ume.dataset.batch import MixtureBatch
from ume.errors import UmeError
from ume.files import write_json
from ume.inference.align import align_heads, alignment_rule, heads_to_align
from ume.inference.data import job_batches
from ume.inference.shard import Shard, reduced, write_voices
from ume.models.files import load_model
from ume.models.ume import UME
from ume.nn.lengths import num_frames

INPUTS = ("separated", "sources", "mixture")


@dataclass
class Config:
    """Options of inference."""

    model: str
    """Experiment folder with `model.safetensors`."""
    cuts: str
    """Manifest of mixture cuts."""
    hyp: str
    """Hypothesis folder to write."""
    input: str = "separated"
    """`separated`: the whole system. Controls, words only: `sources` (each true source alone
    through the same recogniser), `mixture` (the unseparated mixture as one stream)."""
    beside: str = ""
    """Further inputs, with spaces between: each into the folder of its name beside `hyp`."""
    words: bool = True
    """Whether the recogniser is run as well; in min mode there are no words to score."""
    max_duration: float = 30.0
    """Seconds of audio in a batch."""
    half: bool = False
    """Keep log-probabilities in 16 bits."""
    num_threads: int = 0
    """Threads of the arithmetic; 0: torch's choice."""
    job: int = 1
    """This job, from 1."""
    num_jobs: int = 1
    """Jobs in all; job j takes every num_jobs-th batch, so the results do not depend on it."""


@torch.no_grad()
def separate(model: UME, batch: MixtureBatch, shard: Shard, config: Config) -> None:
    """The whole system on one batch."""
    output = model(batch.audio, batch.audio_lens, words=config.words)
    heads = heads_to_align(model, config.words)
    if heads:
        output = align_heads(output, batch.audio_lens, shard.activity_shift, heads)
    for index, name in enumerate(batch.ids):
        frames, samples = int(output.frame_lens[index]), int(batch.audio_lens[index])
        if output.activity_logits is not None:
            active = int(output.activity_lens[index])
            posterior = output.activity_logits[index, :active].sigmoid()
            shard.posteriors[name] = posterior.half().contiguous()
        if output.sources is not None:
            voices = output.sources[index, :, :samples].numpy()
            write_voices(Path(config.hyp), name, voices, shard.rates[name])
        if output.ctc_log_probs is not None:
            for k, stream in enumerate(output.ctc_log_probs[index], start=1):
                shard.ctc[f"{name}_{k}"] = reduced(stream[:frames], config.half)
        if output.word_states is not None:
            for k, stream in enumerate(output.word_states[index], start=1):
                shard.states[f"{name}_{k}"] = reduced(stream[:frames], True)


@torch.no_grad()
def recognise(model: UME, batch: MixtureBatch, shard: Shard, sources: bool, half: bool) -> None:
    """A control: the recogniser alone, on the true sources or on the mixture."""
    frames = num_frames(batch.audio_lens, FRAME_SAMPLES).tolist()
    streams = batch.sources.transpose(0, 1) if sources else batch.audio[None]  # (S, B, T)
    counts = batch.num_speakers.tolist() if sources else [1] * len(batch.ids)
    for k, audio in enumerate(streams, start=1):
        heard = model.recognise(audio, batch.audio_lens)
        for name, log_probs, states, length, count in zip(batch.ids, *heard, frames, counts):
            if k > count:  # a source of others in the batch
                continue
            shard.ctc[f"{name}_{k}"] = reduced(log_probs[:length], half)
            if model.asr.decoder is not None:
                shard.states[f"{name}_{k}"] = reduced(states[:length], True)


def process(
    config: Config, model: UME, batches: Iterable[MixtureBatch], cuts: Sequence[Cut]
) -> Shard:
    """All batches of a job, those of ``cuts``, with a progress bar."""
    rates = {cut.id: cut.sampling_rate for cut in cuts}
    shard = Shard(model.config.diarization.frame_shift, rates)
    with tqdm(total=len(cuts), unit="cut", mininterval=5, desc=config.input) as bar:
        for batch in batches:
            if config.input == "separated":
                separate(model, batch, shard, config)
            else:
                recognise(model, batch, shard, config.input == "sources", config.half)
            shard.num_samples.update(zip(batch.ids, batch.audio_lens.tolist()))
            bar.update(len(batch.ids))
    return shard


def main(config: Config) -> None:
    """Write this job's shards, voices and ``meta/<job>.json`` of every input."""
    beside = config.beside.split()
    for name in [config.input, *beside]:
        if name not in INPUTS:
            raise UmeError(f"--input is {name!r}; choose one of {', '.join(INPUTS)}")
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    model = load_model(config.model)
    run_input(config, model)
    for name in beside:
        run_input(replace(config, input=name, hyp=str(Path(config.hyp).parent / name)), model)
    print(f"job {config.job} of {config.num_jobs}: done", file=sys.stderr)


def run_input(config: Config, model: UME) -> None:
    """Write what one job has of one input."""
    batches, cuts = job_batches(config.cuts, config.max_duration, config.job, config.num_jobs)
    tasks = model.answers(config.words) if config.input == "separated" else ["asr"]
    started = time.process_time()
    shard = process(config, model, batches, cuts)
    hyp = Path(config.hyp)
    shard.write(hyp, config.job, config.num_jobs)
    write_json(hyp / "meta" / f"{config.job}.json", {
        **shard.meta(model, config.model, config.cuts, config.num_jobs, tasks),
        "input": config.input,
        "num_speakers": 1 if config.input == "mixture" else model.config.num_speakers,
        "alignment_rule": alignment_rule(model),
        "cpu_seconds": time.process_time() - started,
    })  # fmt: skip
