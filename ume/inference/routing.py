"""Echo over a recording of any length: slots in windows, linked to people, stitched together.

Letters: W windows, K slots, F frames of a window, G people, N frames of the recording.
"""

from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from torch import Tensor

from ume.activity import FRAME_SAMPLES, FRAME_SHIFT, num_frames
from ume.models.echo import Echo

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
    latents: Tensor  # (W, K, F, D)
    voices: Optional[Tensor]  # (W, K, T)
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
def hear(
    echo: Echo, audio: np.ndarray, window: float, hop: float, with_voices: bool = True
) -> Heard:
    """Echo on windows of ``window`` s of ``audio`` (T,), one every ``hop`` s."""
    size, step = round(window / FRAME_SHIFT), round(hop / FRAME_SHIFT)
    starts = window_starts(num_frames(len(audio)), size, step)
    length = min(size * FRAME_SAMPLES, len(audio))
    room = np.zeros((len(starts), length), dtype=np.float32)
    lens = torch.zeros(len(starts), dtype=torch.int64)
    for row, start in enumerate(starts):
        piece = audio[start * FRAME_SAMPLES :][:length]
        room[row, : len(piece)] = piece
        lens[row] = len(piece)
    parts = [
        hear_batch(echo, clips, own, with_voices)
        for clips, own in zip(torch.from_numpy(room).split(TOGETHER), lens.split(TOGETHER))
    ]
    existence, activity, embeddings, latents, voices = zip(*parts)
    return Heard(
        np.array(starts),
        torch.cat(existence).numpy(),
        torch.cat(activity).numpy(),
        torch.cat(embeddings).numpy(),
        torch.cat(latents),
        torch.cat(voices) if with_voices else None,
        len(audio),
    )


def hear_batch(
    echo: Echo, audio: Tensor, audio_lens: Tensor, with_voices: bool
) -> Tuple[Tensor, Tensor, Tensor, Tensor, Optional[Tensor]]:
    """Existence, activity, embeddings, latents and voices of a batch of windows."""
    latents, mask = echo.latents(audio, audio_lens)
    slots = echo.route(latents, mask)
    activity = slots.activity.sigmoid() * mask[..., None]  # (B, F, K)
    batch, count = slots.latents.shape[:2]
    weight = alone(activity).transpose(1, 2).flatten(0, 1)  # (B * K, F)
    embeddings = echo.embed(slots.latents.flatten(0, 1), weight).unflatten(0, (batch, count))
    voices = echo.voices(audio, audio_lens, slots.latents, mask) if with_voices else None
    return slots.existence.sigmoid(), activity, embeddings, slots.latents, voices


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


def stitch(pieces: np.ndarray, starts: np.ndarray, people: np.ndarray, total: int) -> np.ndarray:
    """Of each person (G, N, ...) what the windows say, cross-faded; zero where they do not.

    ``pieces`` (W, K, F, ...) are the slots', ``starts`` (W,) in the unit of F, ``total`` is N.
    """
    length = pieces.shape[2]
    weight = ramp(length).reshape(-1, *[1] * (pieces.ndim - 3))
    made = np.zeros((max(int(people.max()) + 1, 0), total, *pieces.shape[3:]), dtype=np.float32)
    covered = np.zeros((total, *weight.shape[1:]))
    for window, start in enumerate(starts):
        stop = min(start + length, total)
        covered[start:stop] += weight[: stop - start]
        for slot in np.flatnonzero(people[window] >= 0):
            piece = pieces[window, slot, : stop - start]
            made[people[window, slot], start:stop] += weight[: stop - start] * piece
    return (made / np.maximum(covered, 1e-9)).astype(np.float32)
