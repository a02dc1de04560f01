"""Slots against brute force, whoever does not exist, and one batch learned by heart."""

import math
from itertools import permutations
from typing import Sequence

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from ume.losses.slots import slot_loss
from ume.nn.lengths import valid_frames
from ume.nn.slots import Slots, SlotSeparator


@settings(max_examples=25, deadline=None)
@given(present=st.integers(0, 4), seed=st.integers(0, 99))
def test_the_assignment_is_the_best_of_all(present: int, seed: int) -> None:
    torch.manual_seed(seed)
    slots = Slots(torch.randn(1, 4, 6, 3), torch.randn(1, 4), torch.randn(1, 6, 4))
    targets, null = torch.randn(1, 4, 6, 3), torch.randn(3)
    exists, mask = torch.arange(4)[None] < present, valid_frames(torch.tensor([5]), 6)
    activity = (torch.rand(1, 6, 4) < 0.5) * exists[:, None].float()
    loss = slot_loss(slots, targets, activity, null, exists, mask)
    goals = [targets[0, r] if r < present else null.expand(6, 3) for r in range(4)]
    scale = torch.ones(())
    if present:
        scale = targets[0, :present, :5].flatten(0, 1).var(dim=0, unbiased=False).mean()

    def costs(order: Sequence[int]) -> Tensor:  # (3, 4): distance, existence, activity
        latents, existence = slots.latents[0, order], slots.existence[0, order]
        return torch.stack([
            torch.stack([(g - x)[:5].square().mean() for g, x in zip(goals, latents)]) / scale,
            cross_entropy(existence, exists[0].float(), reduction="none") / math.log(2),
            cross_entropy(
                slots.activity[0, :5, order], activity[0, :5], reduction="none"
            ).mean(dim=0) / math.log(2),
        ])  # fmt: skip

    best = min(permutations(range(4)), key=lambda order: costs(list(order)).sum().item())
    distance, existence, speaks = found = costs(loss.perm[0].tolist())
    torch.testing.assert_close(found.sum(), costs(list(best)).sum())
    torch.testing.assert_close(loss.latent, distance[:present].sum() / max(present, 1))
    torch.testing.assert_close(loss.null, distance[present:].sum() / max(4 - present, 1))
    torch.testing.assert_close(loss.existence, existence.mean())
    torch.testing.assert_close(loss.activity, speaks.mean())


def test_who_speaks_when_tells_slots_apart_whose_latents_are_alike() -> None:
    targets, latents = torch.randn(1, 2, 6, 3), torch.zeros(1, 2, 6, 3)
    activity = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1]])[None]
    exists, mask = torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 6, dtype=torch.bool)
    for order in ([0, 1], [1, 0]):
        slots = Slots(latents, torch.zeros(1, 2), 4 * activity[:, :, order] - 2)
        loss = slot_loss(slots, targets, activity, torch.zeros(3), exists, mask)
        assert loss.perm[0].tolist() == order and loss.activity < 0.2


def test_one_batch_is_learned_by_heart_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    net = SlotSeparator(8, 3, 32, 1)
    targets = torch.randn(4, 3, 10, 8)
    exists = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]]).bool()
    mask = valid_frames(torch.tensor([10, 10, 10, 6]), 10)
    mixture = (targets * exists[..., None, None]).sum(dim=1)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    spoken = (torch.rand(4, 10, 3) < 0.5) * exists[:, None].float()
    for _ in range(150):
        loss = slot_loss(net(mixture, mask), targets, spoken, net.null, exists, mask)
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
