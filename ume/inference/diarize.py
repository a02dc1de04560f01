"""Diarize recordings by Echo's embeddings of windows and VBx; overlap is not looked for."""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, List, Optional

import numpy as np
import torch
from lhotse.cut import Cut
from tqdm import tqdm

from ume.activity import FRAME_SHIFT, Segment, detect_speech, merge_segments, segments_to_frames
from ume.dataset.mixtures import load_example, read_cuts
from ume.errors import UmeError
from ume.files import existing, read_json, write_json
from ume.inference.clustering import Options, diarize
from ume.inference.plda import Plda
from ume.inference.shard import Shard
from ume.inference.stack import load_with
from ume.inference.tune_clustering import Recording, tune
from ume.inference.vbx import Hmm
from ume.inference.voice_windows import embed_windows, latents_of, windows_of
from ume.jobs import of_job
from ume.mixing.cuts import cut_activity
from ume.models.echo import Echo


@dataclass
class Config:
    """Options of ``ume diarize``."""

    model: str
    """Experiment folder of Echo, after the stage speakers."""
    cuts: str
    """Manifest of recordings or mixtures."""
    plda: str
    """Model of `ume train-plda`."""
    hyp: Optional[str] = None
    """Hypothesis folder to write."""
    tune: Optional[str] = None
    """JSON to write instead: the options of clustering of the lowest DER on these cuts."""
    options: Optional[str] = None
    """That JSON, for `hyp`; without it VBx's starting point for AMI."""
    oracle_speech: bool = False
    """Whether it is told where somebody speaks; else a VAD finds it in the mixture."""
    most: int = 8
    """People of a recording, at most; those who speak least are left out."""
    num_threads: int = 0
    """Threads of the arithmetic; 0: torch's choice."""
    job: int = 1
    """This job, from 1."""
    num_jobs: int = 1
    """Jobs in all; job j takes every num_jobs-th recording, so the results do not depend on it."""


def main(config: Config) -> None:
    """Tune, or write this job's posteriors (0 or 1) and ``meta/<job>.json``."""
    if (config.hyp is None) == (config.tune is None):
        raise UmeError("give one of --hyp and --tune")
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    echo, plda = load_with(config.model, ["speakers"]), Plda.read(config.plda)
    cuts = sorted(read_cuts(config.cuts), key=lambda cut: (cut.duration, cut.id))
    started = time.process_time()
    mine = of_job(cuts, config.job, config.num_jobs)
    recordings = [recording(echo, cut, config.oracle_speech) for cut in tqdm(mine, mininterval=5)]
    if config.tune is not None:
        options, errors = tune(recordings, plda)
        write_json(Path(config.tune), {
            **asdict(options), "frame_der": round(100 * errors.rate, 3), "cuts": config.cuts,
        })  # fmt: skip
        print(f"{options}: {errors}")
        return
    hyp = Path(str(config.hyp))
    options = Options() if config.options is None else read_options(config.options)
    shard = Shard(FRAME_SHIFT, {cut.id: cut.sampling_rate for cut in mine})
    for cut, own in zip(mine, recordings):
        samples = round(cut.duration * 16000)
        shard.num_samples[cut.id] = samples
        people = diarize(own.embeddings, own.windows, plda, options)
        shard.posteriors[cut.id] = streams(people, samples, config.most)
    shard.write(hyp, config.job, config.num_jobs)
    write_json(hyp / "meta" / f"{config.job}.json", {
        **shard.meta(echo, config.model, config.cuts, config.num_jobs, ["diarization"]),
        "input": "separated",
        "num_speakers": config.most,
        "alignment_rule": "clusters of embeddings of windows",
        "cpu_seconds": time.process_time() - started,
    })  # fmt: skip
    print(f"job {config.job} of {config.num_jobs}: done", file=sys.stderr)


def recording(echo: Echo, cut: Cut, oracle_speech: bool) -> Recording:
    """The embedded windows of a recording, and who speaks when in it."""
    audio, reference = load_example(cut).audio, cut_activity(cut)
    if oracle_speech:
        speech = merge_segments(segment for own in reference.values() for segment in own)
    else:
        speech = detect_speech(audio)
    windows = windows_of(speech)
    return Recording(embed_windows(echo, latents_of(echo, audio), windows), windows, reference)


def streams(people: Dict[str, List[Segment]], num_samples: int, most: int) -> torch.Tensor:
    """Speech (N, ``most``) of the people who speak most, 0 or 1, in 16 bits."""
    length = {name: sum(end - start for start, end in own) for name, own in people.items()}
    kept = sorted(sorted(people, key=lambda name: -length[name])[:most], key=int)
    frames = [segments_to_frames(people[name], num_samples) for name in kept]
    frames += [segments_to_frames([], num_samples)] * (most - len(kept))
    return torch.from_numpy(np.stack(frames, axis=1)).half()


def read_options(path: str) -> Options:
    """What tuning has chosen."""
    chosen = read_json(existing(path, "ume diarize --tune"))
    return Options(Hmm(**chosen["hmm"]), chosen["scores"], chosen["offset"])
