"""Echo's RESULTS.md: what each stage, ablation and baseline is worth, side by side."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

from ume.errors import UmeError
from ume.files import existing, read_json, write_text
from ume.report.making import making, stage_records
from ume.report.report import HEAD, one_line, publish
from ume.report.style import colour, figure
from ume.scoring.bootstrap import difference

DIGITS = {"%": 1, "points": 1, "dB": 2, "entries": 0, "speakers": 2, "": 2}
DIARIZATION = ("DER", "speakers counted right", "SI-SDRi")  # of a scored set
ROWS = ("hypothesis", "one speaker", "all-speak", "separated")
READER = "token error rate, "

Measures = Dict[str, Dict[str, Any]]  # by name


@dataclass
class Config:
    """Options of ``ume report-echo``."""

    exp: str
    """Folder to write RESULTS.md to."""
    models: List[str]
    """NAME=measures.json of `ume measure-echo`, in the order of the columns."""
    scored: List[str] = field(default_factory=list)
    """NAME=scores.json of `ume score`, of recordings that were diarized."""
    trained: List[str] = field(default_factory=list)
    """Experiment folders of the stages, to tell how they were made."""
    title: str = "Echo"
    """Title of the section."""
    publish: str = ""
    """File to copy the section to; only the section of the same title is replaced."""
    against: Optional[str] = None
    """Name of the model that each other is compared with, measure by measure."""
    pairs: List[str] = field(default_factory=list)
    """NAME=MODEL,MODEL, of a model with something and one without it, set against each other."""
    timed: List[str] = field(default_factory=list)
    """Folders whose stages' times are listed and summed."""


def main(config: Config) -> None:
    """Write ``RESULTS.md``, ``plots/bits.png``, and the published copy."""
    exp, title = Path(config.exp), one_line(config.title)
    models = {name: by_name(path) for name, path in named(config.models).items()}
    if not models:
        raise UmeError("--models is empty; name some measures.json of ume measure-echo")
    if config.against is not None and config.against not in models:
        raise UmeError(f"--against {config.against}: --models has no such name")
    parts = [f"## {title}", "In brackets: 95 % intervals; of differences they are paired."]
    parts.append("### Before and after each stage")
    parts += [table(models, config.against), "Protocol:", protocols(models)]
    for what, both in named(config.pairs).items():
        first, comma, second = both.partition(",")
        if not comma:
            raise UmeError(f"--pairs {what}={both}: give NAME=MODEL,MODEL")
        parts += [f"### With and without {what}", pair_table(models, first, second)]
    scored = {name: read_json(existing(p, "steps/score.sh")) for name, p in
              named(config.scored).items()}  # fmt: skip
    if scored:
        parts += ["### Recordings, the number of speakers estimated", scored_table(scored)]
    if config.timed:
        parts += ["### Time, without the comparisons", times(config.timed, exp.parent)]
    parts.append("### How it was made")
    for folder in config.trained:
        made = making(existing(folder, "steps/train_echo.sh"), exp.parent)
        parts += [f"#### {os.path.relpath(folder, exp)}", made]
    text = "\n\n".join(parts) + "\n"
    picture = draw_bits(models, exp / "plots" / "bits.png")
    link = "\n### Plots\n\n![token error rate over bits per second](plots/bits.png)\n"
    write_text(exp / "RESULTS.md", f"{HEAD}\n{text}{link if picture else ''}")
    print(exp / "RESULTS.md")
    publish(config.publish, title, text)


def named(pairs: List[str]) -> Dict[str, str]:
    """NAME=PATH, in order."""
    found = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals:
            raise UmeError(f"{pair!r}: give NAME=PATH")
        found[name] = path
    return found


def by_name(path: str) -> Measures:
    """The measures of a model."""
    return {m["name"]: m for m in read_json(existing(path, "ume measure-echo"))["measures"]}


def table(models: Dict[str, Measures], against: Optional[str] = None) -> str:
    """A measure per line, a model per column; trivial rows below the measure they belong to.

    Below these the difference to the model ``against``.
    """
    names = list(dict.fromkeys(name for measures in models.values() for name in measures))
    lines = [
        "| measure | unit | chance | " + " | ".join(models) + " |",
        "| --- | --- | --- |" + " --- |" * len(models),
    ]
    for name in names:
        found = [measures.get(name) for measures in models.values()]
        known = [m for m in found if m is not None]
        unit = known[0]["unit"]
        chance = next((m["chance"] for m in known if m["chance"] is not None), None)
        cells = " | ".join(cell(m) for m in found)
        lines.append(f"| {name} | {unit} | {number(chance, unit)} | {cells} |")
        for row in dict.fromkeys(row for m in known for row in m["rows"]):
            values = [None if m is None else m["rows"].get(row) for m in found]
            cells = " | ".join(number(value, unit) for value in values)
            lines.append(f"| · {row} | {'' if 'bits' in row else unit} | | {cells} |")
        base = models[against].get(name) if against is not None else None
        gains = [None if base is None or m is None or m is base else gain(base, m) for m in found]
        if any(gains):
            cells = " | ".join(each or "-" for each in gains)
            lines.append(f"| · more than {against} | {unit} | | {cells} |")
    return "\n".join(lines)


def number(value: Optional[float], unit: str) -> str:
    """A figure in a cell.

    >>> number(12.345, "%"), number(None, "dB")
    ('12.3', '-')
    """
    return "-" if value is None else f"{value:.{DIGITS[unit]}f}"


def cell(measure: Optional[Dict[str, Any]]) -> str:
    """Value and interval."""
    if measure is None:
        return "-"
    text = number(measure["value"], measure["unit"])
    if measure["low"] is None:
        return text
    low, high = (number(measure[end], measure["unit"]) for end in ("low", "high"))
    return f"{text} [{low}, {high}]"


