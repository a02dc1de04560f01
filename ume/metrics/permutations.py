"""The best assignment of estimates to references, for whole batches."""

from functools import lru_cache
from itertools import permutations
from typing import Tuple

import torch
from torch import Tensor

MAX_BRUTE_FORCE = 3  # speakers; 3! = 6 sums on the device beat a round trip to scipy


def best_permutation(cost: Tensor) -> Tuple[Tensor, Tensor]:
    """The permutation of least total cost of each matrix in a batch.

    Args:
        cost: ``(..., S, S)``; ``cost[..., r, e]`` is the price of giving estimate ``e`` to
            reference ``r``. Negate a score to maximise it. If it is not finite, any permutation
            may come out.

    Returns:
        ``perm (..., S)`` int64, where ``perm[..., r]`` is the estimate given to reference ``r``,
        and ``value (...)``, the total cost (differentiable with respect to ``cost``).
        Of equal permutations the lexicographically first wins up to three speakers.

    >>> perm, value = best_permutation(torch.tensor([[3.0, 1.0], [1.0, 4.0]]))
    >>> perm.tolist(), value.item()
    ([1, 0], 2.0)
    """
    if cost.ndim < 2 or cost.shape[-1] != cost.shape[-2]:
        raise ValueError(f"cost must be (..., S, S), not {tuple(cost.shape)}")
    find = _brute_force if cost.shape[-1] <= MAX_BRUTE_FORCE else _assignment
    perm = find(cost.detach())  # (..., S)
    value = cost.gather(-1, perm.unsqueeze(-1)).squeeze(-1).sum(dim=-1)  # (...)
    return perm, value


def permute(values: Tensor, perm: Tensor, dim: int = 1) -> Tensor:
    """Reorder the speakers (``dim``) of ``values (B, ...)`` by ``perm (B, S)``.

    >>> permute(torch.tensor([[10, 20]]), torch.tensor([[1, 0]])).tolist()
    [[20, 10]]
    """
    shape = [1] * values.ndim
    shape[0], shape[dim] = perm.shape
    index = perm.view(shape).expand(
        [size if axis != dim else perm.shape[1] for axis, size in enumerate(values.shape)]
    )
    return values.gather(dim, index)


@lru_cache(maxsize=None)
def _all_permutations(size: int) -> Tensor:
    return torch.tensor(list(permutations(range(size))), dtype=torch.int64).view(-1, size)


def _brute_force(cost: Tensor) -> Tensor:
    size = cost.shape[-1]
    perms = _all_permutations(size).to(cost.device)  # (S!, S)
    totals = cost[..., torch.arange(size, device=cost.device), perms].sum(dim=-1)  # (..., S!)
    return perms[totals.argmin(dim=-1)]


def _assignment(cost: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment  # slow to import, and seldom needed

    size = cost.shape[-1]
    # what is not finite has no best permutation, but scipy would end the run
    matrices = cost.reshape(-1, size, size).nan_to_num(0.0, 1e30, -1e30).cpu().numpy()
    perms = [linear_sum_assignment(matrix)[1].tolist() for matrix in matrices]
    return torch.tensor(perms, dtype=torch.int64, device=cost.device).view(cost.shape[:-1])
