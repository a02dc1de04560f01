"""What the latents of windows of mixtures tell, as they are: who speaks, and whether several do."""

from typing import Iterable, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from ume.activity import FRAME_SHIFT
from ume.dataset.batch import MixtureBatch
from ume.models.echo import Echo
from ume.scoring.probes import Measure, pooled

PIECE = round(0.5 / FRAME_SHIFT)  # frames of a piece of a window
RIDGE = 1e-2  # of the linear layer, over the variance of its inputs

Pairs = List[Tuple[float, int, str]]  # in the right order, all, speakers


class Windows:
    """What is kept of windows: whether one or several speak in a frame, and pieces of one voice.

    Pairs are of one window only, so that nothing but the voices in it sets them apart. ``layer``
    (D + 1,) is :func:`fit_overlap`'s; ``centre`` (D,) is the mean of latents.
    """

    def __init__(self, echo: Echo, layer: Tensor, centre: Tensor) -> None:
        self.echo, self.layer, self.centre = echo, layer, centre
        self.overlaps: Pairs = []
        self.pieces: Pairs = []

    def add(self, batch: MixtureBatch) -> None:
        """Hear a batch of windows."""
        latents, mask = self.echo.latents(batch.audio, batch.audio_lens)
        for own, there, active, speakers in zip(latents, mask, batch.activity, batch.speakers):
            own, active = own[there], active[there] > 0  # (F, D), (F, K)
            names = "+".join(sorted(filter(None, speakers)))
            together = active.sum(dim=1)
            scores = own @ self.layer[:-1] + self.layer[-1]
            self.overlaps.append((*in_order(scores[together > 1], scores[together == 1]), names))
            alike, same = piece_pairs(own - self.centre, active)
            self.pieces.append((*in_order(alike[same], alike[~same]), names))


def in_order(high: Tensor, low: Tensor) -> Tuple[float, int]:
    """Of all pairs of one of ``high`` (N,) and one of ``low`` (M,), how many are in this order.

    Ties count a half. The second number is that of all pairs; their quotient is the AUC.
    """
    over = torch.sign(high[:, None] - low).double()
    return float((over.sum() + over.numel()) / 2), over.numel()


def piece_pairs(latents: Tensor, active: Tensor) -> Tuple[Tensor, Tensor]:
    """Cosines (P,) of the means of all pairs of pieces, and (P,) whether they are one speaker's.

    ``latents`` (F, D) are cut into pieces of half a second; those count in which one speaker, by
    ``active`` (F, K), speaks alone all the time.
    """
    number = len(latents) // PIECE
    if not number:
        return latents.new_zeros(0), torch.zeros(0, dtype=torch.bool)
    cut = active[: number * PIECE].unflatten(0, (number, PIECE))  # (N, P, K)
    means = latents[: number * PIECE].unflatten(0, (number, PIECE)).mean(dim=1)
    alone = (cut.all(dim=1).sum(dim=1) == 1) & (cut.any(dim=1).sum(dim=1) == 1)
    who = cut.any(dim=1)[alone].int().argmax(dim=1)
    means = torch.nn.functional.normalize(means[alone], dim=1)
    first, second = torch.triu_indices(len(who), len(who), 1)
    return (means[first] * means[second]).sum(dim=1), who[first] == who[second]


def fit_overlap(echo: Echo, batches: Iterable[MixtureBatch]) -> Tensor:
    """A linear layer (D + 1,), the offset last, whose value is high where several speak.

    Least squares, with a ridge, over the frames of ``batches`` in which anybody speaks.
    """
    inputs, outputs = [], []
    for batch in batches:
        latents, mask = echo.latents(batch.audio, batch.audio_lens)
        together = (batch.activity > 0).sum(dim=2)
        spoken = mask & (together > 0)
        inputs.append(latents[spoken].double())
        outputs.append((together[spoken] > 1).double())
    x, y = torch.cat(inputs), torch.cat(outputs)  # (N, D), (N,)
    centre, shift = x.mean(dim=0), y.mean()
    x = x - centre
    covariance = x.T @ x / len(x)
    covariance.diagonal().add_(RIDGE * covariance.diagonal().mean())
    weight = torch.linalg.solve(covariance, x.T @ (y - shift) / len(x))
    return torch.cat([weight, (shift - centre @ weight)[None]]).float()


def window_measures(seeds: Sequence[Windows], window: float) -> List[Measure]:
    """What the seeds have found, together."""
    where = f"windows of {window:g} s of mixtures, each about a moment of most overlap; pairs of"
    found = [
        measure(
            "overlap probe", [seed.overlaps for seed in seeds],
            f"{where} frames of a window, several speaking in one and one speaking in the other, "
            "in the right order by a linear layer fitted to windows of part train",
        ),
        measure(
            "speaker probe, pieces", [seed.pieces for seed in seeds],
            f"{where} pairs of pieces of {PIECE * FRAME_SHIFT:g} s of a window, each of one who "
            "speaks alone, one pair of one speaker and one of two, in the right order by the "
            "cosine of their mean latents",
        ),
    ]  # fmt: skip
    return [each for each in found if each is not None]


def measure(name: str, seeds: Sequence[Pairs], protocol: str) -> Optional[Measure]:
    """A share of pairs in the right order, if there are any."""
    told = [[row for row in rows if row[1]] for rows in seeds]
    people = {n for rows in told for row in rows for n in row[2].split("+")}
    columns = [zip(*rows) for rows in told if rows]
    if not columns:
        return None
    return pooled(
        name, [(100.0 * np.array(top), of, names) for top, of, names in columns], "%", protocol,
        chance=50.0, num_speakers=len(people),
    )  # fmt: skip
