"""Scale-invariant signal-to-distortion ratio.

Le Roux et al. 2019, "SDR - half-baked or well done?":
SI-SDR = 10 log10(|a s|^2 / |a s - e|^2) with a = <e, s> / |s|^2, on zero-mean signals.
"""

from typing import Optional

import torch
from torch import Tensor

EPS = 1e-8  # of the estimate's energy: bounds the ratio to +/- 80 dB
TINY = 1e-20  # energy far under any real signal's: a silent estimate divides by it, not by 0
SILENCE = 1e-12  # mean power (-120 dB) under which a reference counts as silent


def si_sdr(estimate: Tensor, reference: Tensor, mask: Optional[Tensor] = None) -> Tensor:
    """SI-SDR in dB of ``estimate (..., T)`` against ``reference (..., T)``.

    Args:
        mask: ``(..., T)``, 0/1 or bool; only samples where it is set count, for padding or for
            overlapped speech; they alone are made zero-mean.

    Returns:
        ``(...)`` in dB within [-80, 80], for a silent estimate -80. A **silent reference**
        (none but its mean) has no SI-SDR: NaN, for the caller to leave out by
        :func:`is_silent`. Single precision is right up to some 40 dB: score in double.

    >>> e, s = torch.tensor([1.0, 1.0, -1.0, -1.0]), torch.tensor([2.0, 0.0, 0.0, -2.0])
    >>> round(si_sdr(e, s).item(), 4)
    0.0
    """
    estimate, reference = _zero_mean(estimate, mask), _zero_mean(reference, mask)
    dot = (estimate * reference).sum(dim=-1)
    decibels = _ratio(dot, _energy(estimate), _energy(reference))
    return decibels.masked_fill(_silent(reference), float("nan"))


def pairwise_si_sdr(estimates: Tensor, references: Tensor, mask: Optional[Tensor] = None) -> Tensor:
    """SI-SDR in dB of every pair: ``(B, S, T)`` twice -> ``(B, S, S)``.

    Entry ``[b, r, e]`` is estimate ``e`` against reference ``r``; ``mask (B, T)`` as in
    :func:`si_sdr`. The row of a silent reference is NaN.
    """
    mask = None if mask is None else mask.unsqueeze(1)  # (B, 1, T)
    estimates, references = _zero_mean(estimates, mask), _zero_mean(references, mask)  # (B, S, T)
    dot = references @ estimates.transpose(1, 2)  # (B, S, S)
    decibels = _ratio(dot, _energy(estimates).unsqueeze(1), _energy(references).unsqueeze(2))
    return decibels.masked_fill(_silent(references).unsqueeze(2), float("nan"))


def is_silent(reference: Tensor, mask: Optional[Tensor] = None) -> Tensor:
    """Which of ``reference (..., T)`` have no SI-SDR: ``(...)`` bool."""
    return _silent(_zero_mean(reference, mask))


def _zero_mean(signal: Tensor, mask: Optional[Tensor]) -> Tensor:
    if mask is None:
        return signal - signal.mean(dim=-1, keepdim=True)
    weight = mask.to(signal.dtype)
    mean = (signal * weight).sum(dim=-1, keepdim=True) / weight.sum(dim=-1, keepdim=True).clamp(1)
    return (signal - mean) * weight


def _energy(signal: Tensor) -> Tensor:
    return signal.square().sum(dim=-1)


def _silent(zero_mean: Tensor) -> Tensor:
    return _energy(zero_mean) <= SILENCE * zero_mean.shape[-1]


def _ratio(dot: Tensor, estimate: Tensor, reference: Tensor) -> Tensor:
    """From inner product and energies: |a s|^2 = dot^2 / |s|^2, |a s - e|^2 = |e|^2 - |a s|^2."""
    projected = dot.square() / (reference + TINY)
    residual = (estimate - projected).clamp(min=0)
    floor = EPS * estimate
    return 10 * torch.log10((projected + floor + EPS * TINY) / (residual + floor + TINY))
