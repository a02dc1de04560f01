"""Normalisation over time that does not see the padding of a batch."""

from typing import Any, Optional, Tuple

import torch
from torch import Tensor, nn


class _GlobalNorm(torch.autograd.Function):
    """Forward and backward in as few passes over memory as torch's operations allow."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Optional[Tensor], weight: Tensor, bias: Tensor, eps: float
    ) -> Tensor:
        frames = x.shape[1] if mask is None else mask.sum(dim=(1, 2))
        count = frames * x.shape[2]  # (B,), or one for all
        mean = x.sum(dim=(1, 2)) / count
        power = torch.linalg.vector_norm(x, dim=(1, 2)).square() / count
        rate = ((power - mean.square()).clamp(min=0) + eps).rsqrt()  # (B,)
        ctx.save_for_backward(x, mask, weight, mean, rate)
        ctx.count = count
        scale = weight * rate[:, None]  # (B, C)
        shift = bias - mean[:, None] * scale
        y = (x * scale[:, None]).add_(shift[:, None])
        return y if mask is None else y.mul_(mask)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tuple[Optional[Tensor], ...]:
        x, mask, weight, mean, rate = ctx.saved_tensors
        gradient = gradients[0] if mask is None else gradients[0] * mask  # (B, F, C)
        total = gradient.sum(dim=1)  # (B, C)
        # gradient of the output, times the normalised input, summed over time
        along = rate[:, None] * ((gradient * x).sum(dim=1) - mean[:, None] * total)  # (B, C)
        constant = (total * weight).sum(dim=1) / ctx.count  # (B,)
        slope = rate * (along * weight).sum(dim=1) / ctx.count  # (B,)
        to_x = gradient * (weight * rate[:, None])[:, None]
        to_x.addcmul_(x, (slope * rate)[:, None, None], value=-1)  # x is zero in the padding
        rest = (rate * (slope * mean - constant))[:, None, None]
        to_x += rest if mask is None else mask * rest
        return to_x, None, along.sum(dim=0), total.sum(dim=0), None


class GlobalLayerNorm(nn.Module):
    """gLN of Conv-TasNet: over channels and time together, per clip.

    Equal to ``GroupNorm(1, C)`` of the clip alone, whatever it is padded with: a clip's result
    does not depend on its neighbours. Expects and keeps zeros in the padding. ``eps`` is
    Asteroid's.
    """

    def __init__(self, channels: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """``x`` (B, F, C), zero where ``mask`` (B, F, 1) is zero; None means no padding."""
        x = x.to(self.weight.dtype)  # under autocast: sums over a clip need full precision
        return _GlobalNorm.apply(x, mask, self.weight, self.bias, self.eps)


def instance_norm(states: Tensor, valid: Tensor) -> Tensor:
    """``states`` (B, F, D) with mean 0 and deviation 1 over each clip's own frames."""
    weight = (valid / valid.sum(dim=1, keepdim=True)).unsqueeze(2).to(states.dtype)
    mean = (states * weight).sum(dim=1, keepdim=True)
    variance = ((states - mean).square() * weight).sum(dim=1, keepdim=True)
    return (states - mean) / (variance + 1e-5).sqrt() * valid.unsqueeze(2)


def batch_norm(states: Tensor, valid: Tensor) -> Tensor:
    """``states`` (B, F, D) with mean 0 and deviation 1 over all frames of the batch."""
    variance, mean = torch.var_mean(states[valid], dim=0, unbiased=False)
    return (states - mean) / (variance + 1e-5).sqrt() * valid.unsqueeze(2)
