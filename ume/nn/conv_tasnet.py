"""The mask network of Conv-TasNet (Luo and Mesgarani, 2019): dilated temporal convolutions."""

from typing import Optional, Tuple

import torch
from torch import Tensor, nn

from ume.nn.depthwise import DepthwiseConv
from ume.nn.linear import Linear
from ume.nn.norm import GlobalLayerNorm
from ume.nn.prelu import PReLU


class TemporalBlock(nn.Module):
    """1x1 convolution, depthwise dilated convolution, and 1x1 convolutions back.

    Channels are last, so that a 1x1 convolution is a linear layer.

    Args:
        channels: B, width between blocks.
        hidden: H, width inside.
        kernel: P, taps of the depthwise convolution.
        dilation: distance between taps, frames.
        skip: whether there is a second way out, to the network's output.
    """

    def __init__(self, channels: int, hidden: int, kernel: int, dilation: int, skip: bool) -> None:
        super().__init__()
        self.expand = Linear(channels, hidden)
        self.act1, self.norm1 = PReLU(), GlobalLayerNorm(hidden)
        self.depthwise = DepthwiseConv(hidden, kernel, dilation)
        self.act2, self.norm2 = PReLU(), GlobalLayerNorm(hidden)
        self.channels = channels
        self.project = Linear(hidden, 2 * channels if skip else channels)

    def forward(self, x: Tensor, mask: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
        """(B, F, C) -> (input of the next block, share of the network's output)."""
        h = self.act1(self.expand(x))  # (B, F, H)
        h = self.norm1(h if mask is None else h * mask, mask)
        h = self.act2(self.depthwise(h))
        h = self.project(self.norm2(h if mask is None else h * mask, mask))
        if mask is not None:
            h = h * mask
        return x + h[..., : self.channels], h[..., -self.channels :]


class ConvTasNet(nn.Module):
    """Features in, one mask per source out.

    Args:
        num_features: width of the input frames.
        num_masks: mask values per frame and source.
        num_speakers: S.
        bottleneck, hidden, kernel, blocks, repeats: B, H, P, X and R of the paper.
        skip: sum the skip paths (as Asteroid does), or use the last block's output (as ESPnet's
            EEND-SS does).
        mask: ``relu``, ``sigmoid`` or ``softmax`` (over sources).
    """

    def __init__(
        self,
        num_features: int,
        num_masks: int,
        num_speakers: int,
        bottleneck: int = 128,
        hidden: int = 512,
        kernel: int = 3,
        blocks: int = 8,
        repeats: int = 3,
        skip: bool = True,
        mask: str = "relu",
    ) -> None:
        super().__init__()
        self.num_speakers, self.num_masks, self.skip, self.mask = (
            num_speakers,
            num_masks,
            skip,
            mask,
        )
        self.norm = GlobalLayerNorm(num_features)
        self.bottleneck = Linear(num_features, bottleneck)
        self.blocks = nn.ModuleList(
            TemporalBlock(bottleneck, hidden, kernel, 2**block, skip)
            for _ in range(repeats)
            for block in range(blocks)
        )
        self.act = PReLU()
        self.output = Linear(bottleneck, num_speakers * num_masks)

    def forward(self, features: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """(B, F, C), zero in the padding, and ``mask`` (B, F, 1) -> masks (B, S, F, C')."""
        x = self.bottleneck(self.norm(features, mask))  # (B, F, B')
        if mask is not None:
            x = x * mask
        total: Optional[Tensor] = None
        for block in self.blocks:
            x, share = block(x, mask)
            total = share if total is None else total + share
        y = self.output(self.act(total if self.skip and total is not None else x))
        y = y.unflatten(2, (self.num_speakers, self.num_masks)).transpose(1, 2)
        return torch.softmax(y, dim=1) if self.mask == "softmax" else getattr(y, self.mask)()
