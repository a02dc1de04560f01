"""RWSE, gLN, Conv-TasNet, resampling of frames, the recogniser."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.errors import UmeError
from ume.nn.conv_tasnet import ConvTasNet
from ume.nn.lengths import (
    change_rate,
    num_frames,
    pool_frames,
    resample_frames,
    valid_frames,
)
from ume.nn.norm import GlobalLayerNorm, _GlobalNorm
from ume.nn.prelu import PReLU
from ume.nn.recogniser import Recogniser, RecogniserConfig
from ume.nn.rwse import LastLayer, ResidualWeightedSum


def test_rwse_starts_as_the_mean_plus_the_last_layer():
    layers = torch.randn(4, 2, 7, 8)
    expected = layers.mean(dim=0) + layers[-1]
    torch.testing.assert_close(ResidualWeightedSum(4)(layers), expected)


def test_rwse_weighs_each_layer_by_its_softmax():
    rwse, layers = ResidualWeightedSum(3), torch.randn(3, 1, 5, 6)
    rwse.scores.data = torch.tensor([0.0, 1.0, 2.0])
    weights = torch.tensor([0.09003057, 0.24472847, 0.66524096])
    torch.testing.assert_close(rwse.weights(), weights)
    expected = sum(w * layer for w, layer in zip(weights, layers)) + layers[-1]
    torch.testing.assert_close(rwse(layers), expected)


def test_rwse_of_some_layers_leaves_the_others_out_and_adds_the_last():
    rwse, layers = ResidualWeightedSum(4, [3, 1]), torch.randn(4, 2, 5, 6)
    rwse.scores.data = torch.tensor([0.0, 1.0])
    weights = rwse.scores.softmax(dim=0)
    assert rwse.weights()[[1, 3]].tolist() == [0, 0]
    expected = weights[0] * layers[0] + weights[1] * layers[2] + layers[-1]
    torch.testing.assert_close(rwse(layers), expected)
    assert list(rwse.state_dict()) == ["scores"]


@pytest.mark.parametrize("chosen", [[], [0, 1], [5]])
def test_rwse_of_layers_that_do_not_exist_is_refused(chosen):
    with pytest.raises(UmeError, match="rwse.layers .* from 1 to 4"):
        ResidualWeightedSum(4, chosen)


def test_the_last_layer_alone():
    layers = torch.randn(3, 2, 5, 6)
    assert torch.equal(LastLayer(3)(layers), layers[-1])
    assert LastLayer(3).weights().tolist() == [0, 0, 1]


def test_global_layer_norm_is_group_norm_of_the_clip_alone():
    norm = GlobalLayerNorm(6).double()
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    lens = torch.tensor([9, 4])
    mask = valid_frames(lens, 9)[..., None].double()
    x = torch.randn(2, 9, 6, dtype=torch.double) * mask
    together = norm(x, mask)
    for clip, length in enumerate(lens.tolist()):
        one = x[clip : clip + 1, :length]
        expected = torch.nn.functional.group_norm(
            one.transpose(1, 2), 1, norm.weight, norm.bias, norm.eps
        ).transpose(1, 2)
        torch.testing.assert_close(together[clip : clip + 1, :length], expected)
        torch.testing.assert_close(norm(one), expected)
        assert together[clip, length:].abs().sum() == 0


@pytest.mark.parametrize("lens", [[7, 4], [7, 7]])
def test_gradients_of_global_layer_norm_are_right(lens):
    norm = GlobalLayerNorm(3).double()
    norm.weight.data.normal_()
    valid = valid_frames(torch.tensor(lens), 7)[..., None].double()
    mask = None if valid.all() else valid
    x = torch.randn(2, 7, 3, dtype=torch.double, requires_grad=True)

    assert torch.autograd.gradcheck(
        lambda x, weight, bias: _GlobalNorm.apply(x * valid, mask, weight, bias, norm.eps),
        (x, norm.weight, norm.bias),
    )


def test_prelu_and_its_gradients_are_torchs():
    ours, theirs = PReLU().double(), torch.nn.PReLU().double()
    inputs = [torch.linspace(-3, 3, 42, dtype=torch.double).view(2, 3, 7) for _ in range(2)]
    for layer, x in zip((ours, theirs), inputs):
        x.requires_grad_()
        layer(x).pow(3).sum().backward()
    assert torch.equal(ours(inputs[0]), theirs(inputs[1]))
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softmax"])
def test_conv_tasnet_gives_a_clip_the_same_masks_in_any_batch(skip, activation):
    net = ConvTasNet(10, 7, 2, 8, 12, 3, 3, 2, skip, activation).double()
    mask = valid_frames(torch.tensor([40, 25]), 40)[..., None].double()
    x = torch.randn(2, 40, 10, dtype=torch.double) * mask
    together = net(x, mask)
    assert together.shape == (2, 2, 40, 7)
    alone = net(x[1:, :25])
    torch.testing.assert_close(together[1:, :, :25], alone)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.sampled_from([0.5, 1, 2, 5]))
def test_resampled_frames_repeat_or_skip_whatever_the_length(frames, ratio):
    x = torch.arange(frames, dtype=torch.float)[None, :, None]
    count = round(frames * ratio)
    y = resample_frames(x, count, ratio)[0, :, 0].tolist()
    assert y == [min(int(f / ratio), frames - 1) for f in range(count)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.sampled_from([1, 2, 4]))
def test_pooled_frames_are_means_over_what_exists(lens, factor):
    lens = torch.tensor(lens)
    x = torch.randn(len(lens), 3, int(lens.max()), dtype=torch.double)
    pooled = pool_frames(x, lens, factor)
    for clip, length in enumerate(lens.tolist()):
        groups = x[clip, :, :length].split(factor, dim=1)
        expected = torch.stack([group.mean(dim=1) for group in groups], dim=1)
        torch.testing.assert_close(pooled[clip, :, : expected.shape[1]], expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=3), st.sampled_from([2, 4]))
def test_more_frames_lie_on_lines_between_the_middles(lens, ratio):
    lens = torch.tensor(lens)
    frames = int(lens.max())
    x = (torch.arange(frames) + 0.5).double()[None, :, None].repeat(len(lens), 1, 2)
    x[~valid_frames(lens, frames)] = 1e9  # what lies beyond a clip must not be seen
    y = change_rate(x, lens, ratio * frames, ratio)
    expected = (torch.arange(ratio * frames) + 0.5) / ratio
    for clip, length in enumerate(lens.tolist()):
        line = expected[: ratio * length].clamp(0.5, length - 0.5).double()
        torch.testing.assert_close(y[clip, : ratio * length, 0], line)


def test_fewer_frames_are_means_and_as_many_are_the_same():
    x = torch.randn(2, 5, 3)
    lens = torch.tensor([5, 3])
    half = change_rate(x, lens, 3, 0.5)
    torch.testing.assert_close(half[0, 2], x[0, 4])
    torch.testing.assert_close(half[1, :2], torch.stack([x[1, :2].mean(0), x[1, 2]]))
    assert torch.equal(change_rate(x, lens, 5, 1.0), x)


def test_num_frames_keeps_the_last_partial_frame():
    assert num_frames(torch.tensor([1, 320, 321, 640]), 320).tolist() == [1, 1, 2, 2]


def test_recogniser_gives_distributions_that_padding_does_not_change():
    net = Recogniser(RecogniserConfig("encoders", 16, 2, 32, 7, 1, 1), 12, 3, 9).double().eval()
    states = torch.randn(2, 30, 12, dtype=torch.double)
    together = net(states, torch.tensor([30, 17]), states).log_probs
    assert together.shape == (2, 3, 30, 9)
    torch.testing.assert_close(together.exp().sum(-1), torch.ones(2, 3, 30).double())
    alone = net(states[1:, :17], torch.tensor([17]), states[1:, :17]).log_probs
    torch.testing.assert_close(together[1:, :, :17], alone)
    first = net(states, torch.tensor([30, 17]), states, num_stacks=1).log_probs
    torch.testing.assert_close(first, together[:, :1])
