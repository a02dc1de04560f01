"""Slots against brute force, whoever does not exist, and one batch learned by heart."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.losses.slots import slot_loss
from ume.nn.lengths import valid_frames
from ume.nn.slots import SlotSeparator


@settings(max_examples=25, deadline=None)
@given(present=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_assignment_is_the_best_of_all(present: int, seed: int) -> None:
    torch.manual_seed(seed)
    slots, targets = torch.randn(1, 4, 6, 3), torch.randn(1, 4, 6, 3)
    null, logits = torch.randn(3), torch.randn(1, 4)
    exists, mask = torch.arange(4)[None] < present, valid_frames(torch.tensor([5]), 6)
    loss = slot_loss(slots, logits, targets, null, exists, mask)
    goals = [targets[0, r] if r < present else null.expand(6, 3) for r in range(4)]

    def cost(order):
        pairs = zip(goals, order)
        return [(goal - slots[0, k])[:5].square().mean().item() for goal, k in pairs]

    best = min(permutations(range(4)), key=lambda order: sum(cost(order)))
    assert sum(cost(loss.perm[0].tolist())) == pytest.approx(sum(cost(best)), rel=1e-5)
    costs = cost(loss.perm[0].tolist())
    assert loss.latent.item() == pytest.approx(sum(costs[:present]) / present, rel=1e-5)
    if present < 4:
        rest = costs[present:]
        assert loss.null.item() == pytest.approx(sum(rest) / len(rest), rel=1e-5)
    live = set(loss.perm[0, :present].tolist())
    sure = torch.tensor([[30.0 if k in live else -30.0 for k in range(4)]])
    assert slot_loss(slots, sure, targets, null, exists, mask).existence < 1e-6


def test_one_batch_is_learned_by_heart_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    net = SlotSeparator(8, 3, 32, 1)
    targets = torch.randn(4, 3, 10, 8)
    exists = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]]).bool()
    mask = valid_frames(torch.tensor([10, 10, 10, 6]), 10)
    mixture = (targets * exists[..., None, None]).sum(dim=1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(150):
        loss = slot_loss(*net(mixture, mask)[:2], targets, net.null, exists, mask)
        optimizer.zero_grad()
        (loss.latent + loss.null + loss.existence).backward()
        optimizer.step()
    assert loss.latent < 0.4 and loss.existence < 0.05  # a slot that knows nothing costs one
    slots, existence, activity = net(mixture, mask)
    assert ((existence > 0).sum(dim=1) == exists.sum(dim=1)).all()
    alone, logits, speaks = net(mixture[3:, :6], mask[3:, :6])
    torch.testing.assert_close(speaks[0], activity[3, :6], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone[0], slots[3, :, :6], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits[0], existence[3], atol=1e-5, rtol=1e-4)
