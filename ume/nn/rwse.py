"""Residual weighted-sum encoding (RWSE): every layer of the shared encoder, as one task sees it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import List, Optional

import torch
from torch import Tensor, nn

from ume.errors import UmeError


@dataclass
class RWSEConfig:
    """Which hidden states the heads see."""

    form: str = "per-task"
    """`per-task` (a weight for each layer and task), `shared` (one set of weights for all tasks)
    or `last` (the last layer alone, nothing learned)"""
    layers: Optional[List[int]] = None
    """layers that are summed, counted from 1; none: all"""


class LayerSum(nn.Module, ABC):
    """Hidden states of all layers in, H_enc out."""

    @abstractmethod
    def weights(self) -> Tensor:
        """The layers' weights, (L,), with sum one; zero for layers that are left out."""

    @abstractmethod
    def forward(self, layers: Tensor) -> Tensor:
        """Join ``layers`` (L, B, F, D) into H_enc (B, F, D)."""


class ResidualWeightedSum(LayerSum):
    """``H_enc = sum_l softmax(a)_l H^(l) + H^(L)`` (UME, arXiv 2508.20474).

    One learnable score a_l per layer in ``chosen`` (counted from 1; None: every layer), zero at
    the start: they all weigh the same. The last layer is always added once more.
    """

    index: Tensor

    def __init__(self, num_layers: int, chosen: Optional[List[int]] = None) -> None:
        super().__init__()
        chosen = list(range(1, num_layers + 1)) if chosen is None else sorted(set(chosen))
        if not chosen or chosen[0] < 1 or chosen[-1] > num_layers:
            raise UmeError(f"rwse.layers is {chosen}; give layers from 1 to {num_layers}")
        self.num_layers = num_layers
        self.register_buffer("index", torch.tensor(chosen) - 1, persistent=False)
        self.scores = nn.Parameter(torch.zeros(len(chosen)))

    def weights(self) -> Tensor:
        """See :class:`LayerSum`."""
        weights = self.scores.new_zeros(self.num_layers)
        return weights.index_copy(0, self.index, self.scores.softmax(dim=0))

    def forward(self, layers: Tensor) -> Tensor:
        """See :class:`LayerSum`."""
        return torch.einsum("l,lbfd->bfd", self.weights(), layers) + layers[-1]


class LastLayer(LayerSum):
    """``H_enc = H^(L)``: what RWSE is compared with."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.num_layers = num_layers

    def weights(self) -> Tensor:
        """See :class:`LayerSum`; all is on the last."""
        return torch.eye(self.num_layers)[-1]

    def forward(self, layers: Tensor) -> Tensor:
        """See :class:`LayerSum`."""
        return layers[-1]
