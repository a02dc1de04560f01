"""Brute force and assignment agree, and both find the least cost."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ume.metrics import permutations as module
from ume.metrics.permutations import best_permutation, permute

sizes = st.integers(min_value=1, max_value=5)
seeds = st.integers(min_value=0, max_value=2**31)


def random_cost(size: int, seed: int, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, size, size, generator=torch.Generator().manual_seed(seed))


@given(sizes, seeds)
def test_least_cost_of_all_permutations(size: int, seed: int) -> None:
    cost = random_cost(size, seed)
    perm, value = best_permutation(cost)
    totals = [
        sum(cost[:, row, column] for row, column in enumerate(columns))
        for columns in permutations(range(size))
    ]
    assert torch.allclose(value, torch.stack(totals).min(dim=0).values, atol=1e-5)
    assert torch.equal(perm.sort(dim=1).values, torch.arange(size).expand(3, size))


@given(st.integers(min_value=1, max_value=3), seeds)
def test_brute_force_is_assignment(size: int, seed: int) -> None:
    cost = random_cost(size, seed)
    assert torch.equal(module._brute_force(cost), module._assignment(cost))


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("what", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_passed_on(size: int, what: float) -> None:
    cost = random_cost(size, 0)
    cost[1] = what
    perm, value = best_permutation(cost)
    assert torch.equal(perm.sort(dim=1).values, torch.arange(size).expand(3, size))
    assert value.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_any_leading_shape(size: int) -> None:
    cost = random_cost(size, seed=1, batch=6).view(2, 3, size, size)
    perm, value = best_permutation(cost)
    flat_perm, flat_value = best_permutation(cost.view(6, size, size))
    assert torch.equal(perm.view(6, size), flat_perm) and torch.equal(value.view(6), flat_value)


@pytest.mark.parametrize("size", [3, 4])
def test_gradient_reaches_the_chosen_entries_alone(size: int) -> None:
    cost = random_cost(size, seed=2, batch=1).requires_grad_()
    perm, value = best_permutation(cost)
    value.sum().backward()
    assert torch.equal(cost.grad[0], torch.eye(size)[perm[0]])


def test_ties_take_the_first() -> None:
    assert best_permutation(torch.zeros(1, 3, 3))[0].tolist() == [[0, 1, 2]]


def test_not_square() -> None:
    with pytest.raises(ValueError, match=r"\(\.\.\., S, S\)"):
        best_permutation(torch.zeros(2, 3))


@given(st.permutations(range(4)), st.sampled_from([1, 2]))
def test_permute_reorders_speakers(order: list, dim: int) -> None:
    values = torch.randn(2, 4, 4)
    perm = torch.tensor([order, list(range(4))])
    moved = permute(values, perm, dim=dim)
    expected = values[0].index_select(dim - 1, perm[0])
    assert torch.equal(moved[0], expected) and torch.equal(moved[1], values[1])
