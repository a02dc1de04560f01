"""A layer of ours beside one of torch's with the same weights."""

from typing import Callable

import torch
from torch import Tensor, nn


def assert_twins(
    ours: nn.Module,
    theirs: nn.Module,
    x: Tensor,
    around: Callable[[nn.Module, Tensor], Tensor] = lambda layer, given: layer(given),
) -> None:
    """Outputs and gradients for ``x`` are equal; ``around`` calls torch's layer."""
    theirs.load_state_dict(ours.state_dict())
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [ours(inputs[0]), around(theirs, inputs[1])]
    weight = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)
