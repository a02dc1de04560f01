"""Linear layers that are fast on every CPU."""

from typing import Optional

from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.functional import linear as matmul_linear

from ume.compat import SLOW_MATMUL


def linear(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """``x`` (..., D) times ``weight`` (D', D), plus ``bias`` (D',): (..., D').

    By way of a 1x1 convolution where that is faster: torch 1.13 computes convolutions by oneDNN,
    which uses AVX-512 on any processor, and products by MKL, which does so on Intel's only. Rows
    seen as the pixels of a channels-last image need no copy. Equal up to rounding.
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
