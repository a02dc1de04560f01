"""How an experiment was made: command, code, configuration, machine, time, size."""

import hashlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from ume.files import read_json

CODE = Path(__file__).resolve().parents[2]


def making(exp: Path) -> str:
    """A Markdown list of everything that the experiment folder says about its making."""
    lines = [f"- {name}: {text}" for name, text in _facts(exp)]
    times = _times(exp)
    if times:
        lines += ["", "| stage | wall time (s) | CPU time (s) |", "| --- | --- | --- |", *times]
    return "\n".join(lines)


def _facts(exp: Path) -> Iterator[Tuple[str, str]]:
    command = exp / "command.sh"
    if command.exists():
        lines = [ln for ln in command.read_text().splitlines() if ln and not ln.startswith("#")]
        yield "command", "; ".join(f"`{line}`" for line in lines)
    yield "code", git_commit(CODE)
    config = exp / "config.yaml"
    if config.exists():
        digest = hashlib.sha256(config.read_bytes()).hexdigest()
        yield "configuration", f"config.yaml, SHA-256 {digest[:12]}"
        seed = [ln for ln in config.read_text().splitlines() if ln.startswith("seed:")]
        yield from (("seed", line.partition(":")[2].strip()) for line in seed)
    env = exp / "env.json"
    if env.exists():
        yield "environment", flat(read_json(env))
    yield "machine of the scoring", f"{cpu_model()}, {os.cpu_count()} cores"
    train = exp / "train.json"
    if train.exists():
        yield "training", flat(read_json(train))


def git_commit(folder: Path) -> str:
    """The commit of the code, and whether files differ from it; "unknown" without git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no").strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown commit"
    return f"commit {commit[:12]}{', with uncommitted changes' if changed else ''}"


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def cpu_model() -> str:
    """The CPU's name as Linux knows it, else the architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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
    records: List[Tuple[float, Dict[str, Any], str]] = []
    for path in exp.glob(".done/*.json"):
        record = read_json(path)
        if "seconds" in record:
            records.append((path.stat().st_mtime, record, path.stem))
    return [
        f"| {record.get('name', stem)} | {record['seconds']:.0f} | {_seconds(record)} |"
        for _, record, stem in sorted(records, key=lambda item: (item[0], item[2]))
    ]


def _seconds(record: Dict[str, Any]) -> str:
    return f"{record['cpu_seconds']:.0f}" if "cpu_seconds" in record else "not measured"
