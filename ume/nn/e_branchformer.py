"""E-Branchformer encoder (Kim et al. 2022) as in ESPnet and OWSM v3.1, any size.

Submodules have ESPnet's names (its ``encoders`` are our ``layers``), so that its checkpoints map
one to one.
"""

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import torch
from torch import Tensor, nn

from ume.activity import SAMPLING_RATE
from ume.errors import UmeError
from ume.nn.depthwise import DepthwiseConv
from ume.nn.encoder import Encoder, EncoderOutput
from ume.nn.frontend import HOP, LogMel
from ume.nn.gelu import GELU
from ume.nn.lengths import masked, num_frames, repeat_last, valid_frames
from ume.nn.linear import Linear

EPSILON = 1e-12  # of ESPnet's layer norms
CONTEXT = 7  # 10 ms frames that one subsampled frame sees


@dataclass
class EBranchformerSize:
    """Sizes of an E-Branchformer; the default is small enough to train on a CPU.

    OWSM v3.1 base: 6 layers, width 384, 6 heads, both inner widths 1536, subsampling 4, global.
    """

    num_layers: int = 6
    """number of layers"""
    width: int = 144
    """width of the hidden states"""
    num_heads: int = 4
    """attention heads; they divide the width"""
    feed_forward: int = 576
    """inner width of the feed-forward modules"""
    gating: int = 576
    """inner width of the convolutional gating MLP; even"""
    kernel: int = 31
    """frames that the depthwise convolutions see; odd"""
    subsampling: int = 2
    """10 ms frames per output frame: 2 or 4"""
    normalise: str = "utterance"
    """normalisation of the log-mel features: utterance, or global (comes with weights)"""
    dropout: float = 0.1
    """dropout rate"""


