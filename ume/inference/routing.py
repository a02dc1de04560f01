"""Echo over a recording of any length: slots in windows, linked to people, stitched together.

Letters: W windows, K slots, F frames of a window, G people, N frames of the recording.
"""

from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from torch import Tensor

from ume.activity import FRAME_SAMPLES, FRAME_SHIFT, num_frames
from ume.models.echo import Echo
from ume.nn import lengths

TOGETHER = 8  # windows in a batch, whatever else there is: so results do not depend on it
ALONE = 25  # frames in which a voice must speak alone for its embedding to be of those only
APART = 2.0  # cosine distance added between two slots of one window: they are two people


@dataclass(frozen=True)
class Heard:
    """What Echo hears in the windows of a recording."""

    starts: np.ndarray  # (W,), first frames
    existence: np.ndarray  # (W, K), probabilities
    activity: np.ndarray  # (W, F, K), probabilities
    embeddings: np.ndarray  # (W, K, E), of length one
    latents: List[Tensor]  # (B, K, F, D) of each batch of windows; none where they are not kept
    num_samples: int  # of the recording


@dataclass(frozen=True)
class Rule:
    """How slots are taken for people; chosen on dev."""

    existence: float = 0.5
    """Probability above which a slot is somebody's."""
    linking: float = 0.5
    """Cosine distance up to which (on average) voices of windows are one person's."""


def window_starts(frames: int, window: int, hop: int) -> List[int]:
    """First frames of windows of ``window`` frames every ``hop``; the last one ends at the end.

    >>> window_starts(25, 10, 5), window_starts(8, 10, 5)
    ([0, 5, 10, 15], [0])
    """
    last = max(frames - window, 0)
    return [*range(0, last, hop), last]


@torch.no_grad()
def hear(echo: Echo, audio: np.ndarray, window: float, hop: float, whole: bool = True) -> Heard:
    """Echo on windows of ``window`` s of ``audio`` (T,), one every ``hop`` s.

    Latents are kept if ``whole``: at full size 0.8 MB a second.
    """
    size, step = round(window / FRAME_SHIFT), round(hop / FRAME_SHIFT)
    starts = np.array(window_starts(num_frames(len(audio)), size, step))
    parts, latents = [], []
    for clips, lens in batches(audio, starts, size):
        *small, slots = hear_batch(echo, clips, lens)
        parts.append(small)
        if whole:
            latents.append(slots)
    existence, activity, embeddings = (torch.cat(part).numpy() for part in zip(*parts))
    return Heard(starts, existence, activity, embeddings, latents, len(audio))


def batches(audio: np.ndarray, starts: np.ndarray, size: int) -> Iterator[Tuple[Tensor, Tensor]]:
    """Windows of ``size`` frames from ``starts`` (W,) on: audio (B, T) and its lengths (B,)."""
    length = min(size * FRAME_SAMPLES, len(audio))
    for first in range(0, len(starts), TOGETHER):
        pieces = [audio[start * FRAME_SAMPLES :][:length] for start in starts[first:][:TOGETHER]]
        clips = torch.zeros(len(pieces), length)
        for row, piece in zip(clips, pieces):
            row[: len(piece)] = torch.from_numpy(piece)
        yield clips, torch.tensor([len(piece) for piece in pieces])


