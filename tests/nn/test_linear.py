"""Our ways of computing linear layers and GELU against torch's."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.nn.twin import assert_twins
from ume.nn.gelu import gelu
from ume.nn.linear import Linear


@pytest.mark.parametrize("by_convolution", [True, False])
@pytest.mark.parametrize("shape", [(5, 7), (2, 9, 7), (2, 3, 4, 7), (1, 1, 7), (0, 7)])
def test_linear_and_its_gradients_are_torchs(shape, by_convolution, monkeypatch):
    monkeypatch.setattr("ume.nn.linear.SLOW_MATMUL", by_convolution)
    ours, theirs = Linear(7, 5).double(), nn.Linear(7, 5).double()
    assert_twins(ours, theirs, torch.randn(shape, dtype=torch.double))


GELU_GRADIENT = """
import torch
from ume.nn.gelu import gelu
conv = torch.nn.Conv1d(80, 384, 3, padding=1)
frames = torch.randn(2, 698, 80)
gelu(conv(frames.transpose(1, 2))).transpose(1, 2).mul(torch.randn(2, 698, 384)).sum().backward()
assert all(torch.isfinite(parameter.grad).all() for parameter in conv.parameters())
"""


def test_gradient_of_gelu_reads_no_memory_that_was_never_written():
    """With glibc told to fill new memory, torch 1.13's own kernel gives NaN here."""
    environment = {**os.environ, "MALLOC_PERTURB_": "1"}
    subprocess.run([sys.executable, "-c", GELU_GRADIENT], env=environment, check=True)


def test_gelu_and_its_gradient_are_torchs():
    x = torch.randn(3, 4, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: gelu(y.transpose(1, 2)).transpose(0, 1), x)
    torch.testing.assert_close(gelu(x), nn.functional.gelu(x))
