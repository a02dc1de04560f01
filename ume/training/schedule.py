"""Learning rate over the steps, and parameter groups."""

import math
from typing import Any, Dict, List, Tuple

from torch import nn

SCHEDULES = ("cosine", "inverse-sqrt")
FINAL = 0.01  # share of the peak rate that a cosine ends with


def rate_at(step: int, steps: int, warmup: int, schedule: str = "cosine") -> float:
    """Share of the peak rate at ``step`` (from 0): linear warm-up, then one of SCHEDULES.

    A cosine falls until ``steps``; the inverse square root (Vaswani et al. 2017) knows no end.

    >>> [round(rate_at(step, 100, 10), 3) for step in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.505, 0.01]
    >>> [round(rate_at(step, 100, 10, "inverse-sqrt"), 3) for step in (0, 9, 39, 159)]
    [0.1, 1.0, 0.5, 0.25]
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "inverse-sqrt":
        return math.sqrt(max(warmup, 1) / (step + 1))
    progress = (step - warmup) / max(steps - warmup, 1)
    return FINAL + (1 - FINAL) * (1 + math.cos(math.pi * progress)) / 2


def parameter_groups(
    model: nn.Module,
    encoder_rate: float,
    rate: float,
    weight_decay: float,
    pretrained: Tuple[str, ...] = ("encoder.",),
) -> List[Dict[str, Any]]:
    """Two rates, for what is pretrained and for the rest; biases, norms and scalars do not decay.

    ``pretrained`` are beginnings of names: of the encoder, and of its own decoder where there is
    one.
    """
    groups: Dict[Any, List[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith(pretrained), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": encoder_rate if encoder else rate,
            "peak": encoder_rate if encoder else rate,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (encoder, decays), parameters in groups.items()
    ]
