"""Null-target K-set separation: slots matched with sources, the rest with nobody."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ume.metrics.permutations import best_permutation


class SlotLoss(NamedTuple):
    """What slots cost, and who they are.

    latent: mean squared distance of the matched slots to their sources.
    null: the same of the other slots to the null target.
    existence: cross-entropy of whether a slot is somebody's, over ln 2.
    perm: (B, K), for each reference r (those that do not exist included) its slot.
    """

    latent: Tensor
    null: Tensor
    existence: Tensor
    perm: Tensor


def slot_loss(
    slots: Tensor,
    existence: Tensor,
    targets: Tensor,
    null: Tensor,
    exists: Tensor,
    mask: Tensor,
) -> SlotLoss:
    """Losses under the assignment of least squared distance.

    Args:
        slots: (B, K, F, D), estimates.
        existence: (B, K), logits.
        targets: (B, K, F, D), latents of the sources; what does not ``exist`` means nothing.
        null: (D,), the target of slots that are nobody's.
        exists: (B, K), whether there is such a source.
        mask: (B, F), true where the frame exists.
    """
    goal = torch.where(exists[..., None, None], targets, null)  # (B, K, F, D)
    weight = (mask / mask.sum(dim=1, keepdim=True)).to(slots.dtype)  # (B, F)
    apart = (goal[:, :, None] - slots[:, None]).square().mean(dim=-1)  # (B, K, K, F)
    cost = torch.einsum("brkf,bf->brk", apart, weight)  # rows are references
    perm, _ = best_permutation(cost)  # (B, K)
    chosen = cost.gather(2, perm[..., None])[..., 0]  # (B, K)
    logits = existence.gather(1, perm)
    return SlotLoss(
        (chosen * exists).sum() / exists.sum().clamp(min=1),
        (chosen * ~exists).sum() / (~exists).sum().clamp(min=1),
        binary_cross_entropy_with_logits(logits, exists.to(logits.dtype)) / 0.6931471805599453,
        perm,
    )
