"""The diarization head: EEND's, at 40, 20 or 10 ms."""

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor, nn

from ume.activity import frame_samples
from ume.errors import UmeError
from ume.nn.depthwise import DepthwiseConv
from ume.nn.encoder import full_precision
from ume.nn.frontend import WhisperLogMel
from ume.nn.gelu import GELU
from ume.nn.lengths import change_rate, num_frames, valid_frames
from ume.nn.linear import Linear

FRAME_SHIFTS = (0.04, 0.02, 0.01)  # seconds
NUM_MELS = 80
BRANCH_KERNEL = 9  # frames of 10 ms


@dataclass
class DiarizationConfig:
    """How finely the diarization head tells speech from silence."""

    frame_shift: float = 0.02
    """Seconds from one frame of activity to the next: 0.04, 0.02 or 0.01."""
    branch_width: int = 0
    """Channels of a convolutional branch on log-mel features at 10 ms, which hears edges that H_enc
    blurs; only with a frame_shift of 0.01. 0: none."""


class DiarizationHead(nn.Module):
    """A linear layer on H_enc, one logit per speaker and frame, and a branch that adds to it.

    Args:
        config: frame shift and branch.
        width: D of H_enc.
        num_speakers: S.
    """

    def __init__(self, config: DiarizationConfig, width: int, num_speakers: int) -> None:
        super().__init__()
        check(config)
        self.frame_shift = config.frame_shift
        self.norm = nn.LayerNorm(width)
        self.output = Linear(width, num_speakers)
        self.branch: Optional[nn.Module] = None
        if config.branch_width:
            self.branch = EdgeBranch(config.branch_width, num_speakers)

    def frame_lens(self, audio_lens: Tensor) -> Tensor:
        """Frames of clips of ``audio_lens`` (B,) samples, (B,)."""
        return num_frames(audio_lens, frame_samples(self.frame_shift))

    def forward(
        self, states: Tensor, lens: Tensor, shift: float, audio: Tensor, audio_lens: Tensor
    ) -> Tensor:
        """Logits (B, F, S); those beyond a clip mean nothing.

        Args:
            states, lens: H_enc (B, F', D), ``shift`` seconds apart, and its frames (B,).
            audio, audio_lens: (B, T) at 16 kHz, and samples (B,).
        """
        frames = int(self.frame_lens(audio_lens).max())
        logits = self.output(self.norm(change_rate(states, lens, frames, shift / self.frame_shift)))
        return logits if self.branch is None else logits + self.branch(audio, audio_lens)


class EdgeBranch(nn.Module):
    """Log-mel features of the mixture through two convolutional layers.

    Starts as nothing: its last layer is zero.
    """

    def __init__(self, width: int, num_speakers: int) -> None:
        super().__init__()
        self.features = WhisperLogMel(NUM_MELS)
        self.input = nn.Sequential(Linear(NUM_MELS, width), GELU())
        self.conv1 = DepthwiseConv(width, BRANCH_KERNEL)
        self.mix = nn.Sequential(GELU(), Linear(width, width), GELU())
        self.conv2 = DepthwiseConv(width, BRANCH_KERNEL)
        self.output = nn.Sequential(GELU(), Linear(width, num_speakers))
        nn.init.zeros_(self.output[1].weight)
        nn.init.zeros_(self.output[1].bias)

    def forward(self, audio: Tensor, audio_lens: Tensor) -> Tensor:
        """``audio`` (B, T), ``audio_lens`` (B,) -> (B, F, S), 10 ms apart."""
        with full_precision(audio), torch.no_grad():
            features, lens = self.features(audio, audio_lens)  # (B, F, 80)
        valid = valid_frames(lens, features.shape[1]).unsqueeze(2)
        x = self.mix(self.conv1(self.input(features) * valid))
        return self.output(self.conv2(x * valid))


def check(config: DiarizationConfig) -> None:
    """One line for what cannot be."""
    if config.frame_shift not in FRAME_SHIFTS:
        raise UmeError(
            f"diarization.frame_shift is {config.frame_shift:g}; choose one of "
            + ", ".join(f"{shift:g}" for shift in FRAME_SHIFTS)
        )
    if config.branch_width and config.frame_shift != 0.01:
        raise UmeError("diarization.branch_width needs a diarization.frame_shift of 0.01")
