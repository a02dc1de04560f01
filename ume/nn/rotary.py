"""Transformer layers that know how far apart frames are, and not where they lie (Su et al. 2021).

Rotary positions turn queries and keys by an angle that grows with their place, so that attention
sees differences only. States then hold nothing of the place itself: a masked frame's state cannot
be guessed from it, and recordings may be longer than what was trained on.
"""

from typing import Optional

import torch
from torch import Tensor, nn

from ume.errors import UmeError
from ume.nn.whisper import Attention, feed_forward

BASE = 10000.0  # ratio of the longest period to the shortest


def turns(places: Tensor, width: int) -> Tensor:
    """Angles (..., F, ``width`` / 2), in radians, of frames at ``places`` (..., F)."""
    rates = BASE ** (-torch.arange(0, width, 2, device=places.device) / width)
    return places[..., None] * rates


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """``x`` (..., F, W) with each pair (i, i + W / 2) turned by ``angles`` (..., F, W / 2)."""
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class RotaryLayer(nn.Module):
    """Pre-norm Transformer layer with rotary positions."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % (2 * num_heads):
            raise UmeError(f"width {width} must be an even multiple of num_heads {num_heads}")
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = feed_forward(width)

    def forward(self, x: Tensor, mask: Optional[Tensor], places: Optional[Tensor] = None) -> Tensor:
        """``x`` (B, F, D), ``mask`` (B, F) of frames that exist -> (B, F, D).

        ``places`` (B, F) of the frames; without it they follow one another.
        """
        attention, normed = self.attention, self.attention_norm(x)
        if places is None:
            places = torch.arange(x.shape[1], device=x.device)
        width = x.shape[2] // attention.num_heads
        angles = turns(places, width)[..., None, :, :]  # (B, 1, F, W / 2), or without the B
        query = rotate(attention.split(attention.query(normed)), angles)
        key = rotate(attention.split(attention.key(normed)), angles)
        value = attention.split(attention.value(normed))
        keys = None if mask is None else mask[:, None, None]
        x = x + attention.mix(query, key, value, keys)
        return x + self.feed_forward(self.feed_forward_norm(x))
