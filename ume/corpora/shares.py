"""Work on the files of a corpus by jobs: each writes ``<job>.json``, which are read together."""

import json
from pathlib import Path
from typing import Any, Dict

from ume.errors import UmeError
from ume.files import PathLike, existing, read_json, write_text


def write_share(folder: PathLike, job: int, num_jobs: int, entries: Dict[str, Any]) -> None:
    """Write what one job has found, an entry a line, to ``<job>.json``."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(e)}" for name, e in entries.items())
    text = f'{{"num_jobs": {num_jobs}, "entries": {{\n{lines}\n}}}}\n'
    write_text(Path(folder) / f"{job}.json", text)


def read_shares(folder: PathLike, made_by: str) -> Dict[str, Any]:
    """The entries of all jobs, as many as the first one tells, sorted by name.

    Files of an earlier run with more jobs are left out.

    Raises:
        UmeError: a job has not run, or is of a run with another number of jobs.
    """
    path = Path(folder) / "1.json"
    num_jobs = read_json(existing(path, made_by))["num_jobs"]
    entries: Dict[str, Any] = {}
    for job in range(1, num_jobs + 1):
        path = Path(folder) / f"{job}.json"
        found = read_json(existing(path, made_by))
        if found["num_jobs"] != num_jobs:
            raise UmeError(f"{path} is of another run; {made_by} --force true makes all anew")
        entries.update(found["entries"])
    return dict(sorted(entries.items()))
