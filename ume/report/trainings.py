"""Compare the courses of several training runs: their curves, and which of them diverged.

A run has *diverged* if the gradient of an update was not finite, or if a task's training loss is
higher over the last tenth of the steps than over the first. A head has *learned nothing* if on dev
it ends no better than an answer that needs no model: everybody speaks all the time, the mixture
itself, no words at all.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import yaml

from ume.errors import UmeError
from ume.files import atomic_folder, existing, read_json, recorded, write_text
from ume.report.curves import Curves, read_curves, smooth
from ume.report.making import named
from ume.report.style import colour, figure

TASKS = ("diarization", "separation", "asr")
MEASURES = (
    ("der", "DER on dev (%)"),
    ("si_sdri", "SI-SDRi on dev (dB)"),
    ("ter", "token error rate on dev (%)"),
)
SHARE = 10  # a tenth of the steps, at either end


@dataclass
class Config:
    """Options of comparing trainings."""

    exps: List[str]
    """Experiment folders, `NAME=EXP,EXP,...` for several seeds of one system"""
    out: str
    """folder to write: trainings.md and trainings.png"""


@dataclass
class Run:
    """One training run."""

    system: str
    path: Path
    curves: Curves
    options: Dict[str, Any]
    facts: Dict[str, Any]
    all_speak: Optional[float]  # DER (%) on dev of saying that everybody speaks
    ends: Dict[str, Tuple[float, float]] = field(init=False)  # task -> loss at first, and at last

    def __post_init__(self) -> None:
        self.ends = {
            task: ends(self.curves[f"train/{task}"][1])
            for task in TASKS
            if f"train/{task}" in self.curves
        }

    def diverged(self) -> List[str]:
        """Why this run is said to have diverged; nothing if it has not."""
        reasons = [f"{task} rose" for task, (first, last) in self.ends.items() if not last <= first]
        if self.facts["skipped_steps"]:
            reasons.append(f"{self.facts['skipped_steps']} updates not finite")
        return reasons

    def learned_nothing(self) -> List[str]:
        """The heads that are no better than an answer without a model."""
        trivial = {"der": self.all_speak, "si_sdri": 0.0, "ter": 100.0}
        heads = []
        for task, (name, _) in zip(TASKS, MEASURES):
            value, bound = self.last(f"valid/{name}"), trivial[name]
            if value is not None and bound is not None:
                worse = value <= bound if name == "si_sdri" else value >= bound
                heads += [task] * worse
        return heads

    def last(self, name: str) -> Optional[float]:
        """The last value of a curve."""
        return self.curves[name][1][-1] if name in self.curves else None

    def clipped(self) -> float:
        """Share (%) of the logged updates whose gradient was longer than allowed."""
        return 100 * float(np.mean(np.array(self.curves["train/norm"][1]) > self.options["clip"]))

    def encoder_norm(self, task: str) -> Optional[float]:
        """Median norm of a task's own gradient on the shared encoder, as it enters the sum."""
        name = f"train/encoder_norm/{task}"
        if name not in self.curves:
            return None
        return float(np.median(self.curves[name][1])) * self.options["model"]["loss"][task]


