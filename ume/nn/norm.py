"""Normalisation over time that does not see the padding of a batch."""

from typing import Optional

import torch
from torch import Tensor, nn


class GlobalLayerNorm(nn.Module):
    """gLN of Conv-TasNet: over channels and time together, per clip.

    Equal to ``GroupNorm(1, C)`` of the clip alone, whatever it is padded with: a clip's result
    does not depend on its neighbours. Expects and keeps zeros in the padding.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """``x`` (B, C, F), zero where ``mask`` (B, 1, F) is zero; None means no padding."""
        if mask is None:  # the native kernel, several times faster
            return nn.functional.group_norm(x, 1, self.weight, self.bias, self.eps)
        count = mask.sum(dim=(1, 2)) * x.shape[1]  # (B,)
        mean = x.sum(dim=(1, 2)) / count
        centred = (x - mean[:, None, None]) * mask
        variance = centred.square().sum(dim=(1, 2)) / count
        scale = self.weight * (variance + self.eps).rsqrt()[:, None]  # (B, C)
        return torch.addcmul(self.bias[:, None] * mask, centred, scale[..., None])
