"""Whisper's audio encoder (Radford et al. 2022), any size, and the layers its decoder shares."""

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import torch
from torch import Tensor, nn

from ume.activity import SAMPLING_RATE
from ume.nn.encoder import Encoder, EncoderOutput
from ume.nn.frontend import WhisperLogMel
from ume.nn.gelu import GELU, gelu
from ume.nn.lengths import masked, num_frames, valid_frames
from ume.nn.linear import Linear

WINDOW = 30 * SAMPLING_RATE  # samples that Whisper was trained on
MAX_FRAMES = 1500  # its positions: one for 20 ms


@dataclass
class WhisperSize:
    """Sizes of a Whisper model; the default is tiny.en."""

    width: int = 384
    """width of the hidden states"""
    num_heads: int = 6
    """attention heads"""
    encoder_layers: int = 4
    """layers of the encoder"""
    decoder_layers: int = 4
    """layers of the decoder"""
    vocab_size: int = 51864
    """tokens of the decoder"""
    num_mels: int = 80
    """mel bins of the input"""


class Attention(nn.Module):
    """Multi-head attention; in Whisper keys have no bias."""

    def __init__(self, width: int, num_heads: int, key_bias: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = Linear(width, width)
        self.key = Linear(width, width, bias=key_bias)
        self.value = Linear(width, width)
        self.out = Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """(B, F, D) -> (B, heads, F, D / heads)."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def project(self, source: Tensor) -> Tuple[Tensor, Tensor]:
        """Keys and values (B, heads, F, D / heads) of ``source`` (B, F, D)."""
        return self.split(self.key(source)), self.split(self.value(source))

    def attend(
        self, x: Tensor, key: Tensor, value: Tensor, mask: Optional[Tensor] = None
    ) -> Tensor:
        """Attend from ``x`` (B, U, D) to keys and values where ``mask`` (broadcast) is True."""
        return self.mix(self.split(self.query(x)), key, value, mask)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Optional[Tensor]) -> Tensor:
        """The heads' answers joined, (B, U, D); all (B, heads, U or F, D / heads)."""
        scores = query / math.sqrt(key.shape[-1]) @ key.transpose(2, 3)  # (B, heads, U, F)
        if mask is not None:
            scores += masked(mask, scores.dtype)
        mixed = scores.softmax(dim=-1) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))


def feed_forward(width: int) -> nn.Sequential:
    """Two linear layers around a GELU, four times as wide inside."""
    return nn.Sequential(Linear(width, 4 * width), GELU(), Linear(4 * width, width))


class EncoderLayer(nn.Module):
    """Pre-norm Transformer layer."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = feed_forward(width)

    def forward(self, x: Tensor, mask: Optional[Tensor]) -> Tensor:
        """``x`` (B, F, D), ``mask`` (B, 1, 1 or F, F) of valid keys -> (B, F, D)."""
        normed = self.attention_norm(x)
        x = x + self.attention.attend(normed, *self.attention.project(normed), mask)
        return x + self.feed_forward(self.feed_forward_norm(x))


class WhisperEncoder(Encoder):
    """Whisper's encoder on clips as long as they are: the position table is cut to their length.

    Whisper itself pads every clip to 30 s; for its frozen decoder do the same to the audio. Longer
    clips are heard in pieces of 30 s, which do not attend to each other.
    """

    positions: Tensor
    frame_shift = 0.02

    def __init__(self, size: WhisperSize) -> None:
        super().__init__()
        width = size.width
        self.width, self.num_layers = width, size.encoder_layers
        self.features = WhisperLogMel(size.num_mels)
        self.conv1 = nn.Conv1d(size.num_mels, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids(MAX_FRAMES, width))
        self.layers = nn.ModuleList(
            EncoderLayer(width, size.num_heads) for _ in range(size.encoder_layers)
        )
        self.norm = nn.LayerNorm(width)

    @property
    def final_norm(self) -> nn.Module:
        """See :class:`Encoder`."""
        return self.norm

    def forward(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> EncoderOutput:
        """See :class:`Encoder`."""
        features, mel_lens = self.log_mel(audio, audio_lens, like)  # (B, F_mel, 80)
        lens = num_frames(mel_lens, 2)
        x = gelu(self.conv1(features.transpose(1, 2)))  # (B, D, F_mel)
        x = x * valid_frames(mel_lens, x.shape[2]).unsqueeze(1)  # conv2 sees zeros after the clip
        x = gelu(self.conv2(x)).transpose(1, 2)  # (B, F, D)
        x = x + self.positions[torch.arange(x.shape[1], device=x.device) % MAX_FRAMES]
        valid = valid_frames(lens, x.shape[1]).unsqueeze(2)
        return EncoderOutput(self.run_layers(x, lens) * valid, lens, self.frame_shift)

    def context(self, lens: Tensor, num_frames: int) -> Tuple[Optional[Tensor]]:
        """See :class:`Encoder`: which keys are valid, and heard with which frames."""
        valid = valid_frames(lens, num_frames)
        mask = valid[:, None, None, :]  # (B, 1, 1, F)
        if num_frames > MAX_FRAMES:
            piece = torch.arange(num_frames, device=lens.device) // MAX_FRAMES
            return (mask & (piece[:, None] == piece),)  # (B, 1, F, F)
        return (None if bool(valid.all()) else mask,)


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's position table (length, width): sines, then cosines, periods 2 pi to 20 000 pi."""
    rates = torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
