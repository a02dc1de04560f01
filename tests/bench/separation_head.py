"""How much faster the mask network is by our PReLU, norm and convolution than by torch's.

Run it on a quiet machine: ``. ./path.sh && python tests/bench/separation_head.py``. Both networks
have the same weights and see the same padded batch in turn; what counts is the ratio.
"""

import statistics
import time
from typing import Optional

import torch
from torch import Tensor, nn

from ume.nn.conv_tasnet import ConvTasNet
from ume.nn.depthwise import DepthwiseConv
from ume.nn.lengths import valid_frames
from ume.nn.norm import GlobalLayerNorm
from ume.nn.prelu import PReLU

ROUNDS = 12
BATCH, FEATURES, FRAMES = 2, 385, 600  # 6 s clips at 10 ms: STFT bins and the encoder's states


class PlainNorm(GlobalLayerNorm):
    """The masked norm as it is written down."""

    def forward(self, x: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        assert mask is not None
        count = mask.sum(dim=(1, 2)) * x.shape[2]
        mean = x.sum(dim=(1, 2)) / count
        centred = (x - mean[:, None, None]) * mask
        variance = centred.square().sum(dim=(1, 2)) / count
        scale = self.weight * (variance + self.eps).rsqrt()[:, None]
        return torch.addcmul(self.bias * mask, centred, scale[:, None])


class PlainConv(nn.Conv1d):
    """The dilated convolution, channels first."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def plain(module: nn.Module) -> nn.Module:
    """``module`` with torch's PReLU and convolution and the norm above, in place."""
    for name, child in module.named_children():
        if isinstance(child, PReLU):
            setattr(module, name, nn.PReLU())
        elif isinstance(child, GlobalLayerNorm):
            setattr(module, name, PlainNorm(child.weight.shape[0]))
        elif isinstance(child, DepthwiseConv):
            channels, dilation = child.in_channels, child.dilation[0]
            padding = dilation * (child.kernel_size[0] // 2)
            conv = PlainConv(
                channels, channels, child.kernel_size[0], 1, padding, dilation, groups=channels
            )
            setattr(module, name, conv)
        else:
            plain(child)
    return module


def seconds(net: nn.Module, x: Tensor, mask: Tensor) -> float:
    """Time of one forward and backward."""
    started = time.perf_counter()
    net(x, mask).square().sum().backward()
    return time.perf_counter() - started


def main() -> None:
    """Print the median times and their ratio."""
    torch.manual_seed(0)
    ours = ConvTasNet(FEATURES, 257, 2, hidden=256, mask="sigmoid")
    theirs = plain(ConvTasNet(FEATURES, 257, 2, hidden=256, mask="sigmoid"))
    theirs.load_state_dict(ours.state_dict())
    lens = torch.tensor([FRAMES, FRAMES - 50])
    mask = valid_frames(lens, FRAMES)[..., None].float()
    x = torch.randn(BATCH, FRAMES, FEATURES) * mask
    torch.testing.assert_close(ours(x, mask), theirs(x, mask), atol=1e-4, rtol=1e-4)
    times = [(seconds(ours, x, mask), seconds(theirs, x, mask)) for _ in range(ROUNDS)][2:]
    fast, slow = (statistics.median(column) for column in zip(*times))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}: forward and backward of")
    print(f"{BATCH} x {FRAMES} frames {1000 * fast:.0f} ms, plain {1000 * slow:.0f} ms, ", end="")
    print(f"ratio {slow / fast:.2f}")


if __name__ == "__main__":
    main()
