"""Train PLDA on windows of the utterances of a data folder, embedded by Echo."""

from dataclasses import dataclass
from pathlib import Path
from typing import List

import numpy as np
import torch
from tqdm import tqdm

from ume.dataset.mixtures import load_example
from ume.dataset.utterances import utterance_cuts
from ume.inference.plda import train_plda
from ume.inference.stack import load_with
from ume.inference.voice_windows import embed_windows, latents_of, windows_of
from ume.mixing.cuts import speech_segments

EACH = 8  # windows of an utterance, at most


@dataclass
class Config:
    """Options of ``ume train-plda``."""

    model: str
    """Experiment folder of Echo, after the stage speakers."""
    data: str
    """Data folder."""
    out: str
    """safetensors file to write."""
    part: str = "train"
    """Part of the data folder."""
    lda_width: int = 64
    """Dimensions after LDA; fewer where there are not so many speakers."""
    num_threads: int = 0
    """Threads of the arithmetic; 0: torch's choice."""


def main(config: Config) -> None:
    """Write the model."""
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    echo = load_with(config.model, ["speakers"])
    embeddings: List[np.ndarray] = []
    speakers: List[str] = []
    for cut in tqdm(utterance_cuts(config.data, config.part), mininterval=5):
        windows = windows_of(speech_segments(cut.supervisions[0]))
        windows = windows[np.linspace(0, len(windows) - 1, min(EACH, len(windows))).astype(int)]
        embeddings.append(embed_windows(echo, latents_of(echo, load_example(cut).audio), windows))
        speakers += [cut.supervisions[0].speaker] * len(windows)
    width = min(config.lda_width, len(set(speakers)) - 1, echo.config.embedding)
    plda = train_plda(np.concatenate(embeddings), speakers, max(width, 1))
    plda.save(Path(config.out))
    print(f"{config.out}: {len(speakers)} windows of {len(set(speakers))} speakers")
