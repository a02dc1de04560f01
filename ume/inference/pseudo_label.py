"""What Whisper hears in the utterances of a data folder, by jobs: texts where a corpus has none."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional

import torch
from tqdm import tqdm

from ume.corpora.shares import read_shares, write_share
from ume.corpora.speakers import read_texts
from ume.corpora.text import normalise
from ume.dataset.mixtures import load_example
from ume.dataset.utterances import utterance_cuts
from ume.errors import UmeError
from ume.files import write_text
from ume.inference.transcribe import Transcriber
from ume.jobs import of_job

SPELLED = re.compile("[A-Z' ]*")  # what tokens are learned from; not 13TH
GROUP = 8  # utterances decoded together, whatever the number of jobs: so the words are the same


@dataclass
class Config:
    """Options of ``ume pseudo-label``."""

    data: str
    """Data folder."""
    output: str
    """Folder for `text`, lines `<utterance> WORD WORD`, and for the jobs' shares, `jobs/`."""
    parts: str = "train dev test"
    """Parts of the data folder, with spaces between."""
    texts: Optional[str] = None
    """What is known, lines `<utterance> WORD WORD`: it is kept, and Whisper hears the rest."""
    whisper: str = "auto"
    """Whisper model: a folder or file (Hugging Face, OpenAI, CTranslate2), or auto"""
    num_threads: int = 0
    """Threads of the arithmetic; 0: torch's choice."""
    job: int = 1
    """This job, from 1; 0 joins the shares of all jobs."""
    num_jobs: int = 1
    """Number of jobs; the words do not depend on it."""


def main(config: Config) -> None:
    """Transcribe one job's share, or join all; words are normalised as for scoring.

    Utterances with words that stay figures, such as ordinals, are left out.
    """
    jobs = Path(config.output) / "jobs"
    if config.job == 0:
        heard = read_shares(jobs, "steps/pseudo_label.sh")
        spelled = {name: text for name, text in heard.items() if SPELLED.fullmatch(text)}
        words = {**spelled, **read_texts(config.texts)}
        lines = [f"{name} {text}\n" for name, text in sorted(words.items()) if text]
        if not lines:
            raise UmeError(f"{config.data}: Whisper hears no words in it; is it speech?")
        write_text(Path(config.output) / "text", "".join(lines))
        return
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    known = read_texts(config.texts)
    cuts = [cut for part in config.parts.split() for cut in utterance_cuts(config.data, part)]
    cuts = [cut for cut in cuts if cut.id not in known]
    cuts.sort(key=lambda cut: (cut.duration, cut.id))
    groups = [cuts[start : start + GROUP] for start in range(0, len(cuts), GROUP)]
    transcriber = Transcriber(config.whisper)
    found: Dict[str, str] = {}
    for group in tqdm(of_job(groups, config.job, config.num_jobs), mininterval=5):
        texts = transcriber([load_example(cut).audio for cut in group])
        found.update(zip((cut.id for cut in group), map(normalise, texts)))
    write_share(jobs, config.job, config.num_jobs, found)
