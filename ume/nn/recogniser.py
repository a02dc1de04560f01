"""The ASR head: one stream of CTC log-probabilities per speaker."""

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor, nn

from ume.nn.e_branchformer import EBranchformerLayer, EBranchformerSize
from ume.nn.lengths import valid_frames
from ume.nn.linear import Linear


@dataclass
class RecogniserConfig:
    """Speaker-differentiating layers, then recognition layers shared by all speakers."""

    differentiate_by: str = "streams"
    """`streams`: one stack of differentiating layers for all speakers, told apart by the spectrum
    that the separation head gives to each. `encoders`: a stack per speaker that sees H_enc alone
    (the paper's)."""
    width: int = 256
    """Width of the E-Branchformer layers."""
    num_heads: int = 4
    """Attention heads."""
    inner: int = 512
    """Inner width of feed-forward and gating."""
    kernel: int = 31
    """Frames that the depthwise convolutions see; odd."""
    differentiating_layers: int = 1
    """Layers per speaker."""
    shared_layers: int = 2
    """Recognition layers, the same for all speakers."""
    dropout: float = 0.1
    """Dropout."""


class Stack(nn.Module):
    """E-Branchformer layers on frames that exist."""

    def __init__(self, num_layers: int, config: RecogniserConfig) -> None:
        super().__init__()
        size = EBranchformerSize(
            num_layers,
            config.width,
            config.num_heads,
            config.inner,
            config.inner,
            config.kernel,
            dropout=config.dropout,
        )
        self.layers = nn.ModuleList(EBranchformerLayer(size) for _ in range(num_layers))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """``x`` (B, F, D), ``valid`` (B, F) -> (B, F, D)."""
        for layer in self.layers:
            x = layer(x, valid)
        return x


class Recogniser(nn.Module):
    """H_enc, and what the separation head makes of each speaker, to CTC log-probabilities.

    Args:
        config: sizes.
        width: D of H_enc.
        stream_width: C, values per frame and speaker from the separation head.
        num_speakers: S.
        vocab_size: V, blank (0) included.
    """

    def __init__(
        self,
        config: RecogniserConfig,
        width: int,
        stream_width: int,
        num_speakers: int,
        vocab_size: int,
    ) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(width), Linear(width, config.width))
        self.project_stream: Optional[nn.Module] = None
        stacks = num_speakers
        if config.differentiate_by == "streams":
            self.project_stream = nn.Sequential(
                nn.LayerNorm(stream_width), Linear(stream_width, config.width)
            )
            stacks = 1
        self.differentiating = nn.ModuleList(
            Stack(config.differentiating_layers, config) for _ in range(stacks)
        )
        self.shared = Stack(config.shared_layers, config)
        self.output = Linear(config.width, vocab_size)

    def forward(self, states: Tensor, lens: Tensor, streams: Optional[Tensor]) -> Tensor:
        """``states`` (B, F, D), ``lens`` (B,), ``streams`` (B, S, F, C) -> (B, S, F, V).

        Without ``streams`` there is one output per differentiating stack.
        """
        x = self.project(states)  # (B, F, D)
        valid = valid_frames(lens, x.shape[1])  # (B, F)
        if self.project_stream is not None and streams is not None:
            speakers = streams.shape[1]
            valid = valid.repeat_interleave(speakers, dim=0)  # (B * S, F)
            x = (x[:, None] + self.project_stream(streams)).flatten(0, 1)  # (B * S, F, D)
            x = self.differentiating[0](x, valid)
        else:
            speakers = len(self.differentiating)
            x = torch.stack([stack(x, valid) for stack in self.differentiating], dim=1)
            x = x.flatten(0, 1)
            valid = valid.repeat_interleave(speakers, dim=0)
        x = self.shared(x, valid)
        return self.output(x).log_softmax(dim=-1).unflatten(0, (-1, speakers))
