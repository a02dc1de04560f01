"""Compare experiments that were scored on the same recordings: differences, with paired intervals.

Several folders of one system, such as its training seeds, are joined by commas; their errors are
pooled recording by recording. Below the differences: how large each system is, and how fast.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from ume.errors import UmeError
from ume.files import existing, read_json, recorded, write_text
from ume.report.making import making, named
from ume.report.report import HEAD, one_line, publish
from ume.scoring.bootstrap import CONFIDENCE, RESAMPLES, difference
from ume.scoring.conventions import DIGITS, SUBSETS, column, label

Counts = Tuple[np.ndarray, np.ndarray]  # numerators and denominators, each (R,)
OF_REFERENCE = ("DER", "cpWER", "ORC-WER")
"""Figures whose denominators are the reference's seconds or words."""


@dataclass
class Config:
    """Options of ``ume compare``."""

    exps: List[str]
    """Experiment folders (`EXP`, or `NAME=EXP,EXP,...` for several seeds of one system); each is
    compared with the first."""
    sets: str = "test_max test_min"
    """Names of the sets, with spaces between."""
    figures: str = "DER_hypothesis_0.0 SI-SDRi_separated_whole cpWER_separated_1best"
    """Columns of per_utterance.csv to compare, with spaces between; a set may lack some. Of
    `A|B` each system gives the first one that it has: words of different methods, for one."""
    out: str = ""
    """Markdown file to write; empty: print the tables."""
    title: str = "Differences"
    """Title of the section."""
    publish: str = ""
    """File to copy the section to; only the section of the same title is replaced."""


class System:
    """The scores of one system on one set, its seeds pooled."""

    def __init__(self, given: str, name: str) -> None:
        title, folders = named(given)
        paths = [existing(Path(f) / name / "ratios.json", "steps/score.sh")
                 for f in folders.split(",")]  # fmt: skip
        self.title = title or Path(folders.split(",")[0]).name
        self.seeds = [read_json(path) for path in paths]
        self.first, self.path = self.seeds[0], paths[0]
        scored = [read_json(existing(path.with_name("scores.json"), "steps/score.sh"))
                  for path in paths]  # fmt: skip
        self.made = [scores["hypothesis"] for scores in scored]
        self.protocols = [scores.get("protocol", {}) for scores in scored]
        self.labels = {column(metric): label(metric) for metric in scored[0].get("metrics", [])}
        self.models = [recorded(made["model"], path) for made, path in zip(self.made, paths)]
        for path, other, protocol in zip(paths, self.seeds, self.protocols):
            self.check(path, other, protocol)

    def check(self, path: Path, other: Dict[str, Any], protocol: Dict[str, str]) -> None:
        """Refuse scores of other recordings, or of the same against other references."""
        both = f"{path} and {self.path} are not of the same"
        if other["recordings"] != self.first["recordings"]:
            raise UmeError(f"{both} recordings; use the same cuts")
        for key in ("reference", "normaliser"):
            if protocol.get(key) != self.protocols[0].get(key):
                raise UmeError(f"{both} {key}; score both again, on the same cuts")
        for name in set(other["figures"]) & set(self.first["figures"]):
            mine, theirs = (
                ratios["figures"][name]["denominators"] for ratios in (self.first, other)
            )
            if name.startswith(OF_REFERENCE) and not np.allclose(mine, theirs):
                raise UmeError(f"{both} references ({name}); score both again, on the same cuts")

    def has(self, figure: str) -> str:
        """The column that this system gives for ``figure``; empty: none."""
        return next((name for name in figure.split("|") if name in self.first["figures"]), "")

    def counts(self, figure: str, chosen: np.ndarray) -> Optional[Counts]:
        """Of the ``chosen`` (R,) recordings; None where the figure was not scored."""
        name = self.has(figure)
        columns = [seed["figures"].get(name) for seed in self.seeds]
        if not all(columns):
            return None
        top, bottom = (
            np.sum([column[side] for column in columns], axis=0)[chosen]
            for side in ("numerators", "denominators")
        )
        return (top, bottom) if bottom.sum() else None

    def size(self) -> str:
        """Millions of parameters, such as ``7.1``; scores of older versions do not know them."""
        return f"{self.made[0]['parameters'] / 1e6:.1f}" if "parameters" in self.made[0] else "-"

    def effort(self) -> str:
        """Minutes of CPU time of inference for an hour of audio, such as ``4.0``."""
        took, lasts = (
            sum(made[name] for made in self.made) for name in ("cpu_seconds", "audio_seconds")
        )
        return f"{60 * took / lasts:.1f}"


