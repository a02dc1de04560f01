"""Null-target K-set separation: slots matched with sources, the rest with nobody."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ume.losses.costs import LN2, diarization_cost
from ume.metrics.permutations import best_permutation
from ume.nn.slots import Slots


class SlotLoss(NamedTuple):
    """What slots cost, and who they are.

    latent: mean squared distance of the matched slots to their sources, over these' variance.
    null: the same of the other slots to the null target.
    existence: cross-entropy of whether a slot is somebody's, over ln 2.
    activity: cross-entropy of whether its voice speaks in a frame, over ln 2.
    perm: (B, K), for each reference r (those that do not exist included) its slot.
    """

    latent: Tensor
    null: Tensor
    existence: Tensor
    activity: Tensor
    perm: Tensor


def slot_loss(
    slots: Slots, targets: Tensor, activity: Tensor, null: Tensor, exists: Tensor, mask: Tensor
) -> SlotLoss:
    """Losses under the assignment for which distance, existence and activity cost least together.

    Latents alone would not do: before much is learned all slots' are alike, and who is who is
    drawn anew in each update.

    Args:
        slots: estimates.
        targets: (B, K, F, D), latents of the sources; what does not ``exist`` means nothing.
        activity: (B, F, K), 1 where a source speaks, else 0.
        null: (D,), the target of slots that are nobody's.
        exists: (B, K), whether there is such a source.
        mask: (B, F), true where the frame exists.
    """
    goal = torch.where(exists[..., None, None], targets, null)  # (B, K, F, D)
    weight = (mask / mask.sum(dim=1, keepdim=True)).to(targets.dtype)  # (B, F)
    distance = squared_distance(goal, slots.latents.float(), weight)  # rows are references
    distance = distance / variance(targets[exists], mask.repeat_interleave(exists.sum(dim=1), 0))
    there = exists.to(targets.dtype)
    existence = binary_cross_entropy_with_logits(
        slots.existence.float()[:, None].expand_as(distance),
        there[..., None].expand_as(distance),
        reduction="none",
    ) / LN2  # fmt: skip
    speaks = diarization_cost(slots.activity.float(), activity, mask)
    perm, _ = best_permutation(distance + existence + speaks)  # (B, K)
    far, who, when = (c.gather(2, perm[..., None])[..., 0] for c in (distance, existence, speaks))
    return SlotLoss(
        (far * exists).sum() / exists.sum().clamp(min=1),
        (far * ~exists).sum() / (~exists).sum().clamp(min=1),
        who.mean(),
        when.mean(),
        perm,
    )


def squared_distance(goal: Tensor, found: Tensor, weight: Tensor) -> Tensor:
    """Mean squared distance (B, R, K) of ``goal`` (B, R, F, D) from ``found`` (B, K, F, D).

    Frames count by ``weight`` (B, F), whose sum is 1. By products, for pairs of all frames and
    dimensions are many.
    """
    weight = weight[:, None, :, None] / goal.shape[3]
    heavy = goal * weight
    own = (heavy * goal).sum(dim=(2, 3))[:, :, None]
    others = (found.square() * weight).sum(dim=(2, 3))[:, None]
    return own + others - 2 * heavy.flatten(2) @ found.flatten(2).transpose(1, 2)


def variance(states: Tensor, mask: Tensor) -> Tensor:
    """Mean variance of ``states`` (N, F, D) over the frames of ``mask`` (N, F); of none 1."""
    if not len(states):
        return states.new_ones(())
    return states[mask].var(dim=0, unbiased=False).mean().clamp(min=1e-5)
