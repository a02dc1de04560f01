"""Probes of latents: what a vote of the nearest tells, with its interval, chance and counts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from ume.metrics.latents import knn_right
from ume.scoring.bootstrap import Numbers, interval

Seed = Tuple[Numbers, Numbers, Sequence[str]]  # numerators, denominators, groups


@dataclass
class Measure:
    """One figure of a model."""

    name: str
    value: float
    unit: str
    protocol: str
    low: Optional[float] = None
    """Of the 95 % interval, where there is one."""
    high: Optional[float] = None
    chance: Optional[float] = None
    """What chance, or the trivial answer named in the protocol, gives."""
    rows: Dict[str, float] = field(default_factory=dict)
    """Trivial rows beside it."""
    num_speakers: int = 0
    num_classes: int = 0
    count: int = 0
    """What the figure is a mean of."""


def pooled(
    name: str,
    seeds: Sequence[Seed],
    unit: str,
    protocol: str,
    **more: object,
) -> Measure:
    """A rate over evaluation seeds: the mean of the seeds' rates, and of their intervals' ends.

    Each seed gives numerators, denominators and groups (speakers); an interval is a bootstrap over
    the groups (``ume.scoring.bootstrap``).
    """
    rates = [float(np.sum(top) / np.sum(bottom)) for top, bottom, _ in seeds]
    ends = [interval(*seed) for seed in seeds]
    found = [end for end in ends if end is not None]
    low, high = np.mean(found, axis=0).tolist() if len(found) == len(ends) else (None, None)
    count = round(float(np.mean([np.sum(bottom) for _, bottom, _ in seeds])))
    measure = Measure(name, float(np.mean(rates)), unit, protocol, low, high, count=count)
    for key, value in more.items():
        setattr(measure, key, value)
    return measure


def knn_probe(
    name: str,
    drawn: Sequence[Tuple[Tensor, Sequence[str], Tensor, Sequence[str], Sequence[str]]],
    protocol: str,
) -> Measure:
    """Top-1 (%) of 5 nearest neighbours by cosine, after the mean of what is known was taken away.

    Each seed gives known vectors (N, D) and their classes, asked vectors (M, D), their classes and
    their speakers.
    """
    seeds: List[Seed] = []
    shares, classes, speakers = [], set(), set()
    for known, labels, asked, truth, whose in drawn:
        numbers = {label: k for k, label in enumerate(sorted({*labels, *truth}))}
        first, second = (torch.tensor([numbers[one] for one in own]) for own in (labels, truth))
        centre = known.mean(dim=0)
        right = knn_right(known - centre, first, asked - centre, second)
        seeds.append((100.0 * right.double().numpy(), np.ones(len(asked)), whose))
        shares.append(100.0 * Counter(truth).most_common(1)[0][1] / len(truth))
        classes |= set(truth)
        speakers |= set(whose)
    return pooled(
        name, seeds, "%", protocol, chance=float(np.mean(shares)), num_classes=len(classes),
        num_speakers=len(speakers),
    )  # fmt: skip


def equal_error_rate(scores: np.ndarray, same: np.ndarray) -> float:
    """EER (%) of ``scores`` (N,) of pairs, of which ``same`` (N,) are of one speaker.

    >>> equal_error_rate(np.array([3.0, 2.0, 1.0, 0.0]), np.array([1, 0, 1, 0], dtype=bool))
    50.0
    """
    order = np.argsort(-scores, kind="stable")
    hit = same[order]
    missed = 1 - np.cumsum(hit) / hit.sum()
    alarms = np.cumsum(~hit) / (~hit).sum()
    place = int(np.argmin(np.abs(missed - alarms)))
    return float(50 * (missed[place] + alarms[place]))


def draw_halves(groups: Sequence[str], rng: np.random.Generator) -> Tuple[List[int], List[int]]:
    """Items of every group of two and more in two halves, known and asked, by chance.

    >>> draw_halves(["a", "b", "a"], np.random.default_rng(0))[0] in ([0], [2])
    True
    """
    known: List[int] = []
    asked: List[int] = []
    for group in sorted(set(groups)):
        own = rng.permutation([k for k, name in enumerate(groups) if name == group]).tolist()
        if len(own) > 1:
            known += own[: len(own) // 2]
            asked += own[len(own) // 2 :]
    return known, asked
