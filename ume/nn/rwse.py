"""Residual weighted-sum encoding (RWSE): every layer of the shared encoder, as one task sees it."""

import torch
from torch import Tensor, nn


class ResidualWeightedSum(nn.Module):
    """``H_enc = sum_l softmax(a)_l H^(l) + H^(L)`` (UME, arXiv 2508.20474).

    One learnable score a_l per layer, zero at the start: all layers weigh the same.
    """

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(num_layers))

    def weights(self) -> Tensor:
        """The layers' weights, (L,), positive, with sum one."""
        return self.scores.softmax(dim=0)

    def forward(self, layers: Tensor) -> Tensor:
        """Join ``layers`` (L, B, F, D) into H_enc (B, F, D)."""
        return torch.einsum("l,lbfd->bfd", self.weights(), layers) + layers[-1]
