"""Checkpoints with icefall's keys, read back without executing code.

A file holds ``model``, ``model_avg``, ``optimizer``, ``grad_scaler``, ``sampler``,
``batch_idx_train`` (steps), ``rng`` and the training state; rates follow from the step, so that
there is no ``scheduler``.
Only tensors, strings, integers and containers are pickled: floats travel as zero-dimensional
float64 tensors, since torch 1.13's safe loader refuses them.
"""

import io
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch

from ume.compat import load_state
from ume.errors import UmeError
from ume.files import PathLike, write_bytes


def save_checkpoint(path: PathLike, state: Dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, containers) to ``path`` at once."""
    buffer = io.BytesIO()
    torch.save(_without_floats(state), buffer)
    write_bytes(path, buffer.getbuffer())


def load_checkpoint(path: PathLike) -> Dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote."""
    state = _with_floats(load_state(path))
    if not isinstance(state, dict) or "model" not in state:
        raise UmeError(f"{path} is not a checkpoint of ume: it has no 'model'; use another file")
    return state


def find_checkpoints(folder: PathLike) -> List[Tuple[int, Path]]:
    """The folder's ``checkpoint-<step>.pt`` as (step, path), oldest first."""
    found = []
    for path in Path(folder).glob("checkpoint-*.pt"):
        match = re.fullmatch(r"checkpoint-(\d+)\.pt", path.name)
        if match:
            found.append((int(match.group(1)), path))
    return sorted(found)


def best_name(best_by: str, keep_best: int, step: float) -> str:
    """The file of a best model, that of ``step``: icefall's name where only one is kept."""
    return f"best-valid-{best_by}" + f"-{round(step)}" * (keep_best > 1) + ".pt"


def latest_checkpoint(folder: PathLike) -> Optional[Path]:
    """The newest checkpoint, or None."""
    found = find_checkpoints(folder)
    return found[-1][1] if found else None


def update_average(
    average: Dict[str, torch.Tensor], model: Dict[str, torch.Tensor], count: int
) -> None:
    """Make ``average`` the mean of ``count`` models, of which ``model`` is the last; in place."""
    for name, value in average.items():
        if value.is_floating_point():
            value.mul_((count - 1) / count).add_(model[name], alpha=1 / count)
        else:
            value.copy_(model[name])


def average_between(
    first: Dict[str, torch.Tensor], first_count: int, last: Dict[str, torch.Tensor], last_count: int
) -> Dict[str, torch.Tensor]:
    """The mean of models first_count + 1 .. last_count from two running means (icefall's trick).

    Args:
        first, last: ``model_avg`` of two checkpoints, in double precision.
        first_count, last_count: how many models each is the mean of; 0 < last - first.
    """
    count = last_count - first_count
    if count <= 0:
        raise UmeError("there is nothing between the two checkpoints to average")
    mean = {}
    for name, value in last.items():
        if value.is_floating_point():
            mean[name] = (value * last_count - first[name] * first_count) / count
        else:
            mean[name] = value
    return mean


def _without_floats(value: Any) -> Any:
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.float64)
    if isinstance(value, dict):
        return {key: _without_floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_floats(item) for item in value]
    return value


def _with_floats(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dtype == torch.float64 and value.ndim == 0:
        return value.item()
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return value
