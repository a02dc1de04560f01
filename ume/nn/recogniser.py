"""The ASR head: one stream of CTC log-probabilities per speaker."""

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor, nn

from ume.nn.lengths import valid_frames
from ume.nn.whisper import EncoderLayer


@dataclass
class RecogniserConfig:
    """Speaker-differentiating layers, then recognition layers shared by all speakers."""

    differentiate_by: str = "streams"
    """`streams`: one stack of differentiating layers for all speakers, told apart by the spectrum
    that the separation head gives to each. `encoders`: a stack per speaker that sees H_enc alone
    (the paper's)."""
    width: int = 256
    """Width of the layers."""
    num_heads: int = 4
    """Attention heads."""
    differentiating_layers: int = 1
    """Layers per speaker."""
    shared_layers: int = 2
    """Recognition layers, the same for all speakers."""
    dropout: float = 0.1
    """Dropout on the input of the layers."""


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
        by_streams = config.differentiate_by == "streams"
        self.project = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.width))
        self.project_stream = (
            nn.Sequential(nn.LayerNorm(stream_width), nn.Linear(stream_width, config.width))
            if by_streams
            else None
        )
        self.dropout = nn.Dropout(config.dropout)
        stacks = 1 if by_streams else num_speakers
        self.differentiating = nn.ModuleList(
            _layers(config.differentiating_layers, config) for _ in range(stacks)
        )
        self.shared = _layers(config.shared_layers, config)
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, vocab_size)

    def forward(self, states: Tensor, lens: Tensor, streams: Optional[Tensor]) -> Tensor:
        """``states`` (B, F, D), ``lens`` (B,), ``streams`` (B, S, F, C) -> (B, S, F, V)."""
        x = self.project(states)[:, None]  # (B, 1, F, D)
        if self.project_stream is not None:
            assert streams is not None
            x = x + self.project_stream(streams)  # (B, S, F, D)
            speakers = x.shape[1]
        else:
            speakers = len(self.differentiating)
        x = self.dropout(x)
        valid = valid_frames(lens, x.shape[2])  # (B, F)
        mask = None if bool(valid.all()) else valid[:, None, None]  # (B, 1, 1, F)
        if self.project_stream is not None:
            x = x.flatten(0, 1)  # (B * S, F, D)
            repeated = None if mask is None else mask.repeat_interleave(speakers, dim=0)
            x = _run(self.differentiating[0], x, repeated)
        else:
            each = [_run(stack, x[:, 0], mask) for stack in self.differentiating]
            x = torch.stack(each, dim=1).flatten(0, 1)
            repeated = None if mask is None else mask.repeat_interleave(speakers, dim=0)
        x = self.norm(_run(self.shared, x, repeated))
        log_probs = self.output(x).log_softmax(dim=-1)
        return log_probs.unflatten(0, (-1, speakers))


def _layers(count: int, config: RecogniserConfig) -> nn.ModuleList:
    return nn.ModuleList(EncoderLayer(config.width, config.num_heads) for _ in range(count))


def _run(layers: nn.Module, x: Tensor, mask: Optional[Tensor]) -> Tensor:
    for layer in layers:  # type: ignore[attr-defined]
        x = layer(x, mask)
    return x
