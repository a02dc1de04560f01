"""Masked latent prediction (JEPA): what is hidden, what should be guessed, and whether it is still
worth guessing.

A student sees a clip without some blocks of time; a predictor guesses, from what it makes of the
rest, the teacher's states of the blocks. The teacher is the student's running mean (Assran et al.
2023, arXiv 2301.08243; on audio Fei et al. 2023, arXiv 2311.15830).
"""

import math
from typing import Dict, Tuple

import torch
from torch import Tensor, nn

from ume.nn.lengths import valid_frames


def draw_hidden(
    lens: Tensor,
    share: Tuple[float, float] = (0.4, 0.6),
    block: Tuple[int, int] = (5, 20),
) -> Tensor:
    """Which frames are hidden (B, F), in blocks of time.

    Each clip of ``lens`` (B,) frames is cut into blocks of one length, drawn from ``block``, at a
    random phase; a share of the blocks, drawn from ``share``, is hidden, at least one, and at
    least one is not. A clip of one frame hides nothing.
    """
    device, batch = lens.device, len(lens)
    length = torch.randint(block[0], block[1] + 1, (batch, 1), device=device)
    length = torch.minimum(length, torch.div(lens[:, None] + 1, 2, rounding_mode="floor"))
    phase = (torch.rand(batch, 1, device=device) * length).long()
    frames = torch.arange(int(lens.max()), device=device)
    number = torch.div(frames + phase, length, rounding_mode="floor")  # (B, F), block of a frame
    last = torch.div(lens[:, None] - 1 + phase, length, rounding_mode="floor")  # (B, 1)
    wanted = share[0] + (share[1] - share[0]) * torch.rand(batch, 1, device=device)
    hidden = torch.minimum((wanted * (last + 1)).round().clamp(min=1), last)  # (B, 1), of blocks
    order = torch.rand(batch, int(last.max()) + 1, device=device)
    exists = torch.arange(order.shape[1], device=device) <= last
    rank = order.masked_fill(~exists, math.inf).argsort(dim=1).argsort(dim=1)
    chosen = rank < hidden  # (B, blocks)
    return chosen.gather(1, torch.minimum(number, last)) & valid_frames(lens, len(frames))


def prediction_loss(guesses: Tensor, targets: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error on ``hidden`` (B, F) frames of normalised ``targets`` (B, F, D).

    One is what guessing nothing costs.
    """
    return (guesses - targets)[hidden].square().mean()


def redundancy(states: Tensor) -> Tensor:
    """How few dimensions ``states`` (N, D) use: 0 where none correlate, 1 on a line.

    ``ln(D / P) / ln D`` with the participation ratio ``P = D^2 / sum C_ij^2``, C the correlations.
    It is VICReg's covariance term (Bardes et al. 2022) without its scale; beside JEPA: Mo and Tong
    2024 (arXiv 2410.19560).
    """
    width = states.shape[1]
    normed = (states - states.mean(dim=0)) / (states.std(dim=0) + 1e-5)
    correlations = normed.T @ normed / (len(states) - 1)  # (D, D)
    return (correlations.square().sum() / width).log() / math.log(width)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move ``teacher`` towards ``student``: teacher <- m * teacher + (1 - m) * student."""
    for old, new in zip(teacher.parameters(), student.parameters()):
        old.lerp_(new.to(old.dtype), 1 - momentum)


def momentum_at(progress: float, first: float = 0.996) -> float:
    """The teacher's momentum: from ``first`` to 1 by a cosine over the training.

    >>> momentum_at(0.0), momentum_at(1.0)
    (0.996, 1.0)
    """
    return 1 - (1 - first) * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def collapse(states: Tensor, most: int = 1024) -> Dict[str, float]:
    """Signs that ``states`` (N, D) tell nothing apart any more.

    deviation: mean over the dimensions of the standard deviation; 0 when collapsed.
    rank: effective number of dimensions, exp of the entropy of the normalised singular values of
        the centred states (Roy and Vetterli 2007); 1 when collapsed to a line.
    uniformity: log of the mean of exp(-2 d^2) over pairs of states on the unit sphere (Wang and
        Isola 2020); 0 when collapsed, about -4 when uniform.
    """
    chosen = states[:: max(1, len(states) // most)][:most].float()
    centred = chosen - chosen.mean(dim=0)
    singular = torch.linalg.svdvals(centred)
    shares = singular / singular.sum().clamp(min=1e-12)
    entropy = -(shares * shares.clamp(min=1e-12).log()).sum()
    unit = nn.functional.normalize(chosen, dim=1)
    apart = torch.pdist(unit).square()
    return {
        "deviation": float(chosen.std(dim=0).mean()),
        "rank": float(entropy.exp()),
        "uniformity": float(torch.logsumexp(-2 * apart, dim=0) - math.log(len(apart))),
    }
