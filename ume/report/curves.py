"""Pictures of a training run: learning curves and layer weights."""

import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from ume.errors import UmeError
from ume.report.style import GREY, colour, figure

Curves = Dict[str, Tuple[List[int], List[float]]]  # name -> steps, values

PANELS = (
    ("loss", "loss", ("train/loss", "valid/loss")),
    ("diarization", "DER on dev (%)", ("valid/der",)),
    ("separation", "SI-SDRi on dev (dB)", ("valid/si_sdri",)),
    ("recognition", "token error rate on dev (%)", ("valid/ter",)),
)


def read_curves(path: Path) -> Curves:
    """Every scalar of ``metrics.jsonl`` over its steps.

    Raises:
        UmeError: a line is not a JSON object with a ``step``.
    """
    curves: Curves = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            values = json.loads(line)
            step = values.pop("step")
        except (ValueError, AttributeError, KeyError):
            raise UmeError(f"{path}:{number} is not a line of metrics; remove it") from None
        for name, value in values.items():
            steps, series = curves.setdefault(name, ([], []))
            steps.append(step)
            series.append(value)
    return curves


def smooth(values: List[float]) -> np.ndarray:
    """Running mean over a fiftieth of the series, shorter at its ends.

    >>> smooth([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """
    width = 2 * (len(values) // 100) + 1
    weights = np.convolve(np.ones(len(values)), np.ones(width), mode="same")
    return np.convolve(values, np.ones(width), mode="same") / weights


def draw_learning_curves(curves: Curves, path: Path) -> None:
    """Losses, and each task's figure on the dev set, over steps."""
    panels = [panel for panel in PANELS if any(name in curves for name in panel[2])]
    if not panels:
        raise UmeError("metrics.jsonl has none of the known curves; train for a step at least")
    with figure(path, figsize=(9, 2.6 * ((len(panels) + 1) // 2))) as drawing:
        axes = drawing.subplots((len(panels) + 1) // 2, 2, squeeze=False).ravel()
        for place, (title, label, names) in zip(axes, panels):
            for name in names:
                if name in curves:
                    _draw_curve(place, name, *curves[name])
            place.set_title(title, loc="left")
            place.set_xlabel("step")
            place.set_ylabel(label)
            place.set_xlim(left=0)
            place.grid()
            if len(names) > 1:
                place.legend()
        for place in axes[len(panels) :]:
            place.set_axis_off()


def _draw_curve(axes: Any, name: str, steps: List[int], values: List[float]) -> None:
    if name.startswith("train/"):
        axes.plot(steps, values, color=GREY, alpha=0.35, linewidth=0.7)
        axes.plot(steps, smooth(values), color=colour(1), label="train")
    else:
        axes.plot(steps, values, "o-", color=colour(0), markersize=3, label="dev")


def draw_layer_weights(weights: Dict[str, List[float]], path: Path) -> None:
    """Each task's weights of the encoder's layers, as bars side by side."""
    layers = len(next(iter(weights.values())))
    places = np.arange(1, layers + 1)
    width = 0.8 / len(weights)
    with figure(path, figsize=(max(6.0, 1.1 * layers + 2.0), 3.4)) as drawing:
        axes = drawing.subplots()
        for index, (task, values) in enumerate(weights.items()):
            shift = (index - (len(weights) - 1) / 2) * width
            axes.bar(places + shift, values, width, color=colour(index), label=task)
        axes.axhline(1 / layers, color=GREY, linestyle="--", linewidth=1, label="all layers equal")
        axes.set_xticks(places)
        axes.set_xlabel("encoder layer (1 is the lowest)")
        axes.set_ylabel("weight")
        axes.set_title("What each task takes from the shared encoder", loc="left")
        axes.legend(ncols=len(weights) + 1, loc="upper center", bbox_to_anchor=(0.5, -0.18))
        axes.grid(axis="y")
