"""Short-time objective intelligibility, plain and extended, of several estimates at once.

Taal et al. 2011 and Jensen and Taal 2016, with the constants and the resampling of pystoi, whose
figures these are (up to the noise of 1e-16 that it adds to avoid a division by zero).
"""

from typing import Tuple

import numpy as np
import torch
from pystoi.stoi import BETA, DYN_RANGE, FS, N_FRAME, NFFT, OBM
from pystoi.stoi import N as SEGMENT
from pystoi.utils import EPS, resample_oct
from torch import Tensor
from torch.nn.functional import pad

HOP = N_FRAME // 2
RATE = FS  # Hz


def resample(signals: np.ndarray, rate: int) -> Tensor:
    """``(S, T)`` at ``rate`` Hz -> ``(S, T')`` at ``RATE``, double precision."""
    resampled = signals.T if rate == RATE else resample_oct(signals.T, RATE, rate)
    return torch.from_numpy(np.ascontiguousarray(resampled.T, dtype=np.float64))


def stoi(estimates: Tensor, reference: Tensor) -> Tuple[Tensor, Tensor]:
    """STOI and extended STOI, each ``(E,)``, of ``estimates (E, T)`` at ``RATE``.

    Frames in which ``reference (T,)`` is ``DYN_RANGE`` dB under its loudest are left out. NaN where
    less than 30 frames (384 ms) are left.
    """
    signals = torch.cat([reference[None], estimates])  # (1 + E, T)
    window = torch.hann_window(N_FRAME + 2, periodic=False, dtype=signals.dtype)[1:-1]
    frames = pad(signals[:, :-1], (0, max(0, N_FRAME + 1 - signals.shape[1])))
    frames = frames.unfold(1, N_FRAME, HOP) * window  # (1 + E, F, 256)
    level = 20 * torch.log10(frames[0].norm(dim=1) + EPS)
    frames = frames[:, level > level.max() - DYN_RANGE]  # (1 + E, F', 256)
    if frames.shape[1] <= SEGMENT:
        undefined = torch.full((len(estimates),), float("nan"), dtype=signals.dtype)
        return undefined, undefined
    halves = frames.unflatten(2, (2, HOP))  # (1 + E, F', 2, 128)
    # The frames that are left are overlapped and added, and the sum is cut into frames again.
    sums = halves[:, :, 0]  # (1 + E, F', 128)
    sums = torch.cat([sums[:, :1], sums[:, 1:] + halves[:, :-1, 1]], dim=1)
    joined = torch.cat([sums[:, :-1], sums[:, 1:]], dim=2)  # (1 + E, F' - 1, 256)
    power = torch.fft.rfft(joined * window, n=NFFT).abs().square()  # (1 + E, F' - 1, 257)
    bands = (power @ torch.from_numpy(OBM.T)).sqrt()  # (1 + E, F' - 1, 15)
    segments = bands.unfold(1, SEGMENT, 1)  # (1 + E, M, 15, 30)
    return _plain(segments[1:], segments[0]), _extended(segments[1:], segments[0])


def _plain(estimates: Tensor, reference: Tensor) -> Tensor:
    """Mean correlation of the bands' envelopes, levelled and clipped: (E, M, 15, 30) -> (E,)."""
    gain = reference.norm(dim=-1, keepdim=True) / (estimates.norm(dim=-1, keepdim=True) + EPS)
    clipped = torch.minimum(estimates * gain, reference * (1 + 10 ** (-BETA / 20)))
    together = _normalised(clipped, dim=-1) * _normalised(reference, dim=-1)
    return together.sum(dim=-1).mean(dim=(1, 2))


def _extended(estimates: Tensor, reference: Tensor) -> Tensor:
    """Mean correlation of spectra, after normalising each band: (E, M, 15, 30) -> (E,)."""
    first, second = (
        _normalised(_normalised(x, dim=-1), dim=-2) for x in (estimates, reference)
    )  # (E, M, 15, 30), (M, 15, 30)
    return (first * second).sum(dim=-2).mean(dim=(1, 2))


def _normalised(x: Tensor, dim: int) -> Tensor:
    x = x - x.mean(dim=dim, keepdim=True)
    return x / (x.norm(dim=dim, keepdim=True) + EPS)
