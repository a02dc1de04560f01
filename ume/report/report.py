"""Make RESULTS.md of an experiment folder from its scores, and publish it."""

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterable, Optional

from ume.errors import UmeError
from ume.files import existing, read_json, write_text
from ume.report.making import making
from ume.report.tables import NOT_RUN, bins_table, protocol, table

HEAD = "# Results\n\nGenerated; do not edit.\n"


@dataclass
class Config:
    """Options of ``ume report``."""

    exp: str
    """Experiment folder; RESULTS.md is written there."""
    sets: str = "test_max test_min"
    """Names of the sets, with spaces between; those without scores are listed as not run."""
    title: str = "Results"
    """Title of the experiment, by which a published section is found again."""
    publish: str = ""
    """File to copy the tables to, such as RESULTS.md of a recipe: only the section of the same
    title is replaced."""


def main(config: Config) -> None:
    """Write ``RESULTS.md``, and the published copy."""
    title = one_line(config.title)
    exp = existing(config.exp, made_by="steps/train.sh").resolve()
    sets = config.sets.split()
    if not sets:
        raise UmeError("--sets is empty; name sets such as 'test_max test_min'")
    text = section(exp, sets, title)
    write_text(exp / "RESULTS.md", f"{HEAD}\n{text}{pictures(exp)}")
    print(f"{exp / 'RESULTS.md'}: {', '.join(sets)}")
    publish(config.publish, title, text)


def section(exp: Path, sets: Iterable[str], title: str) -> str:
    """One experiment as a Markdown section: a table per set, the protocol, how it was made."""
    parts = [f"## {title}"]
    scored = {name: exp / name / "scores.json" for name in sets}
    times = [path.stat().st_mtime for path in scored.values() if path.exists()]
    if times:
        date = datetime.fromtimestamp(max(times), tz=timezone.utc)
        folder = f"{exp.parent.name}/{exp.name}"
        parts.append(
            f"Scored on {date:%Y-%m-%d} from `{folder}`. In brackets: 95 % intervals "
            "over pairs of speakers; those that share one count as independent, which makes them "
            "too narrow where speakers are few."
        )
    for name, path in scored.items():
        if path.exists():
            scores = read_json(path)
            tables = filter(None, (table(scores), bins_table(scores)))
            parts += [f"### {name}", *tables, "Protocol:", protocol(scores)]
        else:
            parts += [f"### {name}", f"{NOT_RUN}: there is no {name}/scores.json"]
    parts += ["### How it was made", making(exp)]
    return "\n\n".join(parts) + "\n"


def pictures(exp: Path) -> str:
    """Links to the plots of ``ume plot``, relative to the experiment folder."""
    links = [f"![{p.stem}]({p.relative_to(exp)})" for p in sorted((exp / "plots").glob("*.png"))]
    return "\n### Plots\n\n" + "\n\n".join(links) + "\n" if links else ""


def one_line(title: str) -> str:
    """A title by which its section is found again; :class:`UmeError` unless it is one line."""
    if "\n" in title or not title.strip():
        raise UmeError(f"--title {title!r}: give one line of text")
    return title.strip()


def publish(file: str, title: str, text: str) -> None:
    """Put the section ``## title`` into ``file``; "": nowhere."""
    if file:
        path = Path(file)
        before = path.read_text(encoding="utf-8") if path.exists() else HEAD
        write_text(path, replace_section(before, title, text))
        print(f"{path}: section {title!r}")


def replace_section(document: str, title: str, text: str) -> str:
    """``document`` with its section ``## title`` replaced by ``text``, or with it at the end.

    >>> document = "# R\\n\\n## A\\n\\nold\\n\\n## B\\n\\nkept\\n"
    >>> print(replace_section(document, "A", "## A\\n\\nnew\\n"), end="")
    # R
    <BLANKLINE>
    ## A
    <BLANKLINE>
    new
    <BLANKLINE>
    ## B
    <BLANKLINE>
    kept
    """
    head, *sections = re.split(r"(?m)^(?=## )", document)
    position: Optional[int] = next(
        (i for i, s in enumerate(sections) if s.splitlines()[0].strip() == f"## {title}"), None
    )
    if position is None:
        sections.append(text)
    else:
        sections[position] = text
    return "\n\n".join(part.strip() for part in [head, *sections]) + "\n"
