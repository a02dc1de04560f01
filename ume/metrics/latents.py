"""Measures of latents: separated in a latent space, and what a subspace knows.

Definitions are ours (docs/echo.md): the paper (arXiv 2606.01909) names these measures and does not
define them.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ume.metrics.permutations import best_permutation
from ume.metrics.si_sdr import si_sdr

CHUNK = 1024  # vectors asked for at once
DRAWS = 2000  # of random slots


class Matched(NamedTuple):
    """Slots matched with the sources of a mixture.

    perm: (S,), for each source its slot.
    right: (S,), whether a source's slot is nearer to it than to any other source.
    """

    perm: Tensor
    right: Tensor


def match_slots(slots: Tensor, sources: Tensor) -> Matched:
    """Match ``slots`` (K, F, D) with ``sources`` (S, F, D), S <= K, by least squared distance.

    PIT separation accuracy is the mean of ``right``; of random slots :func:`chance_right`.
    """
    flat = slots.flatten(1), sources.flatten(1)
    cost = torch.cdist(flat[1], flat[0]).square()  # (S, K)
    spare = len(slots) - len(sources)
    square = torch.cat([cost, cost.new_zeros(spare, len(slots))])  # (K, K)
    perm = best_permutation(square)[0][: len(sources)]  # (S,)
    nearest = cost[:, perm].argmin(dim=0)  # (S,), of each chosen slot the source
    return Matched(perm, nearest == torch.arange(len(sources), device=cost.device))


@lru_cache(maxsize=None)
def chance_right(num_sources: int, num_slots: int) -> float:
    """PIT separation accuracy (%) of random slots, simulated in a space of many dimensions.

    The best permutation is theirs, and where slots are left over, the best of them: 2 sources get
    75 % with 2 slots and 86 with 4.
    """
    rng = torch.Generator().manual_seed(0)
    drawn = torch.randn(DRAWS, num_slots + num_sources, 1, 300, generator=rng)
    latents = normalize(drawn, dim=-1).split([num_slots, num_sources], dim=1)
    right = torch.stack([match_slots(*pair).right for pair in zip(*latents)])
    return 100.0 * right.double().mean().item()


def latent_si_sdr(estimates: Tensor, sources: Tensor, mean: Tensor) -> Tensor:
    """SI-SDR (..., dB) of latents (..., F, D), frames and dimensions as one signal.

    ``mean`` (D,), that of the corpus, is taken away from both first: it is common to all latents,
    and alone would score several dB.
    """
    first, second = ((each - mean).flatten(-2) for each in (estimates, sources))
    return si_sdr(first, second)


def knn_right(known: Tensor, classes: Tensor, asked: Tensor, truth: Tensor, k: int = 5) -> Tensor:
    """Whether the ``k`` nearest of ``known`` (N, D) tell the classes of ``asked`` (M, D): (M,).

    By cosine; of classes (N,) that come equally often among the nearest, the one of the nearest
    counts. ``truth`` (M,) are the right classes.
    """
    known = normalize(known, dim=1).T
    told = [vote(part @ known, classes, k) for part in normalize(asked, dim=1).split(CHUNK)]
    return torch.cat(told) == truth


def vote(alike: Tensor, classes: Tensor, k: int) -> Tensor:
    """The class (M,) that most of the ``k`` nearest have; ``alike`` (M, N), ``classes`` (N,)."""
    near = alike.topk(min(k, len(classes)), dim=1)
    votes = classes[near.indices]  # (M, k), nearest first
    count = (votes[:, :, None] == votes[:, None]).sum(dim=2).to(near.values.dtype)
    first = torch.arange(votes.shape[1], 0, -1, device=votes.device) / (2 * votes.shape[1])
    return votes.gather(1, (count + first).argmax(dim=1, keepdim=True))[:, 0]
