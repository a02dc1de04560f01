"""Depthwise convolutions of channels-last frames against torch's own."""

import pytest
import torch
from torch import nn

from ume.nn.depthwise import DepthwiseConv


@pytest.mark.parametrize("frames", [1, 7, 24, 25])
@pytest.mark.parametrize("kernel, dilation", [(3, 1), (3, 4), (3, 32), (5, 2), (31, 1), (1, 1)])
def test_output_and_gradients_are_torchs(frames, kernel, dilation):
    ours = DepthwiseConv(6, kernel, dilation).double()
    theirs = nn.Conv1d(
        6, 6, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=6
    ).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, frames, 6, dtype=torch.double)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [ours(inputs[0]), theirs(inputs[1].transpose(1, 2)).transpose(1, 2)]
    weight = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


def test_input_may_lie_in_memory_in_any_order_and_may_need_no_gradient():
    conv = DepthwiseConv(6, 3, 2)
    x = torch.randn(2, 6, 9).transpose(1, 2)
    conv(x).sum().backward()
    torch.testing.assert_close(conv(x), conv(x.contiguous()))
    assert conv.weight.grad is not None


def test_an_even_kernel_has_no_middle():
    with pytest.raises(ValueError, match="kernel is 4"):
        DepthwiseConv(6, 4)
