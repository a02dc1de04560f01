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

    differentiate_by: str = "voices"
    """`voices`: one stack of layers for all speakers, told apart by what the shared encoder hears
    in each separated voice. `encoders`: a stack per speaker on what it hears in the mixture (the
    paper's)."""
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
    """H_enc to CTC log-probabilities, one stream per stack of differentiating layers.

    Args:
        config: sizes.
        width: D of H_enc.
        num_stacks: K, streams that one clip is taken apart into; 1 for clips of one voice.
        vocab_size: V, blank (0) included.
    """

    def __init__(
        self, config: RecogniserConfig, width: int, num_stacks: int, vocab_size: int
    ) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(width), Linear(width, config.width))
        self.differentiating = nn.ModuleList(
            Stack(config.differentiating_layers, config) for _ in range(num_stacks)
        )
        self.shared = Stack(config.shared_layers, config)
        self.output = Linear(config.width, vocab_size)

    def forward(self, states: Tensor, lens: Tensor, num_stacks: Optional[int] = None) -> Tensor:
        """``states`` (B, F, D), ``lens`` (B,) -> (B, K, F, V); of the first ``num_stacks`` only."""
        x = self.project(states)  # (B, F, D)
        valid = valid_frames(lens, x.shape[1])  # (B, F)
        stacks = self.differentiating[:num_stacks]
        x = torch.cat([stack(x, valid) for stack in stacks])  # (K * B, F, D)
        x = self.shared(x, valid.repeat(len(stacks), 1))
        logits = self.output(x).to(self.output.weight.dtype)  # under autocast they are short
        log_probs = logits.log_softmax(dim=-1)
        return log_probs.unflatten(0, (len(stacks), -1)).transpose(0, 1)