def main(config: Config) -> None:
    """Write or print a table for each set and subset."""
    if len(config.exps) < 2:
        raise UmeError("--exps: name at least two experiments")
    title = one_line(config.title)
    names = config.sets.split()
    if not names:
        raise UmeError("--sets is empty; name sets such as 'test_max test_min'")
    sets = {name: [System(given, name) for given in config.exps] for name in names}
    parts = [f"## {title}"]
    parts += [compare(systems, name, config.figures.split()) for name, systems in sets.items()]
    parts += ["### How it was made", *trainings(sets[names[0]])]
    text = "\n\n".join(parts) + "\n"
    if config.out:
        write_text(config.out, f"{HEAD}\n{text}")
    print(f"{config.out}: {config.sets}" if config.out else text)
    publish(config.publish, title, text)


def trainings(systems: List[System]) -> Iterator[str]:
    """How each model was trained, once; paths from the folder on that holds its experiments."""
    told = set()
    for system in systems:
        for model in system.models:
            if model not in told:
                told.add(model)
                yield f"#### {system.title}: {model.parent.name}/{model.name}"
                yield making(model, model.parent.parent)


def compare(systems: List[System], name: str, asked: List[str]) -> str:
    """The tables of one set as Markdown, of the figures that are ``asked`` for."""
    base = systems[0]
    for system in systems[1:]:
        base.check(system.path, system.first, system.protocols[0])
    figures = [figure for figure in asked if base.has(figure)]
    if not figures:
        raise UmeError(
            f"{base.path} has none of the figures {' '.join(asked)}; it has "
            f"{', '.join(base.first['figures'])}"
        )
    blocks = [
        f"### {name}",
        f"In brackets: {CONFIDENCE} % interval of the difference to {base.title}, paired bootstrap "
        f"over speaker pairs, {RESAMPLES} resamples; pairs that share a speaker count as "
        f"independent, which makes it too narrow where speakers are few. {provenance(systems)}",
    ]
    sexes = np.array(base.first["sexes"])
    for subset in SUBSETS:
        chosen = (sexes == subset) if subset != "all" else np.ones(len(sexes), dtype=bool)
        if chosen.any():
            blocks.append(f"{subset}, {extent(np.array(base.first['pairs'])[chosen].tolist())}")
            blocks.append(table(systems, figures, chosen))
    blocks.append(costs(systems))
    return "\n\n".join(blocks)


def provenance(systems: List[System]) -> str:
    """How many trainings stand behind each system, and how all were scored."""
    protocol = systems[0].protocols[0]
    trainings = "; ".join(f"{system.title}: {len(system.seeds)}" for system in systems)
    told = {key: protocol.get(key, "unknown") for key in ("reference", "normaliser")}
    return (
        f"Trainings, a seed each: {trainings}. Reference: {told['reference']}; normaliser of "
        f"words: {told['normaliser']}."
    )


def extent(pairs: List[str]) -> str:
    """Of a set, given the speakers of each mixture.

    >>> extent(["ann bob", "ann bob", "bob eve"])
    '3 mixtures, 3 speakers, 2 pairs'
    """
    speakers = {name for pair in pairs for name in pair.split()}
    return f"{len(pairs)} mixtures, {len(speakers)} speakers, {len(set(pairs))} pairs"


def table(systems: List[System], figures: List[str], chosen: np.ndarray) -> str:
    """A system per line, a figure per column."""
    units = [systems[0].first["figures"][systems[0].has(figure)]["unit"] for figure in figures]
    labels = {name: label for system in systems for name, label in system.labels.items()}
    heads = [
        f"{' or '.join(labels.get(name, name) for name in figure.split('|'))}, {unit}"
        for figure, unit in zip(figures, units)
    ]
    lines = ["| system | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(figures)]
    pairs = np.array(systems[0].first["pairs"])[chosen].tolist()
    for system in systems:
        cells = [
            cell(
                None if system is systems[0] else systems[0].counts(figure, chosen),
                system.counts(figure, chosen),
                pairs,
                DIGITS[unit],
            )
            for figure, unit in zip(figures, units)
        ]
        lines.append(f"| {system.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def costs(systems: List[System]) -> str:
    """Size and speed of each system."""
    lines = [
        "| system | parameters, M | CPU time of inference for an hour of audio, min |",
        "| --- | --- | --- |",
        *(f"| {system.title} | {system.size()} | {system.effort()} |" for system in systems),
        "",
        "Parameters and time are those of inference: decoding of words comes on top.",
    ]
    return "\n".join(lines)


def cell(base: Optional[Counts], counts: Optional[Counts], pairs: List[str], digits: int) -> str:
    """Such as ``5.9 (+0.5 [0.1, 0.9])``; without a ``base`` the value alone."""
    if counts is None:
        return "not run"
    rate = counts[0].sum() / counts[1].sum()
    text = f"{rate:.{digits}f}"
    if base is None:
        return text
    change = rate - base[0].sum() / base[1].sum()
    limits = difference(base, counts, pairs)
    text += f" ({change:+.{digits}f}"
    return text + (f" [{limits[0]:.{digits}f}, {limits[1]:.{digits}f}])" if limits else ")")
