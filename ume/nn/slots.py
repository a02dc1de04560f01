"""Slots: the latents of each of up to K speakers, from those of their mixture."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ume.nn.linear import Linear
from ume.nn.rotary import RotaryLayer
from ume.nn.whisper import EncoderLayer


class Slots(NamedTuple):
    """What K slots say of a mixture.

    latents: (B, K, F, D), those of the slot's voice alone.
    existence: (B, K), logits of whether a slot is anybody's.
    activity: (B, F, K), logits of whether its voice speaks in a frame.
    """

    latents: Tensor
    existence: Tensor
    activity: Tensor


class SlotSeparator(nn.Module):
    """K slots look at the mixture through time, and at each other frame by frame.

    Each slot starts as the mixture's latents plus a vector of its own; then layers in turns attend
    over the frames of a slot and over the slots of a frame. Whether a slot is anybody's is read
    where it is most active, so that few words in a long window count.

    Args:
        width: D of the latents.
        num_slots: K.
        inner: width of the layers.
        num_layers: pairs of layers.
        num_heads: attention heads.
    """

    def __init__(
        self,
        width: int,
        num_slots: int = 4,
        inner: int = 256,
        num_layers: int = 3,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(width), Linear(width, inner))
        self.names = nn.Parameter(torch.randn(num_slots, 1, inner))  # (K, 1, D')
        self.through_time = nn.ModuleList(RotaryLayer(inner, num_heads) for _ in range(num_layers))
        self.among_slots = nn.ModuleList(EncoderLayer(inner, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(inner)
        self.output = Linear(inner, width)
        self.existence = Linear(inner, 1)
        self.activity = Linear(inner, 1)
        self.null = nn.Parameter(torch.zeros(width))

    def forward(self, latents: Tensor, mask: Tensor) -> Slots:
        """``latents`` (B, F, D), ``mask`` (B, F) of frames that exist."""
        batch, slots = len(latents), len(self.names)
        x = self.project(latents)[:, None] + self.names  # (B, K, F, D')
        keys = mask.repeat_interleave(slots, dim=0)  # (B * K, F)
        for along, among in zip(self.through_time, self.among_slots):
            x = along(x.flatten(0, 1), keys).unflatten(0, (batch, slots))
            x = x.transpose(1, 2)  # (B, F, K, D')
            x = among(x.flatten(0, 1), None).unflatten(0, (batch, -1)).transpose(1, 2)
        x = self.norm(x)
        activity = self.activity(x)[..., 0]  # (B, K, F)
        where = activity.masked_fill(~mask[:, None], float("-inf")).softmax(dim=2)
        pooled = torch.einsum("bkfd,bkf->bkd", x, where)
        return Slots(self.output(x), self.existence(pooled)[..., 0], activity.transpose(1, 2))