def ends(values: List[float]) -> Tuple[float, float]:
    """Means over the first and the last tenth.

    >>> ends([3.0, 2.0] + [1.0] * 18)
    (2.5, 1.0)
    """
    count = max(len(values) // SHARE, 1)
    return float(np.mean(values[:count])), float(np.mean(values[-count:]))


def read_run(system: str, path: Path) -> Run:
    """A finished run."""
    facts = read_json(existing(path / "train.json", "steps/train.sh"))
    options = yaml.safe_load(existing(path / "config.yaml", "steps/train.sh").read_text())
    curves = read_curves(existing(path / "metrics.jsonl", "steps/train.sh"))
    about = recorded(options["data"], path / "config.yaml") / "about.json"
    all_speak = None
    if about.exists():
        dev = read_json(about)["parts"].get("dev", {})
        all_speak = dev.get(options["valid_mode"], {}).get("all_speak_der")
    return Run(system, path, curves, options, facts, all_speak)


def main(config: Config) -> None:
    """Write both files at once."""
    runs: List[Run] = []
    for given in config.exps:
        title, folders = named(given)
        paths = [Path(folder) for folder in folders.split(",")]
        runs += [read_run(title or paths[0].name, path) for path in paths]
    if not any(run.ends for run in runs):
        raise UmeError("none of the runs has a logged loss; train for some steps")
    with atomic_folder(config.out, "trainings.md", [run.path for run in runs]) as folder:
        draw(runs, folder / "trainings.png")
        write_text(folder / "trainings.md", table(runs))
    print(f"{config.out}: trainings.md, trainings.png")


def table(runs: List[Run]) -> str:
    """A run per line, and what its columns mean."""
    heads = ["run", "diverged", "learned nothing"]
    heads += [f"loss of {task}, first to last" for task in TASKS]
    heads += [label for _, label in MEASURES]
    heads += ["clipped (%)", "gradients on the encoder"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " --- |" * (len(heads) - 1)]
    for run in runs:
        norms = [run.encoder_norm(task) for task in TASKS]
        cells = [f"{run.system}, seed {run.options['seed']}"]
        cells += [", ".join(run.diverged()) or "no", ", ".join(run.learned_nothing()) or "-"]
        cells += [
            "{:.2f} to {:.2f}".format(*run.ends[task]) if task in run.ends else "-"
            for task in TASKS
        ]
        cells += [number(run.last(f"valid/{name}"), 1) for name, _ in MEASURES]
        cells += [f"{run.clipped():.0f}", " : ".join(number(norm, 2) for norm in norms)]
        lines.append("| " + " | ".join(cells) + " |")
    bounds = sorted({number(run.all_speak, 1) for run in runs})
    notes = [
        (__doc__ or "").partition("\n\n")[2].strip(),
        f"All-speak DER on dev: {', '.join(bounds)} %. Losses are means over the first and the "
        "last tenth of the steps, in the units that were added up. Gradients on the encoder: "
        "medians of the norm of each task's own gradient on the shared encoder, times its weight, "
        f"in the order {', '.join(TASKS)}. Clipped: logged updates whose gradient was longer than "
        "`clip`.",
        "![courses](trainings.png)",
    ]
    return "\n\n".join(["\n".join(lines), *notes]) + "\n"


def number(value: Optional[float], digits: int) -> str:
    """A value, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def draw(runs: List[Run], path: Path) -> None:
    """The losses of each system in a row of its own, and the measures of all in the last row."""
    systems = list(dict.fromkeys(run.system for run in runs))
    rows = len(systems) + 1
    with figure(path, figsize=(11, 2.6 * rows)) as drawing:
        axes = drawing.subplots(rows, len(TASKS), squeeze=False)
        for row, system in enumerate(systems):
            for place, task in zip(axes[row], TASKS):
                for run in (each for each in runs if each.system == system):
                    if task in run.ends:
                        steps, values = run.curves[f"train/{task}"]
                        place.plot(steps, smooth(values), color=colour(row), linewidth=1)
                label(place, f"{system}: {task}", "training loss")
        for place, (name, unit) in zip(axes[-1], MEASURES):
            for run in runs:
                if f"valid/{name}" in run.curves:
                    place.plot(
                        *run.curves[f"valid/{name}"],
                        color=colour(systems.index(run.system)),
                        linewidth=1,
                        label=run.system,
                    )
            label(place, unit, unit)
        handles = dict(zip(*reversed(axes[-1][0].get_legend_handles_labels())))
        axes[-1][0].legend(handles.values(), handles.keys())


def label(place: Any, title: str, unit: str) -> None:
    """What a panel shows."""
    place.set_title(title, loc="left")
    place.set_xlabel("step")
    place.set_ylabel(unit)
    place.grid()
