"""Linear layers that are fast on every CPU."""

from typing import Optional

from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.functional import linear as matmul_linear

from ume.compat import SLOW_MATMUL


def linear(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """``x`` (..., D) times ``weight`` (D', D), plus ``bias`` (D',): (..., D').

    By way of a 1x1 convolution where that is faster: with two threads and more, torch 1.13
    computes convolutions by oneDNN, which uses AVX-512 on any processor, and products by MKL,
    which does not. Rows seen as the pixels of a channels-last image need no copy. Equal up to
    rounding.
    """
    if not SLOW_MATMUL or x.device.type != "cpu" or x.numel() == 0:
        return matmul_linear(x, weight, bias)
    rows = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # (1, D, 1, N)
    y = conv2d(rows, weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight.shape[0])


class Linear(nn.Linear):
    """``nn.Linear`` by :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D')."""
        return linear(x, self.weight, self.bias)


def halving_conv(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """``conv`` (kernel 3, stride 2, padding 1) on ``x`` (B, F, D) -> (B, ceil(F / 2), D').

    As a product, not as a convolution: in torch 1.13 the gradient of the weight of the latter is,
    once in some twenty batches, not a number.
    """
    padded = nn.functional.pad(x, (0, 0, 1, 1))
    windows = padded.unfold(1, 3, 2).flatten(2)  # (B, F', D * 3)
    return linear(windows, conv.weight.flatten(1), conv.bias)
