"""Speaker and content as two subspaces of latents, each with a quantiser (Echo's VQ stage)."""

from dataclasses import dataclass
from typing import Dict, NamedTuple, Optional

from torch import Tensor, nn

from ume.nn.encoder import full_precision
from ume.nn.gelu import GELU
from ume.nn.lengths import spread
from ume.nn.linear import Linear
from ume.nn.norm import instance_norm
from ume.nn.vq import ProductQuantiser, Quantised, ResidualQuantiser

READERS = ("continuous", "product", "residual")  # what tokens are read from, of the contents


@dataclass
class FactorConfig:
    """Sizes of the subspaces and their codebooks."""

    width: int = 256
    """width of each subspace"""
    codebooks: int = 4
    """product codebooks of each subspace"""
    entries: int = 256
    """entries of a codebook"""
    residual: int = 8
    """residual codebooks of the contents"""


class Factored(NamedTuple):
    """Latents in two subspaces, (B, F, W) each, zero in frames that do not exist.

    Contents have mean 0 and deviation 1 over a clip: what stays the same in it is no content.
    """

    speaker: Tensor
    content: Tensor


class Factors(nn.Module):
    """Projections to both subspaces, their quantisers, and the way back to the latents.

    Args:
        width: D of the latents.
        config: sizes.
        vocab_size: V, of the readers of tokens.
    """

    def __init__(self, width: int, config: FactorConfig, vocab_size: int) -> None:
        super().__init__()
        inner = config.width
        self.norm = nn.LayerNorm(width)
        self.to_speaker = Linear(width, inner)
        self.to_content = Linear(width, inner)
        self.speaker_books = ProductQuantiser(inner, config.codebooks, config.entries)
        self.content_books = ProductQuantiser(inner, config.codebooks, config.entries)
        self.residual_books = ResidualQuantiser(inner, config.residual, config.entries)
        self.readers = nn.ModuleDict({name: Linear(inner, vocab_size) for name in READERS})
        self.back = nn.Sequential(Linear(2 * inner, 2 * inner), GELU(), Linear(2 * inner, width))

    def forward(self, latents: Tensor, mask: Tensor) -> Factored:
        """``latents`` (B, F, D), ``mask`` (B, F) of frames that exist."""
        normed = self.norm(latents)
        content = instance_norm(self.to_content(normed), mask)
        return Factored(self.to_speaker(normed) * mask[..., None], content)

    def quantise(
        self, factored: Factored, mask: Tensor, count: Optional[int] = None
    ) -> Dict[str, Quantised]:
        """``speaker``, ``product`` and ``residual``: what the quantisers make of each frame.

        Values (B, F, W) are zero in frames that do not exist; codes are of those that do, (N, C).
        ``count`` is the number of residual codebooks, all by default.
        """
        speaker, content = (part[mask].float() for part in factored)
        with full_precision(speaker):
            found = {
                "speaker": self.speaker_books(speaker),
                "product": self.content_books(content),
                "residual": self.residual_books(content, count),
            }
        return {
            name: each._replace(values=spread(each.values, mask)) for name, each in found.items()
        }

    def log_probs(self, contents: Tensor, reader: str) -> Tensor:
        """Log-probabilities (B, F, V) of tokens by one of READERS, given ``contents`` (B, F, W)."""
        return self.readers[reader](contents).log_softmax(dim=-1)
