"""GELU with a gradient that can be trusted in torch 1.13."""

from typing import Any, Tuple

import torch
from torch import Tensor, nn


class _Gelu(torch.autograd.Function):
    """Torch's own kernels on tensors of one layout.

    Where gradient and input are laid out differently in memory (as after a transposition), the
    backward kernel of torch 1.13 reads what was never written: now and then not a number.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        return nn.functional.gelu(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tuple[Tensor]:
        (x,) = ctx.saved_tensors
        return (torch.ops.aten.gelu_backward(gradients[0].contiguous(), x),)


def gelu(x: Tensor) -> Tensor:
    """``x`` times the normal distribution function at ``x``, elementwise."""
    return _Gelu.apply(x)


class GELU(nn.Module):
    """:func:`gelu` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return gelu(x)
