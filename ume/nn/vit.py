"""A Vision Transformer on log-mel patches: Echo's encoder (arXiv 2606.01909)."""

from dataclasses import dataclass
from typing import Optional, Tuple

import torch
from torch import Tensor, nn

from ume.nn.encoder import Encoder, EncoderOutput
from ume.nn.frontend import LogMel
from ume.nn.lengths import num_frames, spread, valid_frames
from ume.nn.linear import Linear
from ume.nn.rotary import RotaryLayer


@dataclass
class ViTSize:
    """Sizes; the default has 25.3 million parameters."""

    num_layers: int = 8
    """layers"""
    width: int = 512
    """width of the hidden states; layers are four times as wide inside"""
    num_heads: int = 8
    """attention heads"""
    num_mels: int = 80
    """mel bins"""
    patch: int = 2
    """log-mel frames (10 ms) of a patch"""


class ViTEncoder(Encoder):
    """Patches of all bins of a few log-mel frames, and Transformer layers with rotary positions."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.width, self.num_layers, self.patch = size.width, size.num_layers, size.patch
        self.frame_shift = 0.01 * size.patch
        self.features = LogMel(size.num_mels, "clip", mirror_end=False)
        self.embedding = Linear(size.patch * size.num_mels, size.width)
        self.layers = nn.ModuleList(
            RotaryLayer(size.width, size.num_heads) for _ in range(size.num_layers)
        )
        self.norm = nn.LayerNorm(size.width)

    @property
    def final_norm(self) -> nn.Module:
        """See :class:`Encoder`."""
        return self.norm

    def embed(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor]:
        """Embedded patches (B, F, D) of ``audio`` (B, T), and how many (B,)."""
        patches, lens = patched(*self.log_mel(audio, audio_lens, like), self.patch)
        return self.embedding(patches), lens

    def look(self, x: Tensor, seen: Tensor) -> Tensor:
        """The last layer's output (B, F, D) for patches ``x``, where only ``seen`` (B, F) exist.

        Zero where they do not; the others are computed side by side, as if they were all there is.
        """
        lens = seen.sum(dim=1)
        index = (~seen).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(lens.max())]
        rows = torch.arange(len(x), device=x.device)[:, None]
        packed, exists = x[rows, index], valid_frames(lens, index.shape[1])  # (B, F', D), (B, F')
        for layer in self.layers:
            packed = self.run_layer(layer, packed, exists, index)
        return spread(self.norm(packed)[exists], seen)

    def forward(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> EncoderOutput:
        """See :class:`Encoder`."""
        x, lens = self.embed(audio, audio_lens, like)
        valid = valid_frames(lens, x.shape[1]).unsqueeze(2)
        return EncoderOutput(self.run_layers(x, lens) * valid, lens, self.frame_shift)

    def context(self, lens: Tensor, num_frames: int) -> Tuple[Optional[Tensor]]:
        """See :class:`Encoder`: which keys are valid."""
        valid = valid_frames(lens, num_frames)
        return (None if bool(valid.all()) else valid,)


class LogMelEncoder(Encoder):
    """The patches as they are, in place of an encoder: what learning must beat."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.width, self.num_layers, self.patch = size.patch * size.num_mels, 1, size.patch
        self.frame_shift = 0.01 * size.patch
        self.features = LogMel(size.num_mels, "clip", mirror_end=False)
        self.layers = nn.ModuleList()

    @property
    def final_norm(self) -> nn.Module:
        """See :class:`Encoder`."""
        return nn.Identity()

    def forward(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> EncoderOutput:
        """See :class:`Encoder`."""
        patches, lens = patched(*self.log_mel(audio, audio_lens, like), self.patch)
        return EncoderOutput(patches[None], lens, self.frame_shift)


def patched(features: Tensor, mel_lens: Tensor, patch: int) -> Tuple[Tensor, Tensor]:
    """``features`` (B, F_mel, M) in patches (B, F, patch * M), and how many of them (B,)."""
    lens = num_frames(mel_lens, patch)
    missing = int(lens.max()) * patch - features.shape[1]
    padded = nn.functional.pad(features, (0, 0, 0, missing))
    return padded.unflatten(1, (-1, patch)).flatten(2), lens


class Predictor(nn.Module):
    """A narrow Transformer that says what lies behind hidden patches (I-JEPA's predictor).

    Args:
        width: D of the encoder's states.
        inner: its own width.
        num_layers: layers.
        num_heads: attention heads.
    """

    def __init__(self, width: int, inner: int = 256, num_layers: int = 6, num_heads: int = 4):
        super().__init__()
        self.project = Linear(width, inner)
        self.hidden = nn.Parameter(torch.zeros(inner))
        nn.init.normal_(self.hidden, std=0.02)
        self.layers = nn.ModuleList(RotaryLayer(inner, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(inner)
        self.output = Linear(inner, width)

    def forward(self, states: Tensor, seen: Tensor, valid: Tensor) -> Tensor:
        """``states`` (B, F, D) of the patches that were ``seen`` -> guesses (B, F, D) for all.

        ``seen`` and ``valid`` are (B, F); what is not valid does not exist.
        """
        x = torch.where(seen[..., None], self.project(states), self.hidden)  # (B, F, P)
        for layer in self.layers:
            x = layer(x, valid)
        return self.output(self.norm(x))