def gain(base: Dict[str, Any], measure: Dict[str, Any]) -> Optional[str]:
    """What ``measure`` has more than ``base``, if both were counted on the same groups."""
    groups = list(base["sums"])
    if not groups or set(groups) != set(measure["sums"]):
        return None
    pairs = [list(zip(*(m["sums"][group] for group in groups))) for m in (base, measure)]
    bounds = difference(pairs[0], pairs[1], groups)  # type: ignore[arg-type]
    low, high = (None, None) if bounds is None else bounds
    more = {"value": measure["value"] - base["value"], "unit": base["unit"]}
    return cell({**more, "low": low, "high": high})


def pair_table(models: Dict[str, Measures], first: str, second: str) -> str:
    """Measures of two models, and how much more the ``first`` has, where that can be paired."""
    for name in (first, second):
        if name not in models:
            raise UmeError(f"--pairs: --models has no {name}")
    lines = [f"| measure | unit | {first} | {second} | difference |", "| --- " * 5 + "|"]
    for name, measure in models[first].items():
        other = models[second].get(name)
        more = None if other is None else gain(other, measure)
        if more is not None:
            cells = f"{cell(measure)} | {cell(other)} | {more}"
            lines.append(f"| {name} | {measure['unit']} | {cells} |")
    return "\n".join(lines)


def times(folders: List[str], root: Path) -> str:
    """Wall and CPU time of the stages in ``folders``, folder by folder and all together.

    What starts and checks the stages, about a second for each, is not in it.
    """
    lines = ["| folder | stages | wall time (s) | CPU time (s) |", "| --- | --- | --- | --- |"]
    sums = [0.0, 0.0]
    for folder in folders:
        records = stage_records(Path(folder))
        if not records:
            continue
        own = [
            sum(record.get(key, 0.0) for record in records) for key in ("seconds", "cpu_seconds")
        ]
        sums = [total + part for total, part in zip(sums, own)]
        stopped = [record["name"] for record in records if record.get("went_on")]
        note = f" ({', '.join(stopped)}: after a stop only)" if stopped else ""
        name = os.path.relpath(folder, root)
        lines.append(f"| {name} | {len(records)}{note} | {own[0]:.0f} | {own[1]:.0f} |")
    lines.append(f"| together | | {sums[0]:.0f} | {sums[1]:.0f} |")
    return "\n".join(lines)


def protocols(models: Dict[str, Measures]) -> str:
    """What each measure is, and what it rests on."""
    lines = []
    for name in dict.fromkeys(name for measures in models.values() for name in measures):
        m = next(measures[name] for measures in models.values() if name in measures)
        counts = [f"{m['count']} counted"] + [
            f"{m[key]} {what}" for key, what in (("num_speakers", "speakers"),
                                                 ("num_classes", "classes")) if m[key]
        ]  # fmt: skip
        protocol = f"{m['protocol']}; " if m["protocol"] else ""
        lines.append(f"- {name}: {protocol}{', '.join(counts)}")
    return "\n".join(lines)


def scored_table(scored: Dict[str, Dict[str, Any]]) -> str:
    """DER, counted speakers and SI-SDRi of scored sets, all recordings together."""
    found: Dict[str, Dict[str, str]] = {}
    for system, scores in scored.items():
        for m in scores["metrics"]:
            wanted = m["subset"] == "all" and m["name"] in DIARIZATION and m["row"] in ROWS
            if not wanted or m.get("reference") or m.get("region", "whole") != "whole":
                continue
            collar = f", collar {m['collar']:g} s" if "collar" in m else ""
            row = f"{m['name']}{collar} | {m['row']} | {m['unit']}"
            ends = m.get("interval")
            text = "undefined" if m["value"] is None else f"{m['value']:.2f}"
            found.setdefault(row, {})[system] = (
                text if not ends else f"{text} [{ends[0]:.2f}, {ends[1]:.2f}]"
            )
    lines = ["| figure | row | unit | " + " | ".join(scored) + " |"]
    lines.append("| --- | --- | --- |" + " --- |" * len(scored))
    for row, cells in found.items():
        lines.append(f"| {row} | " + " | ".join(cells.get(system, "-") for system in scored) + " |")
    return "\n".join(lines)


def draw_bits(models: Dict[str, Measures], path: Path) -> bool:
    """Token error rate of each reader over its bits per second, if any model has readers."""
    lines = {
        model: sorted(
            (m["rows"]["bits per second"], m["value"], name[len(READER) :])
            for name, m in measures.items()
            if name.startswith(READER) and "bits per second" in m["rows"]
        )
        for model, measures in models.items()
    }
    lines = {model: points for model, points in lines.items() if points}
    if not lines:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with figure(path, figsize=(7, 4)) as drawing:
        axes = drawing.subplots()
        for index, (model, points) in enumerate(lines.items()):
            residual = [point for point in points if "residual" in point[2]]
            bits, rates = [p[0] for p in residual], [p[1] for p in residual]
            axes.plot(bits, rates, "o-", color=colour(index), label=f"{model}, residual")
            for marker, kind in (("s", "product"), ("*", "continuous")):
                own = [p for p in points if p[2] == kind]
                axes.plot(
                    [p[0] for p in own], [p[1] for p in own], marker, color=colour(index),
                    label=f"{model}, {kind}",
                )  # fmt: skip
        axes.set(xscale="log", xlabel="bits per second", ylabel="token error rate (%)")
        axes.grid(True)
        axes.legend(fontsize=8)
    return True
