"""Measures of latents against brute force, and what chance gets."""

from itertools import permutations

import pytest
import torch
from torch.nn.functional import normalize

from ume.metrics.latents import chance_right, knn_right, latent_si_sdr, match_slots
from ume.metrics.si_sdr import si_sdr


@pytest.mark.parametrize(
    "sources, slots, chance", [(2, 2, 75), (3, 3, 67), (4, 4, 64), (2, 4, 86), (3, 4, 74.5)]
)
def test_chance_counts_the_slots_that_are_left_over(sources, slots, chance) -> None:
    torch.manual_seed(1)
    right = []
    for _ in range(1500):
        own, others = (normalize(torch.randn(n, 300), dim=1) for n in (sources, slots))
        cost = torch.cdist(own, others).square()  # (sources, slots)
        perm = min(permutations(range(slots), sources), key=lambda p: cost[range(sources), p].sum())
        right.append((cost[:, list(perm)].argmin(dim=0) == torch.arange(sources)).float().mean())
    assert 100 * torch.stack(right).mean().item() == pytest.approx(chance, abs=2)
    assert chance_right(sources, slots) == pytest.approx(chance, abs=1)


def test_the_match_is_the_best_and_spare_slots_are_nobodys() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        slots, sources = torch.randn(4, 3, 2), torch.randn(3, 3, 2)
        found = match_slots(slots, sources)

        def cost(order, slots=slots, sources=sources):
            return sum((slots[k] - s).square().sum().item() for k, s in zip(order, sources))

        best = min(permutations(range(4), 3), key=cost)
        assert cost(found.perm.tolist()) == pytest.approx(cost(best), rel=1e-5)
    sources = torch.randn(3, 5, 2)
    order = [2, 0, 3]
    slots = torch.randn(4, 5, 2)
    slots[order] = sources + 0.01 * torch.randn(3, 5, 2)
    found = match_slots(slots, sources)
    assert found.perm.tolist() == order and found.right.all()


def test_the_mean_that_all_latents_share_scores_nothing() -> None:
    torch.manual_seed(0)
    mean = 3 * torch.randn(8)
    source, other = (mean + torch.randn(50, 8) for _ in range(2))
    assert si_sdr(other.flatten(), source.flatten()) > 6  # for being a latent of the same corpus
    assert latent_si_sdr(other, source, mean) < -10
    noisy = source + 0.1 * torch.randn(50, 8)
    assert latent_si_sdr(noisy, source, mean).item() == pytest.approx(20, abs=1)
    both = latent_si_sdr(torch.stack([noisy, other]), torch.stack([source, source]), mean)
    assert both.shape == (2,)


def test_neighbours_vote_and_the_nearest_breaks_ties() -> None:
    known = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    classes = torch.tensor([7, 7, 3, 3])
    asked, truth = torch.tensor([[1.0, 0.2], [0.2, 1.0], [0.3, 1.0]]), torch.tensor([7, 3, 7])
    assert knn_right(known, classes, asked, truth, k=1).double().mean() == pytest.approx(2 / 3)
    assert knn_right(known, classes, asked, truth, k=4).double().mean() == pytest.approx(
        2 / 3
    )  # two against two
    assert (
        knn_right(known, torch.tensor([7, 5, 3, 3]), asked[:1], truth[:1], k=4).double().mean() == 0
    )  # outvoted
