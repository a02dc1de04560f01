"""The separation head: Conv-TasNet on filterbank features and H_enc."""

from dataclasses import KW_ONLY, dataclass
from typing import Optional, Union

import torch
from torch import Tensor, nn

from ume.activity import FRAME_SAMPLES, SAMPLING_RATE
from ume.errors import UmeError
from ume.nn.conv_tasnet import ConvTasNet
from ume.nn.filterbank import Filterbank, FreeFilterbank, STFTFilterbank
from ume.nn.half_rate import HalfRate
from ume.nn.lengths import num_frames, resample_frames, valid_frames
from ume.nn.linear import Linear


@dataclass
class SeparationConfig:
    """Conv-TasNet: the filterbank and the sizes N, L, B, H, P, X, R of Luo and Mesgarani."""

    filterbank: str = "stft"
    """`stft` (trainable, starts as a Fourier transform) or `free` (random start, the paper's)."""
    _: KW_ONLY
    num_filters: int = 512
    """N: filters of the free filterbank."""
    sampling_rate: int = 16000
    """Hz at which voices are separated: 16000, or 8000 for corpora without anything above 4 kHz."""
    kernel: int = 512
    """L: samples, at that rate, under one filter."""
    stride: int = 160
    """Samples, at that rate, from one frame to the next."""
    bottleneck: int = 128
    """B: channels between blocks."""
    hidden: int = 512
    """H: channels inside a block."""
    taps: int = 3
    """P: kernel of the depthwise convolutions."""
    blocks: int = 8
    """X: blocks per repeat, dilations 1, 2, 4, ..."""
    repeats: int = 3
    """R: repeats."""
    skip: bool = True
    """Sum the blocks' skip paths (Asteroid's form); false: the last block's output (ESPnet's)."""
    mask: str = "sigmoid"
    """`sigmoid`, `relu` or `softmax`; sigmoid and softmax never amplify a frequency."""
    encoder_width: int = 128
    """Channels H_enc is projected to before it joins the filterbank's features; 0 leaves it out."""
    gated: bool = False
    """Multiply voice k by the probability that speaker k speaks; needs loss.tied."""


class SeparationHead(nn.Module):
    """Conv-TasNet on filterbank features joined with projected, upsampled H_enc."""

    def __init__(self, config: SeparationConfig, width: int, num_speakers: int) -> None:
        super().__init__()
        check(config)
        self.filterbank = make_filterbank(config)
        self.features_norm = nn.LayerNorm(self.filterbank.num_features)
        self.project: Optional[nn.Module] = None
        num_features = self.filterbank.num_features
        if config.encoder_width:
            self.project = nn.Sequential(
                nn.LayerNorm(width),
                Linear(width, config.encoder_width),
                nn.LayerNorm(config.encoder_width),
            )
            num_features += config.encoder_width
        self.masker = ConvTasNet(
            num_features,
            self.filterbank.num_masks,
            num_speakers,
            config.bottleneck,
            config.hidden,
            config.taps,
            config.blocks,
            config.repeats,
            config.skip,
            config.mask,
        )

    @property
    def frame_shift(self) -> float:
        """Seconds from one mask frame to the next."""
        return self.filterbank.stride / SAMPLING_RATE

    def frame_lens(self, audio_lens: Tensor) -> Tensor:
        """Mask frames of each clip, (B,)."""
        return num_frames(audio_lens, self.filterbank.stride)

    def forward(self, features: Tensor, audio_lens: Tensor, states: Tensor, shift: float) -> Tensor:
        """Masks (B, S, F, C) from ``features`` (B, F, C) and H_enc (B, F', D), ``shift`` apart.

        They are zero beyond a clip, where frames still see its last samples.
        """
        frames = features.shape[1]
        inputs = [self.features_norm(features)]
        if self.project is not None:
            inputs.append(resample_frames(self.project(states), frames, shift / self.frame_shift))
        valid = valid_frames(self.frame_lens(audio_lens), frames)  # (B, F)
        mask = None if bool(valid.all()) else valid[..., None].to(features.dtype)
        joined = torch.cat(inputs, dim=2)  # (B, F, C)
        if mask is None:
            return self.masker(joined)
        return self.masker(joined * mask, mask) * mask[:, None]


def make_filterbank(config: SeparationConfig) -> Union[Filterbank, HalfRate]:
    """The filterbank for audio at 16 kHz."""
    bank: Filterbank
    if config.filterbank == "stft":
        bank = STFTFilterbank(config.kernel, config.stride)
    else:
        bank = FreeFilterbank(config.num_filters, config.kernel, config.stride)
    return bank if config.sampling_rate == SAMPLING_RATE else HalfRate(bank)


def check(config: SeparationConfig) -> None:
    """One line for what cannot be."""
    if config.sampling_rate not in (SAMPLING_RATE, SAMPLING_RATE // 2):
        raise UmeError(f"separation.sampling_rate is {config.sampling_rate}; choose 8000 or 16000")
    frame = FRAME_SAMPLES * config.sampling_rate // SAMPLING_RATE
    if frame % config.stride:
        raise UmeError(f"separation.stride is {config.stride}; it must divide {frame} (20 ms)")
    if config.filterbank == "stft" and (config.kernel % 2 or config.kernel < 1.5 * config.stride):
        raise UmeError(
            f"separation.kernel is {config.kernel}; of the STFT it must be even, and 1.5 times "
            f"the stride ({config.stride}) at least"
        )
    choices = {"filterbank": ("stft", "free"), "mask": ("sigmoid", "relu", "softmax")}
    for name, allowed in choices.items():
        value = getattr(config, name)
        if value not in allowed:
            raise UmeError(f"separation.{name} is {value!r}; choose one of {', '.join(allowed)}")
