"""Permutation-invariant loss over several tasks at once."""

from dataclasses import dataclass
from typing import Collection, Dict, Mapping

import torch
from torch import Tensor

from ume.metrics.permutations import best_permutation


@dataclass
class TaskCost:
    """What one task charges: ``cost`` (B, S, S), rows are references; ``exists`` (B, S)."""

    cost: Tensor
    exists: Tensor

    def under(self, perm: Tensor) -> Tensor:
        """Mean over existing references when reference r is given estimate ``perm[b, r]``."""
        chosen = self.cost.gather(2, perm[..., None])[..., 0]  # (B, S)
        return (chosen * self.exists).sum() / self.exists.sum().clamp(min=1)


@dataclass
class JointLoss:
    """The total to minimise, each task's share before weighting, weights and permutations used."""

    total: Tensor
    tasks: Dict[str, Tensor]
    weights: Dict[str, float]
    permutations: Dict[str, Tensor]


def joint_loss(
    costs: Mapping[str, TaskCost],
    weights: Mapping[str, float],
    tied: bool,
    ordered: Collection[str] = (),
) -> JointLoss:
    """Weighted sum of the tasks' losses.

    With ``tied`` one permutation serves all tasks, the best of the weighted sum of the cost
    matrices, so that output k is one speaker in activity, voice and words. Otherwise each task
    takes its own best permutation, and the heads need aligning at inference. Tasks in ``ordered``
    already answer in the references' order: they keep it, and have no say in that of the others.
    """
    total: Tensor = torch.zeros(())
    losses: Dict[str, Tensor] = {}
    permutations: Dict[str, Tensor] = {}
    active = {task: cost for task, cost in costs.items() if weights[task] > 0}
    free = {
        task: weights[task] * _balanced(cost)
        for task, cost in active.items()
        if task not in ordered
    }
    if tied and free:
        shared, _ = best_permutation(torch.stack(list(free.values())).sum(dim=0))
    for task, cost in active.items():
        if task in ordered:
            perm = torch.arange(cost.cost.shape[1], device=cost.cost.device)
            perm = perm.expand(cost.cost.shape[:2])
        else:
            perm = shared if tied else best_permutation(free[task])[0]
        losses[task], permutations[task] = cost.under(perm), perm
        total = total + weights[task] * losses[task]
    return JointLoss(total, losses, {task: weights[task] for task in active}, permutations)


def _balanced(task: TaskCost) -> Tensor:
    """Costs with the rows of missing references at zero: they take whatever is left."""
    return task.cost * task.exists[..., None]
