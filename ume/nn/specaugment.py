"""SpecAugment (Park et al. 2019) without time warping: stretches of frames and of bins hidden."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ume.nn.lengths import valid_frames


@dataclass
class SpecAugmentConfig:
    """How many masks, and how long; none by default."""

    time_masks: int = 0
    """stretches of time hidden in each clip"""
    time_mask: int = 40
    """longest of them, in 10 ms frames"""
    time_share: float = 0.2
    """longest of them, as a share of the clip"""
    mel_masks: int = 0
    """bands of frequency hidden in each clip"""
    mel_mask: int = 27
    """widest of them, in mel bins"""


class SpecAugment(nn.Module):
    """What is hidden becomes the clip's mean; in training only."""

    def __init__(self, config: SpecAugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, features: Tensor, lens: Tensor) -> Tensor:
        """``features`` (B, F, M) of ``lens`` (B,) frames -> the same with some of it hidden."""
        config = self.config
        if not self.training or config.time_masks + config.mel_masks == 0:
            return features
        longest = (lens * config.time_share).floor().clamp(max=config.time_mask)
        widest = torch.full_like(lens, min(config.mel_mask, features.shape[2]))
        bins = torch.full_like(lens, features.shape[2])
        in_time = stretches(config.time_masks, longest, lens, features.shape[1])  # (B, F)
        in_mel = stretches(config.mel_masks, widest, bins, features.shape[2])  # (B, M)
        valid = valid_frames(lens, features.shape[1])[..., None]  # (B, F, 1)
        mean = (features * valid).sum(dim=(1, 2)) / (lens * features.shape[2])  # (B,)
        hidden = (in_time[..., None] | in_mel[:, None]) & valid  # (B, F, M)
        return torch.where(hidden, mean[:, None, None].to(features.dtype), features)


def stretches(count: int, longest: Tensor, lens: Tensor, size: int) -> Tensor:
    """``count`` random stretches of [0, ``lens``), each at most ``longest``: a mask (B, ``size``).

    Widths and places are uniform, drawn on the CPU.
    """
    width, place = (torch.rand(2, len(lens), count, 1)).to(lens.device)  # (B, count, 1)
    width = (width * (longest[:, None, None] + 1)).floor()
    start = (place * (lens[:, None, None] - width + 1)).floor()
    index = torch.arange(size, device=lens.device)
    return ((index >= start) & (index < start + width)).any(dim=1)
