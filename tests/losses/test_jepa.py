"""Masks, targets, the teacher and the signs of collapse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.losses.jepa import (
    collapse,
    draw_hidden,
    momentum_at,
    prediction_loss,
    redundancy,
    update_teacher,
)
from ume.nn.lengths import valid_frames
from ume.nn.norm import batch_norm, instance_norm


@settings(max_examples=60, deadline=None)
@given(lens=st.lists(st.integers(1, 200), min_size=1, max_size=5), seed=st.integers(0, 999))
def test_some_of_every_clip_is_hidden_and_some_is_not(lens, seed) -> None:
    torch.manual_seed(seed)
    lengths = torch.tensor(lens)
    hidden = draw_hidden(lengths)
    valid = valid_frames(lengths, max(lens))
    assert hidden.shape == valid.shape and not (hidden & ~valid).any()
    for row, length in zip(hidden, lens):
        share = row[:length].float().mean().item()
        assert 0 < share < 1 if length > 1 else share == 0
        if length >= 120:
            assert 0.25 < share < 0.75


def test_the_share_that_is_hidden_is_the_one_asked_for_and_in_blocks() -> None:
    torch.manual_seed(0)
    hidden = draw_hidden(torch.full((400,), 300), (0.4, 0.6), (10, 10))
    shares = hidden.float().mean(dim=1)
    assert shares.mean().item() == pytest.approx(0.5, abs=0.01)
    assert 0.35 < shares.min() and shares.max() < 0.65
    edges = (hidden[:, 1:] != hidden[:, :-1]).float().sum(dim=1).mean()
    assert edges.item() == pytest.approx(300 / 10 / 2, rel=0.1)  # half of the borders show


def test_targets_are_normalised_over_the_clip_alone() -> None:
    states, valid = torch.randn(2, 30, 4) * 3 + 1, valid_frames(torch.tensor([30, 11]), 30)
    normed = instance_norm(states, valid)
    assert not normed[1, 11:].any()
    torch.testing.assert_close(normed[1, :11].mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed[1, :11].std(dim=0, unbiased=False), torch.ones(4))
    torch.testing.assert_close(instance_norm(states[1:, :11], valid[1:, :11])[0], normed[1, :11])
    assert prediction_loss(torch.zeros_like(normed), normed, valid).item() == pytest.approx(
        1.0, abs=1e-3
    )
    assert prediction_loss(normed, normed, valid) == 0


def test_the_teacher_is_a_running_mean_that_ends_standing_still() -> None:
    teacher, student = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    before = teacher.weight.clone()
    update_teacher(teacher, student, 0.75)
    torch.testing.assert_close(teacher.weight, 0.75 * before + 0.25 * student.weight)
    momenta = [momentum_at(step / 50) for step in range(51)]
    assert momenta == sorted(momenta) and (momenta[0], momenta[-1]) == (0.996, 1.0)


def test_collapse_is_seen_in_every_sign() -> None:
    torch.manual_seed(0)
    lively = collapse(torch.randn(800, 16))
    assert lively["rank"] > 15 and lively["deviation"] == pytest.approx(1, abs=0.1)
    assert lively["uniformity"] < -3
    line = collapse(torch.randn(800, 1) * torch.randn(16) + 5)
    assert line["rank"] == pytest.approx(1, abs=0.01)
    point = collapse(torch.ones(800, 16) + 1e-6 * torch.randn(800, 16))
    assert point["deviation"] < 1e-5 and point["uniformity"] == pytest.approx(0, abs=1e-3)
    assert all(math.isfinite(value) for value in point.values())


def test_redundancy_is_nothing_of_noise_and_all_of_a_line() -> None:
    torch.manual_seed(0)
    noise = torch.randn(4000, 16)
    assert redundancy(noise) < 0.02
    line = torch.randn(4000, 1) * torch.randn(1, 16)
    assert redundancy(line) == pytest.approx(1.0, abs=1e-3)
    plane = torch.randn(4000, 4) @ torch.randn(4, 16)
    assert 0.3 < redundancy(plane) < 0.8
    torch.testing.assert_close(redundancy(3 * noise + 5), redundancy(noise), atol=1e-4, rtol=1e-3)


def test_over_a_batch_what_stays_the_same_in_a_clip_is_kept() -> None:
    torch.manual_seed(0)
    states = torch.randn(3, 9, 4) + 5 * torch.randn(3, 1, 4)
    valid = valid_frames(torch.tensor([9, 6, 9]), 9)
    over_batch, over_clip = batch_norm(states, valid), instance_norm(states, valid)
    flat = over_batch[valid]
    torch.testing.assert_close(flat.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.std(dim=0, unbiased=False), torch.ones(4), atol=1e-3, rtol=0)
    assert not over_batch[~valid].any()
    assert over_batch[0].mean(dim=0).abs().max() > 0.3 > over_clip[0].mean(dim=0).abs().max()
