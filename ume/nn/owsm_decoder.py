"""OWSM's text decoder: ESPnet's Transformer decoder, pre-norm, with an output layer of its own."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from ume.nn.e_branchformer import EPSILON, sinusoids
from ume.nn.linear import Linear
from ume.nn.whisper_decoder import AttentionDecoder, DecoderLayer


@dataclass
class OwsmDecoderSize:
    """Sizes of OWSM's decoder, as wide as its encoder; the default is OWSM v3.1 base's."""

    num_layers: int = 6
    """layers of the decoder"""
    num_heads: int = 6
    """attention heads"""
    feed_forward: int = 1536
    """inner width of the feed-forward modules"""
    vocab_size: int = 50002
    """tokens of the decoder"""


class OwsmDecoder(AttentionDecoder):
    """See :class:`AttentionDecoder`; embeddings are scaled by sqrt(D), positions are sinusoids."""

    def __init__(self, size: OwsmDecoderSize, width: int) -> None:
        layers = [
            DecoderLayer(width, size.num_heads, size.feed_forward, nn.ReLU(), EPSILON, True)
            for _ in range(size.num_layers)
        ]
        super().__init__(size.vocab_size, width, layers, EPSILON)
        self.output = Linear(width, size.vocab_size)

    def embed(self, tokens: Tensor, seen: int) -> Tensor:
        """See :class:`AttentionDecoder`."""
        width = self.embedding.embedding_dim
        table = sinusoids(seen + tokens.shape[1], width, tokens.device)[seen:]
        return self.embedding(tokens) * math.sqrt(width) + table.to(self.embedding.weight.dtype)

    def logits(self, x: Tensor) -> Tensor:
        """See :class:`AttentionDecoder`."""
        return self.output(x)

    def freeze_tokens(self) -> None:
        """See :class:`AttentionDecoder`."""
        super().freeze_tokens()
        self.output.requires_grad_(False)
