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
    """Cosine distance up to which (on average) slots are one person's."""
    apart: float = 1.0
    """Distance added between two slots of one window if they always speak at once, which nobody
    does with himself; of it the share of the shorter one's speech in which both speak."""


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
    """``audio`` (B, T), ``audio_lens`` (B,) -> existence (B, K), activity (B, F, K), embeddings
    (B, K, E) and latents (B, K, F, D) of a batch of windows."""
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

    Live slots are clustered by their embeddings (average linkage); the ``most`` people who speak
    most stay. What is one person's in a window, be it of several slots, is then matched anew with
    the people's mean embeddings, at most one for one. ``count`` is the number of people, where it
    is known.
    """
    said = heard.activity.sum(axis=1)  # (W, K), frames
    live = (heard.existence > rule.existence) & (said >= 1)
    people = np.full(live.shape, -1)
    places = np.argwhere(live)  # (L, 2)
    if not len(places) or count == 0:
        return people
    vectors, weight = said[live][:, None] * heard.embeddings[live], said[live]  # (L, E), (L,)
    labels = cluster(heard, rule, places, count)
    spoken = np.bincount(labels, weights=weight)
    kept = np.argsort(-spoken, kind="stable")[: min(most, count or most)]
    centres = means(vectors, labels, kept)  # (G, E)
    for window in np.unique(places[:, 0]):
        here = places[:, 0] == window
        slots, own = places[here, 1], labels[here]
        found = np.unique(own)
        rows, columns = linear_sum_assignment(-means(vectors[here], own, found) @ centres.T)
        for label, person in zip(found[rows], columns):
            people[window, slots[own == label]] = person
    return renumbered(people, heard)


def means(vectors: np.ndarray, labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Mean directions (M, E) of ``vectors`` (L, E), by the ``wanted`` (M,) of ``labels`` (L,)."""
    sums = (labels == wanted[:, None]) @ vectors
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)


def cluster(heard: Heard, rule: Rule, places: np.ndarray, count: Optional[int]) -> np.ndarray:
    """Labels (L,) from 0 of the slots at ``places`` (L, 2): windows, slots."""
    if len(places) == 1:
        return np.zeros(1, dtype=int)
    windows, slots = places.T
    vectors = heard.embeddings[windows, slots]  # (L, E)
    apart = 1 - vectors @ vectors.T
    for window in np.unique(windows):
        here = np.flatnonzero(windows == window)
        apart[np.ix_(here, here)] += rule.apart * at_once(heard.activity[window][:, slots[here]])
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(np.clip(apart, 0, None), checks=False), "average")
    if count is not None:
        return fcluster(tree, count, "maxclust") - 1
    return fcluster(tree, rule.linking, "distance") - 1


def at_once(activity: np.ndarray) -> np.ndarray:
    """Share (S, S) of the shorter one's speech in which both speak, of ``activity`` (F, S)."""
    both = np.minimum(activity[:, :, None], activity[:, None]).sum(axis=0)
    said = activity.sum(axis=0)
    return both / np.minimum(said[:, None], said)


def renumbered(people: np.ndarray, heard: Heard) -> np.ndarray:
    """People numbered by who is heard first; -1 stays."""
    first: Dict[int, int] = {}
    for window, slot in np.argwhere(people >= 0):
        active = heard.activity[window, :, slot]
        onset = heard.starts[window] + int((active >= active.max() / 2).argmax())
        person = people[window, slot]
        first[person] = min(first.get(person, onset), onset)
    order = {person: k for k, person in enumerate(sorted(first, key=lambda p: (first[p], p)))}
    order[-1] = -1
    return np.vectorize(order.__getitem__, otypes=[int])(people)


def shares(activity: np.ndarray, people: np.ndarray) -> np.ndarray:
    """What share each slot has in its person, frame by frame (W, K, F): all, if it is the only one.

    ``activity`` (W, F, K) decides among several slots of ``people`` (W, K).
    """
    same = (people[:, :, None] == people[:, None]).astype(activity.dtype)  # (W, K, K)
    active = activity.transpose(0, 2, 1) + 1e-6
    return active / (same @ active)


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
    ``total`` is N. Slots of one window that are one person's are added. Where a person is missing
    from one of two windows, what the other says fades out; but if ``present``, only windows that
    have the person count.
    """
    made, covered = np.zeros(0), np.zeros(0)
    names = np.arange(people.max() + 1)
    for start, own, piece in zip(starts, people, pieces):
        length = min(piece.shape[1], total - start)
        weight = ramp(piece.shape[1])[:length].reshape(-1, *[1] * (piece.ndim - 2))
        if not made.size:
            made = np.zeros((len(names), total, *piece.shape[2:]), dtype=np.float32)
            covered = np.zeros((*made.shape[:2], *weight.shape[1:]), dtype=np.float32)
        member = own == names[:, None]  # (G, K)
        stretch = slice(start, start + length)
        for person in np.flatnonzero(member.any(axis=1)):
            made[person, stretch] += weight * piece[member[person], :length].sum(axis=0)
        covered[member.any(axis=1) if present else slice(None), stretch] += weight
    made /= np.maximum(covered, 1e-9)
    return made
