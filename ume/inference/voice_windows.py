"""Embeddings of short windows of speech by Echo, for PLDA and VBx."""

from typing import Iterable, List

import numpy as np
import torch
from torch import Tensor

from ume.activity import FRAME_SAMPLES, FRAME_SHIFT, Segment
from ume.inference.routing import window_starts
from ume.inference.windows import sliding_windows
from ume.models.echo import Echo

CHUNK = 300  # frames that the encoder hears at once, 6 s
TOGETHER = 256  # windows in a batch
ROUNDING = 1e-6  # frames: 0.58 s are 29 of them, and 28.999999999999996 by division
DURATION, SHIFT = 1.5, 0.25  # seconds of the windows


@torch.no_grad()
def latents_of(echo: Echo, audio: np.ndarray) -> Tensor:
    """Latents (N, D) of a recording (T,) of any length, chunk by chunk."""
    frames = -(-len(audio) // FRAME_SAMPLES)
    made: List[Tensor] = []
    done = 0
    for start in window_starts(frames, CHUNK, CHUNK):
        piece = torch.from_numpy(audio[start * FRAME_SAMPLES :][: CHUNK * FRAME_SAMPLES])
        own = echo.latents(piece[None], torch.tensor([len(piece)]))[0][0]
        made.append(own[done - start :])  # the last chunk begins before the one before ends
        done = start + len(own)
    return torch.cat(made)


@torch.no_grad()
def embed_windows(echo: Echo, latents: Tensor, windows: np.ndarray) -> np.ndarray:
    """Embeddings (W, E) of ``windows`` (W, 2), in seconds, of a recording's ``latents`` (N, D)."""
    if not len(windows):
        return np.zeros((0, echo.config.embedding))
    frames = windows / FRAME_SHIFT
    first = np.floor(frames[:, 0] + ROUNDING).astype(int)
    stops = np.maximum(np.ceil(frames[:, 1] - ROUNDING).astype(int), first + 1)
    places = torch.from_numpy(first)[:, None] + torch.arange((stops - first).max())  # (W, F)
    weight = (places < torch.from_numpy(stops)[:, None]) & (places < len(latents))
    places = places.clamp(max=len(latents) - 1)
    parts = zip(places.split(TOGETHER), weight.split(TOGETHER))
    return torch.cat([echo.embed(latents[own], w) for own, w in parts]).double().numpy()


def windows_of(speech: Iterable[Segment]) -> np.ndarray:
    """Windows (W, 2) over ``speech``."""
    return sliding_windows(speech, DURATION, SHIFT)
