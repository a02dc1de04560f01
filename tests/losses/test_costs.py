"""Task costs against torch, brute force and the pairwise definition."""

import math
from functools import partial
from itertools import permutations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, ctc_loss
from torchmetrics.functional.audio import (
    permutation_invariant_training,
    scale_invariant_signal_distortion_ratio,
)

from ume.losses.costs import (
    SI_SDR_CEILING,
    ctc_cost,
    diarization_cost,
    distillation_cost,
    separation_cost,
)
from ume.losses.joint import TaskCost, joint_loss
from ume.metrics.si_sdr import si_sdr
from ume.nn.lengths import valid_frames


def test_diarization_cost_is_torchs_bce_of_each_pair_on_existing_frames():
    logits = torch.randn(2, 9, 3, dtype=torch.double)
    activity = (torch.rand(2, 9, 3) > 0.5).double()
    lens = torch.tensor([9, 5])
    cost = diarization_cost(logits, activity, valid_frames(lens, 9))
    for b, r, e in [(0, 0, 0), (0, 2, 1), (1, 1, 2), (1, 0, 1)]:
        n = int(lens[b])
        expected = binary_cross_entropy_with_logits(logits[b, :n, e], activity[b, :n, r])
        assert cost[b, r, e].item() == pytest.approx(expected.item() / math.log(2))


def test_not_knowing_costs_one():
    cost = diarization_cost(torch.zeros(1, 50, 2), torch.ones(1, 50, 2), torch.ones(1, 50).bool())
    torch.testing.assert_close(cost, torch.ones(1, 2, 2))
    uniform = torch.full((1, 1, 40, 7), 1 / 7).log()
    cost, _ = ctc_cost(uniform, torch.tensor([40]), [[[1, 2, 3]]])
    paths = math.comb(40 + 3, 2 * 3)  # alignments of 3 distinct tokens to 40 frames
    expected = (40 * math.log(7) - math.log(paths)) / (3 * math.log(7))
    assert cost.item() == pytest.approx(expected, rel=1e-4)


def test_distillation_costs_nothing_where_equal_and_one_for_the_mean_of_frames_that_exist():
    targets = torch.randn(2, 2, 9, 4, dtype=torch.double) * 3 + 5
    lens = torch.tensor([9, 5])
    mask, exists = valid_frames(lens, 9), torch.tensor([[True, True], [True, False]])
    streams = targets.flip(1).clone()
    streams[1, :, 5:] = 99.0  # frames that do not exist
    cost, exist = distillation_cost(streams, targets, mask, exists)
    assert torch.equal(exist, exists) and not cost[1, 1].any()
    assert cost[0, 0, 1] == cost[0, 1, 0] == cost[1, 0, 1] == 0 and cost[0, 0, 0] > 0.5
    mean = torch.stack([targets[b, :, :n].mean(dim=1) for b, n in enumerate(lens)])  # (B, S, D)
    cost, _ = distillation_cost(
        mean[:, :, None].expand_as(targets), targets, mask, torch.ones(2, 2).bool()
    )
    one = torch.ones(2, 2, dtype=torch.double)
    torch.testing.assert_close(cost.diagonal(dim1=1, dim2=2), one)
    apart = (targets[0, 1].mean(dim=0) - targets[0, 0]).square().sum()
    spread = (targets[0, 0].mean(dim=0) - targets[0, 0]).square().sum()
    assert cost[0, 0, 1].item() == pytest.approx((apart / spread).item())


def test_separation_cost_is_minus_the_improvement_over_ten():
    sources = torch.randn(2, 2, 800, dtype=torch.double)
    mixture = sources.sum(dim=1)
    estimates = sources.flip(1) + 0.3 * torch.randn(2, 2, 800, dtype=torch.double)
    mask = torch.ones(2, 800).bool()
    cost, exists = separation_cost(estimates, sources, mixture, mask)
    assert exists.all()
    for b in range(2):
        for r in range(2):
            for e in range(2):
                gain = si_sdr(estimates[b, e], sources[b, r]) - si_sdr(mixture[b], sources[b, r])
                assert cost[b, r, e].item() == pytest.approx(-gain.item() / 10)


