"""Our ways of computing linear layers against torch's."""

import pytest
import torch
from torch import nn

from ume.nn.linear import Linear, halving_conv


@pytest.mark.parametrize("shape", [(5, 7), (2, 9, 7), (2, 3, 4, 7), (1, 1, 7), (0, 7)])
def test_linear_and_its_gradients_are_torchs(shape):
    ours, theirs = Linear(7, 5).double(), nn.Linear(7, 5).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(shape, dtype=torch.double)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [layer(given) for layer, given in zip((ours, theirs), inputs)]
    weight = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
def test_halving_conv_is_the_convolution(frames):
    conv = nn.Conv1d(4, 6, 3, stride=2, padding=1).double()
    x = torch.randn(2, frames, 4, dtype=torch.double)
    expected = conv(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(halving_conv(x, conv), expected)
