"""Train PLDA on windows of the utterances of a data folder, embedded by Echo."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import List, Tuple

import numpy as np
import torch
from tqdm import tqdm

from ume.dataset.mixtures import load_example
from ume.dataset.utterances import utterance_cuts
from ume.inference.plda import Plda, cosine_plda, train_plda
from ume.inference.stack import load_with
from ume.inference.voice_windows import embed_windows, latents_of, windows_of
from ume.mixing.cuts import speech_segments

EACH = 8  # windows of an utterance, at most
COSINES = (0.05, 0.95)  # bounds of the mean cosine: at 0 and 1 there is no model


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
    plda, what = fitting_plda(np.concatenate(embeddings), speakers, config.lda_width)
    plda.save(Path(config.out))
    print(f"{config.out}: {what} of {len(speakers)} windows of {len(set(speakers))} speakers")


def fitting_plda(embeddings: np.ndarray, speakers: List[str], width: int) -> Tuple[Plda, str]:
    """PLDA of unit embeddings (N, D) after LDA to ``width``, and its name.

    Where they are too few to estimate it, spheres of the mean cosine of two of one speaker.
    """
    total, counts = len(embeddings), Counter(speakers)
    if len(counts) > 2 and total >= embeddings.shape[1] + len(counts):
        width = min(width, len(counts) - 1, embeddings.shape[1])
        return train_plda(embeddings, speakers, width), f"PLDA of {width} dimensions"
    sums = np.stack([embeddings[np.equal(speakers, name)].sum(axis=0) for name in counts])  # (S, D)
    pairs = sum(count * (count - 1) for count in counts.values())
    cosine = ((sums**2).sum() - total) / max(pairs, 1)
    return cosine_plda(embeddings.shape[1], float(np.clip(cosine, *COSINES))), "cosines"