class ConvSubsampling(nn.Module):
    """Two 3x3 convolutions over time and frequency, strides 2 and ``factor / 2``; then linear.

    They are not padded, as in ESPnet: frames at the end that lack context are left out.
    """

    def __init__(self, num_mels: int, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        second = factor // 2
        self.conv = nn.Sequential(
            nn.Conv2d(1, width, kernel_size=3, stride=2),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=3, stride=second),
            nn.ReLU(),
        )
        bins = ((num_mels - 1) // 2 - 3) // second + 1
        self.out = nn.Sequential(Linear(width * bins, width))

    def forward(self, features: Tensor) -> Tensor:
        """``features`` (B, F_mel, num_mels) -> (B, F, D); see :meth:`num_frames`."""
        missing = CONTEXT - features.shape[1]
        if missing > 0:
            features = nn.functional.pad(features, (0, 0, 0, missing))
        x = self.conv(features.unsqueeze(1))  # (B, D, F, bins)
        return self.out(x.transpose(1, 2).flatten(2))

    def num_frames(self, lens: Tensor) -> Tensor:
        """Output frames of ``lens`` frames; the shortest clips, padded with zeros, have one."""
        lens = lens.clamp(min=CONTEXT) - CONTEXT
        return torch.div(lens, self.factor, rounding_mode="floor") + 1


class SelfAttention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.linear_q = Linear(width, width)
        self.linear_k = Linear(width, width)
        self.linear_v = Linear(width, width)
        self.linear_out = Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def split(self, x: Tensor) -> Tensor:
        """(B, F, D) -> (B, heads, F, D / heads)."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """``x`` (B, F, D), ``valid`` (B, F) -> (B, F, D)."""
        query, key = self.split(self.linear_q(x)), self.split(self.linear_k(x))
        query = query / math.sqrt(key.shape[-1])
        scores = query @ key.transpose(2, 3)  # (B, heads, F, F)
        scores += masked(valid[:, None, None], scores.dtype)
        mixed = self.dropout(scores.softmax(dim=-1)) @ self.split(self.linear_v(x))
        return self.linear_out(mixed.transpose(1, 2).flatten(2))


class SpatialGating(nn.Module):
    """CSGU: one half of the channels, convolved over time, gates the other half."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width // 2, eps=EPSILON)
        self.conv = DepthwiseConv(width // 2, kernel)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """``x`` (B, F, width), ``valid`` (B, F) -> (B, F, width / 2)."""
        kept, gate = x.chunk(2, dim=2)
        return self.dropout(kept * self.conv(self.norm(gate) * valid.unsqueeze(2)))


class GatingMLP(nn.Module):
    """cgMLP: widen, gate, narrow."""

    def __init__(self, width: int, inner: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.channel_proj1 = nn.Sequential(Linear(width, inner), GELU())
        self.csgu = SpatialGating(inner, kernel, dropout)
        self.channel_proj2 = Linear(inner // 2, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """``x`` (B, F, D), ``valid`` (B, F) -> (B, F, D)."""
        return self.channel_proj2(self.csgu(self.channel_proj1(x), valid))


class FeedForward(nn.Module):
    """Two linear layers around a SiLU."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.w_1 = Linear(width, inner)
        self.w_2 = Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F, D) -> (B, F, D)."""
        return self.w_2(self.dropout(nn.functional.silu(self.w_1(x))))


class EBranchformerLayer(nn.Module):
    """Half a feed-forward; attention and cgMLP side by side, merged; half a feed-forward."""

    def __init__(self, size: EBranchformerSize) -> None:
        super().__init__()
        width, dropout = size.width, size.dropout
        self.feed_forward_macaron = FeedForward(width, size.feed_forward, dropout)
        self.attn = SelfAttention(width, size.num_heads, dropout)
        self.cgmlp = GatingMLP(width, size.gating, size.kernel, dropout)
        self.depthwise_conv_fusion = DepthwiseConv(2 * width, size.kernel)
        self.merge_proj = Linear(2 * width, width)
        self.feed_forward = FeedForward(width, size.feed_forward, dropout)
        self.norm_ff_macaron = nn.LayerNorm(width, eps=EPSILON)
        self.norm_mha = nn.LayerNorm(width, eps=EPSILON)
        self.norm_mlp = nn.LayerNorm(width, eps=EPSILON)
        self.norm_ff = nn.LayerNorm(width, eps=EPSILON)
        self.norm_final = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """``x`` (B, F, D), ``valid`` (B, F) -> (B, F, D)."""
        x = x + 0.5 * self.dropout(self.feed_forward_macaron(self.norm_ff_macaron(x)))
        attended = self.dropout(self.attn(self.norm_mha(x), valid))
        gated = self.dropout(self.cgmlp(self.norm_mlp(x), valid))
        both = torch.cat([attended, gated], dim=2)  # (B, F, 2 D)
        both = both + self.depthwise_conv_fusion(both * valid.unsqueeze(2))
        x = x + self.dropout(self.merge_proj(both))
        x = x + 0.5 * self.dropout(self.feed_forward(self.norm_ff(x)))
        return self.norm_final(x)


class EBranchformerEncoder(Encoder):
    """Log-mel, convolutional subsampling, sinusoidal positions, E-Branchformer layers.

    ESPnet's encoder has up to three frames less than a clip is long; here its last one is repeated.
    """

    def __init__(self, size: EBranchformerSize) -> None:
        super().__init__()
        check(size)
        self.width, self.num_layers = size.width, size.num_layers
        self.subsampling = size.subsampling
        self.frame_shift = size.subsampling * HOP / SAMPLING_RATE
        self.features = LogMel(num_mels=80, normalise=size.normalise)
        self.embed = ConvSubsampling(80, size.width, size.subsampling)
        self.dropout = nn.Dropout(size.dropout)
        self.layers = nn.ModuleList(EBranchformerLayer(size) for _ in range(size.num_layers))
        self.after_norm = nn.LayerNorm(size.width, eps=EPSILON)

    @property
    def final_norm(self) -> nn.Module:
        """See :class:`ume.nn.encoder.Encoder`."""
        return self.after_norm

    def forward(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> EncoderOutput:
        """See :class:`ume.nn.encoder.Encoder`."""
        features, mel_lens = self.log_mel(audio, audio_lens, like)  # (B, F_mel, 80)
        lens = self.embed.num_frames(mel_lens)
        x = self.embed(features) * math.sqrt(self.width)  # (B, F, D)
        x = self.dropout(x + sinusoids(x.shape[1], self.width, x.device))
        hidden = self.run_layers(x, lens)  # (L, B, F, D)
        whole = num_frames(audio_lens, self.subsampling * HOP)
        layers = repeat_last(hidden, lens, whole)
        return EncoderOutput(layers, whole, self.frame_shift)

    def context(self, lens: Tensor, num_frames: int) -> Tuple[Tensor]:
        """See :class:`ume.nn.encoder.Encoder`: which frames are valid."""
        return (valid_frames(lens, num_frames),)


def check(size: EBranchformerSize) -> None:
    """:class:`UmeError` names a size that cannot be."""
    if size.subsampling not in (2, 4):
        raise UmeError(f"e_branchformer.subsampling is {size.subsampling}; choose 2 or 4")
    if size.width % (2 * size.num_heads):
        raise UmeError(
            f"e_branchformer.width {size.width} must be an even multiple of "
            f"num_heads {size.num_heads}"
        )
    if size.gating % 2 or size.kernel % 2 == 0:
        raise UmeError(
            f"e_branchformer.gating {size.gating} must be even and kernel {size.kernel} odd"
        )
    if size.normalise not in ("utterance", "global"):
        raise UmeError(
            f"e_branchformer.normalise is {size.normalise!r}; choose utterance or global"
        )


def sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """Positions (length, width) of the Transformer: sine and cosine of a rate side by side."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000) / width))
    angles = torch.arange(length, device=device).unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
