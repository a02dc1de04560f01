"""Turn the CTC log-probabilities of a hypothesis folder into words, ``words/<method>.json``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Literal, Optional

from ume.errors import UmeError
from ume.files import existing, read_json, write_json
from ume.jobs import check_job

Method = Literal[
    "ctc-greedy-search",
    "prefix-beam-search",
    "ctc-decoding",
    "1best",
    "nbest",
    "nbest-oracle",
    "nbest-rescoring",
    "whole-lattice-rescoring",
    "attention-decoder",
    "ctc-attention",
    "attention",
]
# what `ume tune-decoding` chooses
TUNED = ("blank_penalty", "lm_scale", "attention_scale", "pretrained_share")


@dataclass
class Config:
    """Options of ``ume decode``."""

    hyp: str
    """Hypothesis folder, with `ctc/` inside."""
    lang: str
    """Lang folder the model was trained with."""
    method: Method = "1best"
    """ctc-greedy-search: the best token of every frame. prefix-beam-search: the best text over all
    its alignments. ctc-decoding: best path over the CTC topology. 1best: the same over HLG.
    nbest: best word sequence of paths drawn from HLG's lattices. nbest-oracle: the one of them
    with fewest errors. nbest-rescoring: the best with the 4-gram in the place of HLG's 3-gram.
    whole-lattice-rescoring: best path with the 4-gram. attention-decoder: best sequence of lattices
    with the 4-gram, judged by the model's attention decoder too. ctc-attention: beam search by that
    decoder and CTC together. attention: greedy search by its foundation decoder alone, whose tokens
    are not the CTC's. Without k2 there are ctc-greedy-search, prefix-beam-search, 1best and the
    last two."""
    model: Optional[str] = None
    """Experiment folder whose model has made the streams (attention-decoder, ctc-attention and
    attention only)."""
    cuts: Optional[str] = None
    """Manifest of the set, for its texts (nbest-oracle only). A stream's text is that of the
    speaker whom cpWER pairs it with by `words/1best.json`, which must be there."""
    beam: int = 8
    """Hypotheses of a stream (prefix-beam-search and ctc-attention only)."""
    ctc_weight: float = 0.3
    """Share of CTC in the score, the rest is the decoder's (ctc-attention only)."""
    search_beam: float = 15.0
    """Beam of the search (icefall: 20, slower; 10 is enough for a well-trained model)."""
    output_beam: float = 5.0
    """Beam of the lattice (icefall: 8)."""
    min_active_states: int = 30
    """States kept per frame at least."""
    max_active_states: int = 2000
    """States kept per frame at most (icefall: 10000)."""
    hlg_scale: float = 1.0
    """Factor on the scores of HLG (all methods that use it)."""
    num_paths: int = 100
    """Paths drawn from a lattice (nbest methods and attention-decoder)."""
    nbest_scale: float = 0.5
    """Factor on the lattice's scores where paths are drawn; smaller ones give more different
    word sequences."""
    lm_scale: float = 1.0
    """Factor on the 4-gram's scores (rescoring methods and attention-decoder)."""
    attention_scale: float = 1.0
    """Factor on the attention decoder's log-probability (attention-decoder only)."""
    pretrained_share: float = 0.0
    """Share of the weights that training began from, `encoder_weights` in the `config.yaml` of
    `model`, in those of the foundation decoder; the rest is what it ended with (attention only)."""
    max_arcs: int = 10_000
    """Arcs of a lattice at most before paths are drawn from it or the 4-gram rescores it (not
    1best and ctc-decoding); of a larger one the least probable go. A model that is unsure has
    hundreds of thousands in a few seconds, each of which a hundred paths would be compared with."""
    blank_penalty: float = 0.0
    """Taken from blank's log-probability in every frame (nats). A model that is unsure prefers
    blank to any one token, so that words are lost: about 2 for poorly separated voices."""
    tuned: Optional[str] = None
    """File of `ume tune-decoding`, whose blank penalty, scales and share are used instead."""
    max_duration: float = 60.0
    """Seconds of speech in one batch."""
    beside: str = ""
    """Further hypothesis folders to decode, names beside `hyp` with spaces between, such as
    `sources mixture`."""
    job: int = 1
    """This job, from 1; 0 joins the words of all jobs that have run."""
    num_jobs: int = 1
    """Jobs in all; job j takes every num_jobs-th stream."""


def main(config: Config) -> None:
    """Decode one job's share of the streams of every folder; the only job merges too."""
    check_job(config.job, config.num_jobs, first=0)
    if config.tuned:
        tuned = read_json(existing(config.tuned, "steps/tune_decoding.sh"))
        config = replace(config, **{name: tuned[name] for name in TUNED if name in tuned})
    hyp = Path(config.hyp)
    for folder in [hyp, *(hyp.parent / name for name in config.beside.split())]:
        decode_folder(replace(config, hyp=str(folder)))


def decode_folder(config: Config) -> None:
    """Decode one job's share of the streams of one folder; the only job merges too."""
    if config.job > 0:
        from ume.decoding.streams import decode  # with torch: a second that joining can do without

        segments = decode(config)
        about = {"num_jobs": config.num_jobs, **{name: getattr(config, name) for name in TUNED}}
        write_json(share(config, config.job), {**about, "segments": segments})
    if config.job == 0 or config.num_jobs == 1:
        merge(config)


def share(config: Config, job: int) -> Path:
    """The file of one job's words."""
    return Path(config.hyp) / "words" / config.method / f"{job}.json"


def read_share(config: Config, job: int) -> Dict[str, Any]:
    """One job's words; :class:`UmeError` names the job that has not run."""
    made_by = f"ume decode --method {config.method} --job {job}"
    return read_json(existing(share(config, job), made_by))


def merge(config: Config) -> None:
    """Join the shares of all jobs, as many as the first one tells, to ``words/<method>.json``."""
    first = read_share(config, 1)
    shares = [read_share(config, job) for job in range(1, first["num_jobs"] + 1)]
    made = [{**each, "segments": None} for each in shares]
    if any(each != made[0] for each in made):
        raise UmeError(f"{share(config, 1).parent} mixes two runs; decode all jobs again")
    segments = [segment for each in shares for segment in each["segments"]]
    segments.sort(key=lambda segment: (segment["session_id"], segment["speaker"]))
    write_json(Path(config.hyp) / "words" / f"{config.method}.json", segments)
