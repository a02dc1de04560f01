"""Probes of latents: what a vote of the nearest tells, with its interval, chance and counts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from ume.metrics.latents import knn_right
from ume.scoring.bootstrap import RESAMPLES, SEED, Numbers, interval, percentiles

Seed = Tuple[Numbers, Numbers, Sequence[str]]  # numerators, denominators, groups


class Drawn(NamedTuple):
    """What is asked for, and by what: the draw of one evaluation seed."""

    known: Tensor  # (N, D)
    labels: Sequence[str]  # of what is known
    asked: Tensor  # (M, D)
    truth: Sequence[str]
    speakers: Sequence[str]  # of what is asked for


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
    sums: Dict[str, Tuple[float, float]] = field(default_factory=dict)
    """Numerator and denominator of each group, for paired differences of models."""


def pooled(
    name: str,
    seeds: Sequence[Seed],
    unit: str,
    protocol: str,
    **more: object,
) -> Measure:
    """The rate of all evaluation seeds together, and its interval.

    Each seed gives numerators, denominators and groups (speakers). The interval is a bootstrap over
    the groups (``ume.scoring.bootstrap``): a group is drawn with what all seeds have of it.
    """
    sums: Dict[str, Tuple[float, float]] = {}
    for seed in seeds:
        for top, bottom, group in zip(*seed):
            before = sums.get(group, (0.0, 0.0))
            sums[group] = (before[0] + float(top), before[1] + float(bottom))
    tops, bottoms = np.array(list(sums.values())).T
    low, high = interval(tops, bottoms, list(sums)) or (None, None)
    value, count = float(tops.sum() / bottoms.sum()), round(bottoms.sum() / len(seeds))
    measure = Measure(name, value, unit, protocol, low, high, count=count, sums=sums)
    for key, extra in more.items():
        setattr(measure, key, extra)
    return measure


def top_1(drawn: Drawn) -> np.ndarray:
    """100 where the 5 nearest by cosine tell the class, else 0: (M,).

    The mean of what is known is taken away first.
    """
    numbers = {label: k for k, label in enumerate(sorted({*drawn.labels, *drawn.truth}))}
    classes, truth = (
        torch.tensor([numbers[label] for label in labels]) for labels in (drawn.labels, drawn.truth)
    )
    centre = drawn.known.mean(dim=0)
    right = knn_right(drawn.known - centre, classes, drawn.asked - centre, truth)
    return 100.0 * right.double().numpy()


def knn_probe(
    name: str, drawn: Sequence[Drawn], right: Sequence[np.ndarray], protocol: str
) -> Measure:
    """The rate of what :func:`top_1` found in each seed's draw."""
    shares = [100.0 * Counter(d.truth).most_common(1)[0][1] / len(d.truth) for d in drawn]
    return pooled(
        name, [(r, np.ones(len(r)), d.speakers) for d, r in zip(drawn, right)], "%", protocol,
        chance=float(np.mean(shares)), num_classes=len({label for d in drawn for label in d.truth}),
        num_speakers=len({speaker for d in drawn for speaker in d.speakers}),
    )  # fmt: skip


def equal_error_rate(
    scores: np.ndarray, same: np.ndarray, weights: Optional[np.ndarray] = None
) -> float:
    """EER (%) of ``scores`` (N,) of pairs, of which ``same`` (N,) are of one speaker.

    A pair counts ``weights`` (N,) times, once by default.

    >>> equal_error_rate(np.array([3.0, 2.0, 1.0, 0.0]), np.array([1, 0, 1, 0], dtype=bool))
    50.0
    """
    order = np.argsort(-scores, kind="stable")
    weights = (np.ones(len(scores)) if weights is None else weights)[order]
    hits, others = weights * same[order], weights * ~same[order]
    missed = 1 - np.cumsum(hits) / hits.sum()
    alarms = np.cumsum(others) / others.sum()
    place = int(np.argmin(np.abs(missed - alarms)))
    return float(50 * (missed[place] + alarms[place]))


def error_bounds(seeds: Sequence[np.ndarray]) -> Optional[Tuple[float, float]]:
    """The 95 % interval of the mean over seeds of the EER (%).

    Each of ``seeds`` (S, S) has the scores of the same speakers, those of one on the diagonal. A
    bootstrap over speakers; one who is drawn twice is not asked to differ from himself.
    """
    size = len(seeds[0])
    orders = [np.argsort(-scores.ravel(), kind="stable") for scores in seeds]  # once for all
    same = np.eye(size, dtype=bool).ravel()
    drawn = np.random.default_rng([SEED, size]).integers(size, size=(RESAMPLES, size))
    found = []
    for own in drawn:
        times = np.bincount(own, minlength=size).astype(float)
        pairs = np.outer(times, times)
        np.fill_diagonal(pairs, times)
        if np.count_nonzero(times) > 1:
            found.append(np.mean([
                equal_error_rate(scores.ravel()[order], same[order], pairs.ravel()[order])
                for scores, order in zip(seeds, orders)
            ]))  # fmt: skip
    return percentiles(np.array(found))


def draw_halves(
    groups: Sequence[str], sessions: Sequence[str], rng: np.random.Generator
) -> Tuple[List[int], List[int]]:
    """Items of every group of two and more in two halves, known and asked, by chance.

    Whole ``sessions`` are drawn of a group that has several.

    >>> rng = np.random.default_rng(0)
    >>> draw_halves(["a", "b", "a"], ["1", "1", "1"], rng)[0] in ([0], [2])
    True
    >>> sorted(draw_halves(["a", "a", "a"], ["1", "2", "1"], rng)) == [[0, 2], [1]]
    True
    """
    units: Dict[str, Dict[str, List[int]]] = {}  # group -> session -> items
    for k, (group, session) in enumerate(zip(groups, sessions)):
        units.setdefault(group, {}).setdefault(session, []).append(k)
    known: List[int] = []
    asked: List[int] = []
    for group in sorted(units):
        several = list(units[group].values())
        own = several if len(several) > 1 else [[k] for k in several[0]]
        if len(own) > 1:
            order = rng.permutation(len(own)).tolist()
            known += [k for unit in order[: len(own) // 2] for k in own[unit]]
            asked += [k for unit in order[len(own) // 2 :] for k in own[unit]]
    return known, asked
