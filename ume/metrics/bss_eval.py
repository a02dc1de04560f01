"""BSSEval's SDR, SIR and SAR: how much of an estimate a filtered source, or all of them, explain.

Vincent, Gribonval and Févotte 2006 (version 3: time-invariant filters of 512 taps), computed from
coherences as Scheibler 2022, "SDR - medium rare with fast computations".
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ume.metrics.si_sdr import EPS, SILENCE, TINY

TAPS = 512  # of the filters that a source may have gone through
BLOCK = 8192  # samples of an FFT
LOAD = 1e-10  # of a source's power: keeps sources without a band (MP3, low-passed) solvable


class BSSEval(NamedTuple):
    """Decibels of every pair, each ``(..., S, E)``, within [-80, 80]."""

    sdr: Tensor
    sir: Tensor
    sar: Tensor


def bss_eval(estimates: Tensor, references: Tensor) -> BSSEval:
    """SDR, SIR and SAR in dB of ``estimates (..., E, T)`` against ``references (..., S, T)``.

    Entry ``[..., r, e]`` takes reference ``r`` for the target of estimate ``e`` and the others for
    interference. Double precision is wanted. Zeros after a signal's end change nothing, so that
    signals of several lengths make a batch. A silent estimate has -80 dB; a **silent reference**
    explains nothing of the others' estimates, and its own row is NaN.
    """
    estimates, references = _unit(estimates), _unit(references)
    silent = references.square().sum(dim=-1) == 0  # (..., S)
    lags = _correlations(references, torch.cat([references, estimates], dim=-2))
    sources = references.shape[-2]
    auto, cross = lags[..., :sources, :], lags[..., sources:, TAPS:]
    cross = cross.transpose(-1, -2)  # (..., S, L, E)
    grams = _toeplitz(auto) + torch.diag_embed(LOAD + silent.to(auto.dtype))[..., None, None] * (
        torch.eye(TAPS, dtype=auto.dtype, device=auto.device)
    )  # (..., S, S, L, L)
    own = _explained(grams.diagonal(dim1=-4, dim2=-3).movedim(-1, -3), cross)  # (..., S, E)
    size = sources * TAPS
    whole = grams.transpose(-3, -2).reshape(*grams.shape[:-4], size, size)
    every = _explained(whole, cross.flatten(-3, -2)).unsqueeze(-2).expand_as(own)  # (..., S, E)
    figures = [_decibels(own), _decibels(own / every.clamp(min=EPS)), _decibels(every)]
    return BSSEval(*(f.masked_fill(silent.unsqueeze(-1), float("nan")) for f in figures))


def _unit(signals: Tensor) -> Tensor:
    """Scaled to an energy of one; silence to zero."""
    energy = signals.square().sum(dim=-1, keepdim=True)
    heard = energy > SILENCE * signals.shape[-1]
    return signals * (heard / energy.clamp(min=TINY).sqrt())


def _correlations(first: Tensor, second: Tensor) -> Tensor:
    """``sum_t first[t] second[t + lag]`` of all pairs, lags -L to L - 1: (..., A, T), (..., B, T).

    Returns ``(..., A, B, 2L)``. The sum over blocks is taken of their spectra, so that long signals
    need short FFTs only, and one inverse.
    """
    step = BLOCK - 2 * TAPS
    blocks = -(-first.shape[-1] // step)
    rest = blocks * step - first.shape[-1]
    x = pad(first, (0, rest)).unfold(-1, step, step)  # (..., A, K, step)
    y = pad(second, (TAPS, TAPS + rest)).unfold(-1, BLOCK, step)  # (..., B, K, BLOCK)
    spectra = torch.fft.rfft(x, n=BLOCK).movedim(-1, -3).conj()  # (..., F, A, K)
    product = spectra @ torch.fft.rfft(y).movedim(-1, -3).transpose(-1, -2)  # (..., F, A, B)
    return torch.fft.irfft(product.movedim(-3, -1), n=BLOCK)[..., : 2 * TAPS]


def _toeplitz(lags: Tensor) -> Tensor:
    """Gram matrices of delayed signals: (..., 2L) -> (..., L, L), ``[a, b]`` is lag ``a - b``."""
    windows = lags[..., 1:].unfold(-1, TAPS, 1)  # (..., L, L), [a, b] is lag a + b - L + 1
    return windows.flip(-1)


def _explained(gram: Tensor, cross: Tensor) -> Tensor:
    """Energy of the projections: (..., L, L), (..., L, E) -> (..., E), of estimates of energy 1.

    By LU: torch 1.13's Cholesky takes twice as long.
    """
    return (cross * torch.linalg.solve(gram, cross)).sum(dim=-2)


def _decibels(share: Tensor) -> Tensor:
    return 10 * torch.log10(share.clamp(min=EPS) / (1 - share).clamp(min=EPS))
