"""Operations of a piece of code, counted by torch 2: those of products and convolutions."""

from typing import TYPE_CHECKING, Any, Sequence

import torch

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


def counter() -> "FlopCounterMode":
    """A context that counts, two operations for a multiplication and its addition.

    Torch 2.13 takes the weights' gradient of a grouped convolution for that of a dense one: of a
    depthwise one it counts as many times too much as there are channels.
    """
    from torch.utils.flop_counter import FlopCounterMode

    return FlopCounterMode(
        display=False,
        custom_mapping={torch.ops.aten.convolution_backward: convolution_backward},
    )


def convolution_backward(
    gradient: Sequence[int], x: Sequence[int], weight: Sequence[int], *rest: Any, **_: Any
) -> int:
    """Each of the two gradients, where it is needed, costs what the way there has cost."""
    from torch.utils.flop_counter import conv_flop_count

    transposed, needed = rest[4], rest[7]
    return sum(needed[:2]) * conv_flop_count(x, weight, gradient, transposed)
