"""The ASR head: one stream of words per speaker, by CTC and, where asked, an attention decoder."""

from dataclasses import dataclass, field
from typing import NamedTuple, Optional

import torch
from torch import Tensor, nn

from ume.nn.conditioning import ConditioningConfig
from ume.nn.e_branchformer import EBranchformerLayer, EBranchformerSize
from ume.nn.e_branchformer import check as check_size
from ume.nn.lengths import valid_frames
from ume.nn.linear import Linear
from ume.nn.whisper import WhisperSize
from ume.nn.whisper_decoder import AttentionDecoder, WhisperDecoder


@dataclass
class RecogniserConfig:
    """Speaker-differentiating layers, then recognition layers shared by all speakers."""

    differentiate_by: str = "voices"
    """`voices`: one stack of layers for all speakers, told apart by what the shared encoder hears
    in each separated voice. `encoders`: a stack per speaker on what it hears in the mixture (the
    paper's). `sidecar`: one stack; between two layers of the encoder a separator of its states
    makes a stream of each speaker. `conditioning`: one stack; the upper layers of the encoder are
    told, frame by frame, what the other heads know of one speaker (DiCoW)."""
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
    decoder_layers: int = 0
    """Layers of an attention decoder, of the same width and heads, beside CTC; 0: CTC alone."""
    foundation_decoder: bool = False
    """Have the pretrained encoder's own decoder beside CTC instead, with its weights and tokens;
    it attends to the encoder's last layer and what the recognition layers add to it."""
    ctc_weight: float = 0.3
    """CTC's share of the loss where there is a decoder."""
    smoothing: float = 0.1
    """Share of the decoder's target that is spread over all tokens."""
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    """Of `sidecar` and `conditioning`."""


class Words(NamedTuple):
    """What the head says of a stream."""

    log_probs: Tensor  # (..., F, V), of CTC
    states: Tensor  # (..., F, W), what a decoder attends to


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
        check_size(size)
        self.layers = nn.ModuleList(EBranchformerLayer(size) for _ in range(num_layers))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """``x`` (B, F, D), ``valid`` (B, F) -> (B, F, D)."""
        for layer in self.layers:
            x = layer(x, valid)
        return x


class Recogniser(nn.Module):
    """H_enc to words, one stream per stack of differentiating layers.

    The decoder is not part of :meth:`forward`: in training it is told the texts, and in decoding it
    takes part in a search.

    Args:
        config: sizes.
        width: D of H_enc.
        num_stacks: K, streams that one clip is taken apart into; 1 for clips of one voice.
        vocab_size: V, blank (0) included.
        foundation: the pretrained decoder, if it is to be had.
    """

    def __init__(
        self,
        config: RecogniserConfig,
        width: int,
        num_stacks: int,
        vocab_size: int,
        foundation: Optional[AttentionDecoder] = None,
    ) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(width), Linear(width, config.width))
        self.differentiating = nn.ModuleList(
            Stack(config.differentiating_layers, config) for _ in range(num_stacks)
        )
        self.shared = Stack(config.shared_layers, config)
        self.output = Linear(config.width, vocab_size)
        self.decoder: Optional[AttentionDecoder] = foundation
        if config.decoder_layers:
            self.decoder = make_decoder(config, vocab_size)
        self.to_decoder: Optional[nn.Module] = None
        if foundation is not None:
            foundation.freeze_tokens()
            self.to_decoder = Linear(config.width, width)
            nn.init.zeros_(self.to_decoder.weight)
            nn.init.zeros_(self.to_decoder.bias)

    def forward(
        self, states: Tensor, lens: Tensor, last: Tensor, num_stacks: Optional[int] = None
    ) -> Words:
        """``states`` (B, F, D), ``lens`` (B,) -> (B, K, F, ...), K ``num_stacks`` or all stacks.

        ``last`` (B, F, D) is the encoder's last layer, for a pretrained decoder.
        """
        x = self.project(states)  # (B, F, D)
        valid = valid_frames(lens, x.shape[1])  # (B, F)
        stacks = self.differentiating[:num_stacks]
        x = torch.cat([stack(x, valid) for stack in stacks])  # (K * B, F, D)
        x = self.shared(x, valid.repeat(len(stacks), 1))
        logits = self.output(x).to(self.output.weight.dtype)  # under autocast they are short
        if self.to_decoder is not None:
            x = last.repeat(len(stacks), 1, 1) + self.to_decoder(x)
        both = (logits.log_softmax(dim=-1), x)
        return Words(*(part.unflatten(0, (len(stacks), -1)).transpose(0, 1) for part in both))


def make_decoder(config: RecogniserConfig, vocab_size: int) -> WhisperDecoder:
    """A decoder of Whisper's form from a random start."""
    decoder = WhisperDecoder(
        WhisperSize(
            width=config.width,
            num_heads=config.num_heads,
            decoder_layers=config.decoder_layers,
            vocab_size=vocab_size,
        )
    )
    # the embedding is the output layer as well: as torch draws it, the first logits are far off
    nn.init.normal_(decoder.embedding.weight, std=config.width**-0.5)
    nn.init.normal_(decoder.positions, std=config.width**-0.5)
    return decoder
