"""Separated voices: SI-SDR on the whole signal and where speakers overlap, and other metrics."""

from typing import Dict, NamedTuple, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from ume.activity import SAMPLING_RATE
from ume.metrics.permutations import best_permutation, permute
from ume.metrics.results import Average
from ume.metrics.si_sdr import is_silent, pairwise_si_sdr, si_sdr
from ume.scoring.quality import score_quality

MIN_OVERLAP = 0.1  # seconds; an SI-SDR on fewer samples says nothing
ALL_OF_IT = 60.0  # dB; a source that the mixture is so near to has nothing to be separated from


class SeparationScore(NamedTuple):
    """Averages over the sources of one mixture, keyed by (metric, region), and the permutation."""

    averages: Dict[Tuple[str, str], Average]
    permutation: Tuple[int, ...]  # of each source, the index of its estimate


def score_separation(
    estimates: np.ndarray,
    sources: np.ndarray,
    mixture: np.ndarray,
    activity: np.ndarray,
    rate: int = SAMPLING_RATE,
    metrics: Sequence[str] = (),
) -> SeparationScore:
    """SI-SDR and SI-SDRi (over the mixture) in dB under the whole signal's best permutation.

    Args:
        estimates, sources: ``(S, T)``; ``mixture``: ``(T,)``.
        activity: ``(S, T)`` bool, who speaks at which sample by the reference.
        rate: Hz.
        metrics: of :data:`ume.scoring.quality.METRICS`; under the same permutation, ``whole`` only.

    Returns:
        ``whole`` counts all samples. ``overlap`` counts, for each source, the samples where it and
        at least one other speak; sources with less than ``MIN_OVERLAP`` of them are left out
        there. A silent source has no SI-SDR and is left out everywhere, and so is one that is all
        of the mixture. A source whose estimate is silent in a region, since nobody was found there,
        is given the mixture: it has an SI-SDRi of 0 dB.
    """
    voices, truth, mixed = map(_tensor, (estimates, sources, mixture))  # (S, T), (S, T), (T,)
    # A silent source has a row of NaN, the same for every estimate: whichever is left is its own.
    pairs = pairwise_si_sdr(voices[None], truth[None]).nan_to_num(0.0)  # (1, S, S)
    perm, _ = best_permutation(-pairs)  # (1, S)
    voices = permute(voices[None], perm)[0]  # (S, T)
    mixtures = mixed.expand_as(truth)  # (S, T)
    apart = si_sdr(mixtures, truth) < ALL_OF_IT  # (S,), false of silent sources

    active = torch.from_numpy(activity)
    overlapped = active & (active.sum(dim=0) >= 2)  # (S, T)
    enough = overlapped.sum(dim=1) >= MIN_OVERLAP * rate  # (S,)
    averages = {}
    for region, mask, counts in (("whole", None, True), ("overlap", overlapped, enough)):
        scored = apart & counts & ~is_silent(truth, mask)
        before = si_sdr(mixtures, truth, mask)
        after = torch.where(is_silent(voices, mask), before, si_sdr(voices, truth, mask))[scored]
        before = before[scored]
        averages["SI-SDR", region] = _average(after)
        averages["SI-SDRi", region] = _average(after - before)
    heard = apart.numpy()
    found = torch.where(is_silent(voices)[:, None], mixtures, voices).numpy()[heard]
    quality = score_quality(metrics, found, sources[heard], mixture, rate)
    averages.update({(name, "whole"): average for name, average in quality.items()})
    return SeparationScore(averages, tuple(perm[0].tolist()))


def with_nobody(count: int, signals: np.ndarray) -> np.ndarray:
    """``signals`` (S, T) with silence added up to ``count``: what is true of streams that nobody
    is left for.

    >>> with_nobody(3, np.ones((2, 4))).sum(axis=1).tolist()
    [4.0, 4.0, 0.0]
    """
    return np.pad(signals, ((0, count - len(signals)), (0, 0)))


def gate(mixture: np.ndarray, activity: np.ndarray) -> np.ndarray:
    """The gate-only control: the mixture wherever a source speaks, ``(T,), (S, T) -> (S, T)``."""
    return mixture[None] * activity


def labels_agree(permutation: Tuple[int, ...], activity: np.ndarray, found: np.ndarray) -> bool:
    """Whether the audio's permutation is also (one of) the best for the speech activity.

    Args:
        permutation: of each source, its estimate by SI-SDR.
        activity, found: ``(S, T)`` bool, reference and hypothesis.
    """
    together = _tensor(activity) @ _tensor(found).T  # (S, S) samples of both
    _, best = best_permutation(-together)
    by_audio = sum(together[source, k].item() for source, k in enumerate(permutation))
    return by_audio >= -best.item()


def _tensor(signal: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(signal, dtype=np.float64))


def _average(decibels: Tensor) -> Average:
    return Average(decibels.sum().item(), len(decibels))
