"""True sources in place of separated voices, while the recogniser learns to read."""

import torch
from torch import Tensor

from ume.dataset.batch import MixtureBatch

LEAK = (-25.0, -2.0)  # dB, of the others in a voice: from nearly clean to poorly separated


def leaky_sources(batch: MixtureBatch, progress: float = 1.0) -> Tensor:
    """The sources (B, S, T), each with the rest of its mixture at a level drawn from ``LEAK``.

    A recogniser that has heard clean voices only does not cope with what a separation leaves of
    the others; this is what it leaves, to a first approximation, and costs nothing. Nor does one
    get started that hears no clean voices: the upper end rises with ``progress``, 0 to 1.
    """
    low, high = LEAK[0], LEAK[0] + progress * (LEAK[1] - LEAK[0])
    level = low + (high - low) * torch.rand(batch.sources.shape[:2])  # (B, S), dB
    gain = (10 ** (level / 20))[..., None].to(batch.sources.device)
    return batch.sources + gain * (batch.audio[:, None] - batch.sources)