def test_a_source_that_is_all_of_the_mixture_costs_nothing_where_it_is_given_back():
    source = torch.randn(1, 1, 400, dtype=torch.float64)
    cost, _ = separation_cost(source, source, source[:, 0], torch.ones(1, 400).bool())
    assert abs(cost.item()) < 1e-6


def test_a_silent_reference_has_no_separation_cost_and_no_bad_gradient():
    sources = torch.randn(1, 2, 400)
    sources[0, 1] = 0
    estimates = torch.randn(1, 2, 400, requires_grad=True)
    cost, exists = separation_cost(estimates, sources, sources.sum(1), torch.ones(1, 400).bool())
    assert exists.tolist() == [[True, False]]
    assert cost[0, 1].tolist() == [0, 0]
    cost.sum().backward()
    assert estimates.grad is not None and torch.isfinite(estimates.grad).all()


def test_an_estimate_that_is_no_number_costs_no_number():
    sources, mask = torch.randn(1, 2, 400), torch.ones(1, 400, dtype=torch.bool)
    sources[:, 1] = 0
    estimates = torch.full_like(sources, math.nan)
    cost, exists = separation_cost(estimates, sources, sources.sum(dim=1), mask)
    assert exists.tolist() == [[True, False]]
    assert cost[0, 0].isnan().all() and (cost[0, 1] == 0).all()


def test_a_perfect_estimate_is_capped_and_gives_no_gradient():
    sources = torch.randn(1, 1, 400, dtype=torch.double)
    mixture = sources[:, 0] + torch.randn(1, 400)
    estimate = (sources + 1e-4 * torch.randn(1, 1, 400)).requires_grad_()
    cost, _ = separation_cost(estimate, sources, mixture, torch.ones(1, 400).bool())
    before = si_sdr(mixture, sources[:, 0])
    assert cost.item() == pytest.approx(-(SI_SDR_CEILING - before.item()) / 10)
    cost.sum().backward()
    assert estimate.grad is not None and estimate.grad.abs().max() < 1e-9


def test_ctc_cost_is_torchs_for_each_pair():
    log_probs = torch.randn(2, 2, 30, 6, dtype=torch.double).log_softmax(-1)
    lens = torch.tensor([30, 21])
    tokens = [[[1, 2, 2, 5], [3]], [None, [4, 4, 1]]]
    cost, exists = ctc_cost(log_probs, lens, tokens)
    assert exists.tolist() == [[True, True], [False, True]]
    for b, r, e in [(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 0), (1, 1, 1)]:
        target = torch.tensor(tokens[b][r])
        expected = ctc_loss(
            log_probs[b, e, : lens[b]], target, lens[b], torch.tensor(len(target)), reduction="sum"
        )
        expected = expected / (len(target) * math.log(6))
        assert cost[b, r, e].item() == pytest.approx(expected.item())
    assert cost[1, 0].tolist() == [0, 0]


def test_ctc_cost_and_its_gradient_are_k2s_in_double_precision():
    k2 = pytest.importorskip("k2")
    tokens = [[1, 2, 2, 5], [3], [4, 4, 1]]
    lens = torch.tensor([30, 30, 21])
    logits = torch.randn(3, 1, 30, 6, dtype=torch.double, requires_grad=True)
    cost, _ = ctc_cost(logits.log_softmax(-1), lens, [[t] for t in tokens])
    (gradient,) = torch.autograd.grad(cost.sum(), logits)

    segments = torch.tensor([[i, 0, int(n)] for i, n in enumerate(lens)], dtype=torch.int32)
    dense = k2.DenseFsaVec(logits.log_softmax(-1)[:, 0].float(), segments)
    losses = k2.ctc_loss(
        k2.ctc_graph(tokens), dense, output_beam=100, reduction="none",
        use_double_scores=True, target_lengths=torch.tensor([len(t) for t in tokens]),
    )  # fmt: skip
    expected = losses / torch.tensor([len(t) for t in tokens]) / math.log(6)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), logits)
    # k2 takes scores in float32, and sums over paths in double
    torch.testing.assert_close(cost.flatten(), expected, rtol=1e-6, atol=1e-6, check_dtype=False)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("speakers", [2, 3, 4])
