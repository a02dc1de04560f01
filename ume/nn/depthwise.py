"""Depthwise convolution over time of frames-by-channels tensors, fast at any dilation."""

from typing import Any, Optional, Tuple

import torch
from torch import Tensor, nn


def as_image(x: Tensor, dilation: int) -> Tensor:
    """``x`` (B, F, C) as a channels-last image (B, C, F / dilation, dilation), zeros at its end.

    Frames that are ``dilation`` apart lie below each other: what was a dilated convolution over
    time is a dense one over rows. Without padding this is a view.
    """
    missing = -x.shape[1] % dilation
    if missing:
        x = nn.functional.pad(x, (0, 0, 0, missing))
    return x.contiguous().unflatten(1, (-1, dilation)).permute(0, 3, 1, 2)


def as_frames(image: Tensor, num_frames: int) -> Tensor:
    """The inverse of :func:`as_image`: (B, F, C)."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)[:, :num_frames].contiguous()


class _Depthwise(torch.autograd.Function):
    """The gradients are taken in the same layout; torch's autograd would copy to another one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        padding = (weight.shape[2] // 2, 0)
        image = as_image(x, dilation)
        y = nn.functional.conv2d(image, weight, bias, padding=padding, groups=x.shape[2])
        return as_frames(y, x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tuple[Optional[Tensor], ...]:
        x, weight = ctx.saved_tensors
        gradient = as_image(gradients[0], ctx.dilation)
        to_image, to_weight, _ = torch.ops.aten.convolution_backward(
            gradient,
            as_image(x.to(gradient.dtype), ctx.dilation),
            weight.to(gradient.dtype),
            None,
            [1, 1],
            [weight.shape[2] // 2, 0],
            [1, 1],
            False,
            [0, 0],
            weight.shape[0],
            [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False],
        )
        to_x = None if to_image is None else as_frames(to_image, x.shape[1])
        return to_x, to_weight, gradients[0].sum(dim=(0, 1)), None


class DepthwiseConv(nn.Conv1d):
    """A convolution over time in each channel, as many frames out as in.

    Parameters are those of ``nn.Conv1d`` with ``groups`` = ``channels``; input and output have
    channels last, as the linear layers around it, and oneDNN's kernels for that layout are several
    times as fast as those for dilated convolutions of channels first.

    Args:
        channels: C.
        kernel: taps, an odd number (else ValueError).
        dilation: frames from one tap to the next.
    """

    def __init__(self, channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(channels, channels, kernel, dilation=dilation, groups=channels)
        if kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; it must be odd")

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, C) -> (B, F, C); zeros lie before and after."""
        return _Depthwise.apply(x, self.weight.unsqueeze(3), self.bias, self.dilation[0])
