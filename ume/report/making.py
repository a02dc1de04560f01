"""How an experiment was made: command, code, configuration, machine, time, size."""

import hashlib
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ume.environment import environment
from ume.files import read_json


def named(given: str) -> Tuple[str, str]:
    """Name and folders of ``NAME=EXP,EXP``; no name where ``given`` is folders alone.

    Either may have ``=`` in it: the first one counts that leaves folders.
    """
    places = [-1, *(match.start() for match in re.finditer("=", given))]
    splits = [(given[: max(place, 0)], given[place + 1 :]) for place in places]
    whole = (split for split in splits if all(Path(f).is_dir() for f in split[1].split(",")))
    return next(whole, splits[min(1, len(splits) - 1)])


def making(exp: Path, root: Optional[Path] = None) -> str:
    """A Markdown list of everything that the experiment folder says about its making.

    Its command has paths from ``root`` on, or from the working directory, or from the recipes'
    folder: where somebody's folders are is nobody's business.
    """
    lines = [f"- {name}: {text}" for name, text in _facts(exp, root)]
    times = _times(exp)
    if times:
        lines += ["", "| stage | wall time (s) | CPU time (s) |", "| --- | --- | --- |", *times]
    return "\n".join(lines)


def _facts(exp: Path, root: Optional[Path]) -> Iterator[Tuple[str, str]]:
    command = exp / "command.sh"
    if command.exists():
        text = command.read_text().replace(f"{Path.cwd()}/", "")
        if root is not None:
            text = text.replace(f"{root}/", "")
        text = re.sub(r"/[^\s,]*/egs/", "egs/", text)
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        yield "command", "; ".join(f"`{line}`" for line in lines)
    config = exp / "config.yaml"
    if config.exists():
        digest = hashlib.sha256(config.read_bytes()).hexdigest()
        yield "configuration", f"config.yaml, SHA-256 {digest[:12]}"
        seed = [ln for ln in config.read_text().splitlines() if ln.startswith("seed:")]
        yield from (("seed", line.partition(":")[2].strip()) for line in seed)
    env = exp / "env.json"
    if env.exists():
        yield "trained with", flat(read_json(env))
    yield "reported with", flat(environment())
    train = exp / "train.json"
    if train.exists():
        yield "training", flat(read_json(train))


def flat(value: Any) -> str:
    """JSON as a phrase.

    >>> flat({"steps": 100, "seconds": 12.345, "torch": {"threads": 2}, "gpus": []})
    'steps 100, seconds 12.3, torch (threads 2)'
    """
    if isinstance(value, dict):
        return ", ".join(f"{k} {_inner(v)}" for k, v in value.items() if v not in (None, [], {}))
    if isinstance(value, list):
        return ", ".join(flat(item) for item in value)
    return f"{value:.1f}" if isinstance(value, float) and abs(value) >= 1 else str(value)


def _inner(value: Any) -> str:
    return f"({flat(value)})" if isinstance(value, dict) else flat(value)


def _times(exp: Path) -> List[str]:
    """Lines of the table of stages, in the order in which they ended."""
    return [
        f"| {_name(record)} | {record['seconds']:.0f} | {_seconds(record)} |"
        for record in stage_records(exp)
    ]


def stage_records(folder: Path) -> List[Dict[str, Any]]:
    """What ``ume stage`` has noted of each stage in ``folder``, in the order of their ends."""
    found = [
        (path.stat().st_mtime, path.stem, read_json(path)) for path in folder.glob(".done/*.json")
    ]
    ordered = sorted(found, key=lambda item: item[:2])
    return [{"name": stem, **record} for _, stem, record in ordered if "seconds" in record]


def _name(record: Dict[str, Any]) -> str:
    return record["name"] + (", after a stop" if record.get("went_on") else "")


def _seconds(record: Dict[str, Any]) -> str:
    return f"{record['cpu_seconds']:.0f}" if "cpu_seconds" in record else "not measured"
