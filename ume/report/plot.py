"""Draw an experiment: timeline, spectrograms, layer weights, learning curves."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ume.dataset.mixtures import read_cuts
from ume.errors import UmeError
from ume.files import atomic_folder, existing, read_json
from ume.report.curves import draw_layer_weights, draw_learning_curves, read_curves
from ume.report.mixture import Example, draw_spectrograms, draw_timeline
from ume.scoring.hypothesis import Hypothesis

SI_SDRI = "SI-SDRi_separated_whole"


@dataclass
class Config:
    """Options of ``ume plot``."""

    exp: str
    """Experiment folder; PNG files are written to plots/ in it."""
    cuts: str = ""
    """Mixture cuts of the set, for timeline and spectrograms; without it they are left out."""
    set: str = "test_max"
    """Set to draw a mixture of."""
    recording: str = ""
    """Mixture to draw; empty: one of median SI-SDRi (the first where nothing is scored)."""


def main(config: Config) -> None:
    """Write ``plots/`` at once, and print the names of its files."""
    exp = existing(config.exp, made_by="steps/train.sh")
    with atomic_folder(exp / "plots") as folder:
        if (exp / "metrics.jsonl").exists():
            draw_learning_curves(read_curves(exp / "metrics.jsonl"), folder / "learning-curves.png")
        if (exp / "layer_weights.json").exists():
            draw_layer_weights(read_json(exp / "layer_weights.json"), folder / "layer-weights.png")
        example = load_example(config, exp) if config.cuts else None
        if example:
            draw_timeline(example, folder / "timeline.png")
            draw_spectrograms(example, folder / "spectrograms.png")
        names = sorted(path.name for path in folder.iterdir())
        if not names:
            raise UmeError(
                f"{exp} has nothing to draw: no metrics.jsonl, no layer_weights.json; "
                "run steps/train.sh, or give --cuts"
            )
    print(f"{exp / 'plots'}: {', '.join(names)}")


def load_example(config: Config, exp: Path) -> Optional[Example]:
    """The mixture to draw; None where the model does not tell both voices and who speaks when."""
    cuts = {cut.id: cut for cut in read_cuts(config.cuts)}
    name = config.recording or typical(exp / config.set / "per_utterance.csv") or next(iter(cuts))
    if name not in cuts:
        raise UmeError(f"--recording {name!r} is not among {config.cuts}; give one of its ids")
    hypothesis = Hypothesis.open(exp / config.set / "separated", cuts)
    if not (hypothesis.has("diarization") and hypothesis.has("separation")):
        return None
    return Example.load(cuts[name], hypothesis)


def typical(scores: Path) -> str:
    """The mixture of median SI-SDRi in a ``per_utterance.csv``; empty where there is none."""
    if not scores.exists():
        return ""
    with open(scores, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get(SI_SDRI)]
    rows.sort(key=lambda row: (float(row[SI_SDRI]), row["mixture_ID"]))
    return rows[len(rows) // 2]["mixture_ID"] if rows else ""
