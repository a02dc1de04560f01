"""A filterbank at 8 kHz for audio that is kept at 16 kHz, as corpora of telephone bandwidth are."""

from typing import Tuple

import torch
from torch import Tensor, nn

from ume.nn.filterbank import Filterbank

HALF_WIDTH = 20  # taps on each side, and Kaiser's 5.0: scipy.signal.resample_poly's own filter


class HalfRate(nn.Module):
    """Halves the rate, hands over to ``inner``, and doubles the rate of what comes back.

    It has :class:`Filterbank`'s interface; its ``stride`` is in samples of 16 kHz. Nothing above
    4 kHz passes. The filter rings beyond a clip's end; what rings there counts both ways, as it
    does where padding follows the clip.
    """

    taps: Tensor

    def __init__(self, inner: Filterbank) -> None:
        from scipy.signal import firwin  # half a second to import, and seldom needed

        super().__init__()
        self.inner = inner
        self.num_features, self.num_masks = inner.num_features, inner.num_masks
        self.stride = 2 * inner.stride
        taps = firwin(2 * HALF_WIDTH + 1, 0.5, window=("kaiser", 5.0))
        self.register_buffer("taps", torch.from_numpy(taps).float(), persistent=False)

    def down(self, audio: Tensor) -> Tensor:
        """(N, T) -> (N, ceil(T / 2)), every other sample of the filtered audio."""
        odd = audio.shape[1] % 2  # the window of the last sample that is kept ends here
        padded = nn.functional.pad(audio, (HALF_WIDTH, HALF_WIDTH - 1 + odd))
        return padded.unfold(1, len(self.taps), 2) @ self.taps.to(audio.dtype)

    def up(self, audio: Tensor, num_samples: int) -> Tensor:
        """(N, ceil(T / 2) or more) -> (N, T): zeros between the samples, filtered away."""
        taps = 2 * self.taps.to(audio.dtype)
        reach = HALF_WIDTH // 2
        even = nn.functional.pad(audio, (reach, reach)).unfold(1, 2 * reach + 1, 1) @ taps[::2]
        between = nn.functional.pad(audio, (reach - 1, reach)).unfold(1, 2 * reach, 1) @ taps[1::2]
        return torch.stack([even, between], dim=2).flatten(1)[:, :num_samples]

    def encode(self, audio: Tensor) -> Tuple[Tensor, Tensor]:
        """See :class:`Filterbank`."""
        frames = -(-audio.shape[1] // self.stride)
        spectrum, features = self.inner.encode(self.down(ringing(audio)))
        return spectrum[:, :frames], features[:, :frames]

    def strength(self, audio: Tensor) -> Tensor:
        """See :class:`Filterbank`."""
        frames = -(-audio.shape[1] // self.stride)
        return self.inner.strength(self.down(ringing(audio)))[:, :frames]

    def decode(self, spectrum: Tensor, masks: Tensor, num_samples: int) -> Tensor:
        """See :class:`Filterbank`."""
        half = -(-num_samples // 2) + HALF_WIDTH // 2
        sources = self.inner.decode(spectrum, masks, half)  # (B, S, T / 2 and more)
        return self.up(sources.flatten(0, 1), num_samples).unflatten(0, sources.shape[:2])


def ringing(audio: Tensor) -> Tensor:
    """``audio`` (N, T) with room for what the filter makes of its end."""
    return nn.functional.pad(audio, (0, HALF_WIDTH))
