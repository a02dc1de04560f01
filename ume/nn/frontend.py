"""Log-mel features of a batch of clips, as Whisper and as ESPnet compute them."""

import math
from typing import Optional, Tuple

import torch
from torch import Tensor, nn

from ume.activity import SAMPLING_RATE
from ume.nn.lengths import num_frames, valid_frames

HOP = 160  # samples, 10 ms
WINDOW = 400  # samples, 25 ms
FLOOR = 1e-10


def mel_filters(num_mels: int, n_fft: int) -> Tensor:
    """Triangular filters (num_mels, n_fft // 2 + 1) from 0 to 8 kHz: Slaney's scale and area norm.

    The same as ``librosa.filters.mel(sr=16000)``: linear below 1 kHz (200/3 Hz per mel),
    logarithmic above (27 mels per factor 6.4), each triangle of area 1.
    """
    linear_top, mels_at_top, mels_per_log = 1000.0, 15.0, 27.0 / math.log(6.4)
    highest = mels_at_top + mels_per_log * math.log(SAMPLING_RATE / 2 / linear_top)
    mels = torch.linspace(0.0, highest, num_mels + 2, dtype=torch.float64)
    logarithmic = linear_top * torch.exp((mels - mels_at_top) / mels_per_log)
    edges = torch.where(mels < mels_at_top, mels * linear_top / mels_at_top, logarithmic)  # Hz
    bins = torch.linspace(0.0, SAMPLING_RATE / 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0.0)
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).to(torch.get_default_dtype())


class MelSpectrogram(nn.Module):
    """Power mel spectrogram, one frame per 10 ms, that does not depend on a batch's padding.

    Frame ``i`` is centred on sample ``160 i``. Before a clip lies its mirror image, as in Whisper
    and ESPnet. After it lie zeros, as Whisper sees them in a clip padded to 30 s, and a clip of T
    samples has ceil(T / 160) frames; or, with ``mirror_end``, its mirror image, as in ESPnet, and
    it has T // 160 + 1 frames.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, num_mels: int, n_fft: int, mirror_end: bool = False) -> None:
        super().__init__()
        self.n_fft, self.mirror_end = n_fft, mirror_end
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filters", mel_filters(num_mels, n_fft), persistent=False)

    def forward(self, audio: Tensor, audio_lens: Tensor) -> Tuple[Tensor, Tensor]:
        """``audio`` (B, T), ``audio_lens`` (B,) -> power (B, F, num_mels), frames (B,)."""
        half = self.n_fft // 2
        audio = audio * valid_frames(audio_lens, audio.shape[1])
        audio = nn.functional.pad(audio, (0, self.n_fft))
        mirrored = audio[:, 1 : half + 1].flip(1)
        lens = num_frames(audio_lens, HOP)
        if self.mirror_end:
            after = torch.arange(half, device=audio.device)
            last = audio_lens[:, None] - 1
            audio = audio.scatter(
                1, last + 1 + after, audio.gather(1, (last - 1 - after).clamp(min=0))
            )
            lens = torch.div(audio_lens, HOP, rounding_mode="floor") + 1
        spectrum = torch.stft(
            torch.cat([mirrored, audio], dim=1),
            self.n_fft,
            hop_length=HOP,
            win_length=WINDOW,
            window=self.window,
            center=False,
            return_complex=True,
        )  # (B, bins, F')
        spectrum = spectrum[:, :, : int(lens.max())]
        power = spectrum.real.square() + spectrum.imag.square()
        return power.transpose(1, 2) @ self.filters.T, lens  # (B, F, num_mels)


class WhisperLogMel(nn.Module):
    """Whisper's input: log10 mel power, at most 80 dB below the clip's loudest point, scaled."""

    def __init__(self, num_mels: int = 80) -> None:
        super().__init__()
        self.mel = MelSpectrogram(num_mels, n_fft=400)

    @torch.no_grad()
    def forward(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor]:
        """``audio`` (B, T), ``audio_lens`` (B,) -> features (B, F, 80), zero after the clip.

        The loudest point is that of ``like`` (B, T), if given.
        """
        power, lens = self.mel(audio, audio_lens)
        valid = valid_frames(lens, power.shape[1]).unsqueeze(2)
        log = power.clamp(min=FLOOR).log10()
        level = log if like is None else self.mel(like, audio_lens)[0].clamp(min=FLOOR).log10()
        loudest = level.masked_fill(~valid, math.log10(FLOOR)).amax(dim=(1, 2), keepdim=True)
        log = torch.maximum(log, loudest - 8.0)
        return ((log + 4.0) / 4.0) * valid, lens


class LogMel(nn.Module):
    """ESPnet's input: natural log of the mel power, normalised per bin.

    ``normalise`` is "utterance" (mean and deviation of each bin over the clip's own frames),
    "global" (the buffers ``mean`` and ``std``, which come with pretrained weights), or "clip" (one
    mean and deviation for all bins: the level goes, the voice's spectrum stays; not ESPnet's).
    ``mirror_end`` is :class:`MelSpectrogram`'s: ESPnet's way to end a clip.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, num_mels: int = 80, normalise: str = "utterance", mirror_end: bool = True
    ) -> None:
        super().__init__()
        assert normalise in ("utterance", "global", "clip"), normalise
        self.mel = MelSpectrogram(num_mels, n_fft=512, mirror_end=mirror_end)
        self.normalise = normalise
        if normalise == "global":
            self.register_buffer("mean", torch.zeros(num_mels))
            self.register_buffer("std", torch.ones(num_mels))

    @torch.no_grad()
    def forward(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor]:
        """``audio`` (B, T), ``audio_lens`` (B,) -> features (B, F, bins), zero after the clip.

        Mean and deviation are those of ``like`` (B, T), if given, as long as ``audio``.
        """
        power, lens = self.mel(audio, audio_lens)
        valid = valid_frames(lens, power.shape[1]).unsqueeze(2)
        log = power.clamp(min=FLOOR).log()
        if self.normalise == "global":
            return (log - self.mean) / self.std * valid, lens
        level = log if like is None else self.mel(like, audio_lens)[0].clamp(min=FLOOR).log()
        over = (1,) if self.normalise == "utterance" else (1, 2)
        number = lens.clamp(min=1).view(-1, 1, 1) * (1 if len(over) == 1 else log.shape[2])
        mean = (level * valid).sum(dim=over, keepdim=True) / number
        variance = ((level - mean) * valid).square().sum(dim=over, keepdim=True) / number
        return (log - mean) * valid / (variance + 1e-5).sqrt(), lens
