"""Depthwise convolutions of channels-last frames against torch's own."""

import pytest
import torch
from torch import nn

from tests.nn.twin import assert_twins
from ume.nn.depthwise import DepthwiseConv


@pytest.mark.parametrize("frames", [1, 7, 24, 25])
@pytest.mark.parametrize("kernel, dilation", [(3, 1), (3, 4), (3, 32), (5, 2), (31, 1), (1, 1)])
def test_output_and_gradients_are_torchs(frames, kernel, dilation):
    ours = DepthwiseConv(6, kernel, dilation).double()
    theirs = nn.Conv1d(
        6, 6, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=6
    ).double()
    x = torch.randn(2, frames, 6, dtype=torch.double)
    assert_twins(ours, theirs, x, lambda conv, given: conv(given.transpose(1, 2)).transpose(1, 2))


def test_input_may_lie_in_memory_in_any_order_and_may_need_no_gradient():
    conv = DepthwiseConv(6, 3, 2)
    x = torch.randn(2, 6, 9).transpose(1, 2)
    conv(x).sum().backward()
    torch.testing.assert_close(conv(x), conv(x.contiguous()))
    assert conv.weight.grad is not None


def test_an_even_kernel_has_no_middle():
    with pytest.raises(ValueError, match="kernel is 4"):
        DepthwiseConv(6, 4)
