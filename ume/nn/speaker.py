"""The speaker head: frames of one voice in, an embedding out."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ume.nn.linear import Linear


class SpeakerHead(nn.Module):
    """Mean and deviation over time of projected latents, made an embedding of length one.

    Args:
        width: D of the latents.
        embedding: E.
    """

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(width), Linear(width, width))
        self.output = nn.Sequential(nn.LayerNorm(2 * width), Linear(2 * width, embedding))

    def forward(self, latents: Tensor, weight: Tensor) -> Tensor:
        """``latents`` (B, F, D), ``weight`` (B, F) >= 0 -> embeddings (B, E).

        Frames count by their weight: whether they exist, or how sure it is that the voice is
        heard in them, alone. Where all weights are zero, all frames count alike.
        """
        weight = weight.to(latents.dtype)
        empty = weight.sum(dim=1, keepdim=True) <= 0
        weight = torch.where(empty, torch.ones_like(weight), weight)
        weight = (weight / weight.sum(dim=1, keepdim=True))[..., None]  # (B, F, 1)
        x = self.project(latents)
        mean = (x * weight).sum(dim=1)
        variance = ((x - mean[:, None]).square() * weight).sum(dim=1)
        pooled = torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)
        return normalize(self.output(pooled), dim=1)
