"""Conversations of speaker embeddings from a known generative model."""

from typing import Dict, List, NamedTuple, Tuple

import numpy as np

from ume.activity import Segment, merge_segments
from ume.inference.windows import sliding_windows


class Conversation(NamedTuple):
    embeddings: np.ndarray  # (N, D)
    windows: np.ndarray  # (N, 2)
    reference: Dict[str, List[Segment]]


def markov_sequence(
    rng: np.random.Generator, between: np.ndarray, speakers: int, count: int, loop: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, E) of variance 1 within speakers, and whose they are (N,): VBx's own model."""
    means = rng.normal(size=(speakers, len(between))) * np.sqrt(between)  # (S, E)
    fresh = rng.random(count) >= loop
    fresh[0] = True
    since = np.maximum.accumulate(np.where(fresh, np.arange(count), 0))  # (N,)
    truth = rng.integers(speakers, size=count)[since]  # (N,)
    return means[truth] + rng.normal(size=(count, len(between))), truth


def conversation(
    rng: np.random.Generator,
    means: np.ndarray,
    turns: int = 40,
    pauses: bool = True,
    noise: float = 0.0,
) -> Conversation:
    """Turns of 2 to 10 s of speakers of ``means`` (S, D), never two at once.

    A window's embedding is the mean of the speakers' in it, by their time, with ``noise`` added to
    each dimension. Half of the ``pauses`` are nothing.
    """
    order = np.cumsum(rng.integers(1, len(means), size=turns)) % len(means)  # always another one
    lengths = rng.uniform(2, 10, size=turns)
    gaps = rng.uniform(0.2, 1, size=turns) * (rng.random(turns) < 0.5) * pauses
    starts = np.cumsum(lengths + gaps) - lengths
    spans = np.stack([starts, starts + lengths], axis=1)  # (turns, 2)
    windows = sliding_windows(map(tuple, spans.tolist()))  # (N, 2)
    inside = np.minimum.outer(windows[:, 1], spans[:, 1]) - np.maximum.outer(
        windows[:, 0], spans[:, 0]
    )  # (N, turns)
    shares = inside.clip(min=0) / np.diff(windows)
    embeddings = shares @ means[order]
    embeddings = embeddings + noise * rng.normal(size=embeddings.shape)
    reference = {
        str(speaker): merge_segments(map(tuple, spans[order == speaker].tolist()))
        for speaker in np.unique(order)
    }
    return Conversation(embeddings, windows, reference)
