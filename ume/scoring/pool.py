"""Figures pooled over recordings, by subset, with intervals; and the table of single recordings."""

import csv
import io
from functools import reduce
from operator import add
from typing import Any, Dict, List, Optional

from ume.metrics.results import Ratio
from ume.scoring.bootstrap import interval
from ume.scoring.conditions import AXES
from ume.scoring.conventions import SUBSETS
from ume.scoring.recording import Figure, RecordingScore


def subsets(recordings: List[RecordingScore]) -> List[str]:
    """``SUBSETS``, and by the number of speakers where it differs."""
    counts = sorted({len(r.reference.speakers) for r in recordings})
    return [*SUBSETS, *([f"{count} speakers" for count in counts] if len(counts) > 1 else [])]


def select(recordings: List[RecordingScore], subset: str) -> List[RecordingScore]:
    """The recordings of one of :func:`subsets`."""
    return [
        r
        for r in recordings
        if subset in ("all", r.reference.sexes, f"{len(r.reference.speakers)} speakers")
    ]


def sizes(recordings: List[RecordingScore]) -> Dict[str, int]:
    """Numbers of recordings, speakers and pairs (sets of speakers)."""
    return {
        "num_recordings": len(recordings),
        "num_speakers": len({s for r in recordings for s in r.reference.speakers}),
        "num_pairs": len({r.reference.group for r in recordings}),
    }


def figures(recordings: List[RecordingScore]) -> List[Figure]:
    """Every figure that any recording has, in order of appearance."""
    return list(dict.fromkeys(figure for r in recordings for figure in r.results))


def pooled(recordings: List[RecordingScore], figure: Figure) -> Ratio:
    """The sum of a figure's results over the recordings that have it."""
    return reduce(add, (r.results[figure] for r in recordings if figure in r.results))


def metric(recordings: List[RecordingScore], figure: Figure, subset: str) -> Dict[str, Any]:
    """One entry of ``scores.json``'s ``metrics``."""
    scored = [r for r in recordings if figure in r.results]
    results = [r.results[figure] for r in scored]
    total = pooled(scored, figure)
    limits = interval(
        [result.numerator for result in results],
        [result.denominator for result in results],
        [r.reference.group for r in scored],
    )
    entry = {
        "name": figure.name,
        "row": figure.row,
        "subset": subset,
        **figure.variant,
        "value": _scaled(figure, total.rate) if total.denominator else None,
        "interval": limits and [_scaled(figure, limit) for limit in limits],
        "unit": figure.unit,
    }
    if len(total.numbers) > 2:
        entry["parts"] = {name: _scaled(figure, part) for name, part in total.parts.items()}
    return {**entry, **sizes(scored)}


def metrics(recordings: List[RecordingScore]) -> List[Dict[str, Any]]:
    """All entries: figure by figure, over all recordings and by subset where it has any."""
    entries = []
    for figure in figures(recordings):
        scored = [r for r in recordings if figure in r.results]
        for subset in subsets(recordings):
            chosen = select(scored, subset)
            if chosen:
                entries.append(metric(chosen, figure, subset))
    return entries


def per_utterance(recordings: List[RecordingScore]) -> str:
    """CSV: a line per recording, a column per figure, empty where there is no such figure."""
    columns = figures(recordings)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    axes = [axis.name for axis in AXES]
    described = ["mixture_ID", "speakers", "sexes", "seconds", *(a.replace(" ", "-") for a in axes)]
    writer.writerow([*described, *map(str, columns)])
    for recording in recordings:
        reference = recording.reference
        writer.writerow(
            [
                reference.id,
                reference.group,
                reference.sexes,
                f"{reference.duration:.3f}",
                *(_condition(recording, axis) for axis in axes),
                *(_cell(figure, recording.results.get(figure)) for figure in columns),
            ]
        )
    return table.getvalue()


def ratios(recordings: List[RecordingScore]) -> Dict[str, Any]:
    """What the figures are made of, recording by recording: for comparing two experiments.

    Numerators are scaled to the figure's unit; a recording without a figure has a denominator of 0.
    """
    return {
        "recordings": [r.reference.id for r in recordings],
        "pairs": [r.reference.group for r in recordings],
        "sexes": [r.reference.sexes for r in recordings],
        "figures": {str(figure): _columns(recordings, figure) for figure in figures(recordings)},
    }


def _columns(recordings: List[RecordingScore], figure: Figure) -> Dict[str, Any]:
    results = [recording.results.get(figure) for recording in recordings]
    return {
        "unit": figure.unit,
        "numerators": [round(figure.scale * r.numerator, 6) if r else 0 for r in results],
        "denominators": [round(r.denominator, 6) if r else 0 for r in results],
    }


def _cell(figure: Figure, result: Optional[Ratio]) -> str:
    return f"{_scaled(figure, result.rate):.4f}" if result and result.denominator else ""


def _condition(recording: RecordingScore, axis: str) -> str:
    return f"{recording.conditions[axis]:.2f}" if axis in recording.conditions else ""


def _scaled(figure: Figure, ratio: float) -> float:
    return round(figure.scale * ratio, 6)