def hear_batch(
    echo: Echo, audio: Tensor, audio_lens: Tensor
) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Existence, activity, embeddings and latents of a batch of windows."""
    latents, mask = echo.latents(audio, audio_lens)
    slots = echo.route(latents, mask)
    activity = slots.activity.sigmoid() * mask[..., None]  # (B, F, K)
    batch, count = slots.latents.shape[:2]
    weight = alone(activity).transpose(1, 2).flatten(0, 1)  # (B * K, F)
    mixed = latents.repeat_interleave(count, dim=0)  # (B * K, F, D)
    embeddings = echo.embed(mixed, weight).unflatten(0, (batch, count))
    return slots.existence.sigmoid(), activity, embeddings, slots.latents


@torch.no_grad()
def voices(echo: Echo, audio: np.ndarray, heard: Heard) -> Iterator[np.ndarray]:
    """The voices (K, T) of the slots of each window of ``audio``."""
    size = heard.activity.shape[1]
    for (clips, lens), latents in zip(batches(audio, heard.starts, size), heard.latents):
        mask = lengths.valid_frames(lengths.num_frames(lens, FRAME_SAMPLES), size)
        yield from echo.voices(clips, lens, latents, mask).numpy()


def alone(activity: Tensor) -> Tensor:
    """How sure it is that each voice speaks alone, (B, F, K) of probabilities ``activity``.

    Where it hardly ever does, how sure it is that it speaks.
    """
    silent = 1 - activity
    others = torch.stack(
        [silent[..., [j for j in range(activity.shape[2]) if j != k]].prod(dim=2)
         for k in range(activity.shape[2])], dim=2,
    )  # fmt: skip
    single = activity * others
    enough = single.sum(dim=1, keepdim=True) >= ALONE
    return torch.where(enough, single, activity)


def link(heard: Heard, rule: Rule, most: int, count: Optional[int] = None) -> np.ndarray:
    """The person (W, K) of each slot, from 0; -1 of slots that are nobody's.

    Live slots are clustered by their embeddings (average linkage, slots of one window kept
    apart); the ``most`` people who speak most stay. Then the slots of each window are matched anew
    with the people's mean embeddings, at most one slot for one. ``count`` is the number of people,
    where it is known.
    """
    said = heard.activity.sum(axis=1)  # (W, K), frames
    live = (heard.existence > rule.existence) & (said >= 1)
    people = np.full(live.shape, -1)
    places = np.argwhere(live)  # (L, 2)
    if not len(places):
        return people
    vectors, weight = heard.embeddings[live], said[live]  # (L, E), (L,)
    labels = cluster(vectors, places[:, 0], rule.linking, count)
    spoken = np.bincount(labels, weights=weight)
    kept = np.argsort(-spoken, kind="stable")[: min(most, count or most)]
    centres = np.stack([weight[labels == k] @ vectors[labels == k] for k in kept])  # (G, E)
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
    for window in np.unique(places[:, 0]):
        slots = places[places[:, 0] == window, 1]
        likeness = heard.embeddings[window, slots] @ centres.T
        rows, columns = linear_sum_assignment(-likeness)
        people[window, slots[rows]] = columns
    return renumbered(people, heard)


def cluster(
    vectors: np.ndarray, windows: np.ndarray, threshold: float, count: Optional[int]
) -> np.ndarray:
    """Labels (L,) from 0 of ``vectors`` (L, E) of ``windows`` (L,)."""
    if len(vectors) == 1:
        return np.zeros(1, dtype=int)
    apart = 1 - vectors @ vectors.T + APART * (windows[:, None] == windows)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(np.clip(apart, 0, None), checks=False), "average")
    if count is not None:
        return fcluster(tree, count, "maxclust") - 1
    return fcluster(tree, threshold, "distance") - 1


def renumbered(people: np.ndarray, heard: Heard) -> np.ndarray:
    """People numbered by who is heard first; -1 stays."""
    first: Dict[int, int] = {}
    for window, slot in np.argwhere(people >= 0):
        onset = heard.starts[window] + int(heard.activity[window, :, slot].argmax())
        person = people[window, slot]
        first[person] = min(first.get(person, onset), onset)
    order = {person: k for k, person in enumerate(sorted(first, key=lambda p: (first[p], p)))}
    order[-1] = -1
    return np.vectorize(order.__getitem__, otypes=[int])(people)


def ramp(length: int) -> np.ndarray:
    """Weights (length,) of a window's frames or samples: most in its middle, none zero."""
    rising = np.arange(1, length + 1, dtype=np.float64)
    return np.minimum(rising, rising[::-1])


def stitch(
    pieces: Iterable[np.ndarray],
    starts: np.ndarray,
    people: np.ndarray,
    total: int,
    present: bool = False,
) -> np.ndarray:
    """Of each person (G, N, ...) what the windows say, cross-faded; zero where they do not.

    ``pieces`` (K, F, ...) are the slots' of each window, ``starts`` (W,) in the unit of F,
    ``total`` is N. Where a person is missing from one of two windows, what the other says fades
    out; but if ``present``, only windows that have the person count.
    """
    made, covered = np.zeros(0), np.zeros(0)
    for start, own, piece in zip(starts, people, pieces):
        length = min(piece.shape[1], total - start)
        weight = ramp(piece.shape[1])[:length].reshape(-1, *[1] * (piece.ndim - 2))
        if not made.size:
            made = np.zeros((people.max() + 1, total, *piece.shape[2:]), dtype=np.float32)
            covered = np.zeros((*made.shape[:2], *weight.shape[1:]), dtype=np.float32)
        slots = np.flatnonzero(own >= 0)
        stretch = slice(start, start + length)
        made[own[slots], stretch] += weight * piece[slots, :length]
        covered[own[slots] if present else slice(None), stretch] += weight
    made /= np.maximum(covered, 1e-9)
    return made