def test_permutation_and_loss_of_separation_are_torchmetrics(speakers):
    sources = torch.randn(5, speakers, 500, dtype=torch.double)
    order = torch.stack([torch.randperm(speakers) for _ in range(5)])
    estimates = sources.gather(1, order[..., None].expand_as(sources))
    estimates = estimates + torch.randn_like(estimates)
    every = torch.ones(5, 500).bool()
    mixture = sources.sum(dim=1)
    cost = TaskCost(*separation_cost(estimates, sources, mixture, every))
    loss = joint_loss({"a": cost}, {"a": 1.0}, tied=False)
    measure = partial(scale_invariant_signal_distortion_ratio, zero_mean=True)
    value, perm = permutation_invariant_training(estimates, sources, measure, eval_func="max")
    before = measure(mixture[:, None].expand_as(sources), sources)
    assert torch.equal(loss.permutations["a"], perm)
    torch.testing.assert_close(loss.total, -(value.mean() - before.mean()) / 10)


def test_text_longer_than_its_frames_costs_nothing():
    log_probs = torch.randn(1, 1, 3, 6).log_softmax(-1)
    cost, _ = ctc_cost(log_probs, torch.tensor([3]), [[[1, 2, 3, 4]]])
    assert cost.item() == 0


@pytest.mark.parametrize("speakers", [1, 2, 3, 4])
@pytest.mark.parametrize("tied", [True, False])
def test_joint_loss_is_the_best_over_all_permutations(speakers, tied):
    weights = {"a": 0.3, "b": 0.7}
    every = torch.ones(1, speakers).bool()
    costs = {t: TaskCost(torch.randn(1, speakers, speakers), every) for t in weights}

    def price(task, perm):
        return sum(costs[task].cost[0, r, e] for r, e in enumerate(perm)) / speakers

    perms = list(permutations(range(speakers)))
    if tied:
        expected = min(sum(w * price(t, p) for t, w in weights.items()) for p in perms)
    else:
        expected = sum(w * min(price(t, p) for p in perms) for t, w in weights.items())
    loss = joint_loss(costs, weights, tied)
    torch.testing.assert_close(loss.total, torch.as_tensor(expected))
    if tied:
        assert torch.equal(loss.permutations["a"], loss.permutations["b"])


def test_a_task_of_weight_zero_takes_no_part():
    costs = {
        "a": TaskCost(torch.rand(1, 2, 2), torch.ones(1, 2).bool()),
        "b": TaskCost(torch.full((1, 2, 2), float("nan")), torch.ones(1, 2).bool()),
    }
    loss = joint_loss(costs, {"a": 1.0, "b": 0.0}, tied=True)
    assert set(loss.tasks) == {"a"} and torch.isfinite(loss.total)


def test_missing_references_neither_cost_nor_steer():
    cost = torch.tensor([[[5.0, 1.0], [-100.0, 100.0]]])
    exists = torch.tensor([[True, False]])
    loss = joint_loss({"a": TaskCost(cost, exists)}, {"a": 1.0}, tied=False)
    assert loss.total.item() == 1.0 and loss.permutations["a"].tolist() == [[1, 0]]


def test_an_ordered_task_keeps_its_order_and_does_not_steer():
    swapped = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # best: reference 0 takes estimate 1
    against = torch.tensor([[[0.0, 9.0], [9.0, 0.0]]])
    every = torch.ones(1, 2).bool()
    costs = {"a": TaskCost(swapped, every), "b": TaskCost(against, every)}
    weights = {"a": 1.0, "b": 1.0}
    loss = joint_loss(costs, weights, tied=True, ordered={"b"})
    assert loss.permutations["a"].tolist() == [[1, 0]]
    assert loss.permutations["b"].tolist() == [[0, 1]]
    assert loss.total.item() == 0
    assert joint_loss(costs, weights, tied=True).permutations["a"].tolist() == [[0, 1]]
