"""The recipe in a smoke size, for tests that run it."""

import gzip
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Set

from ume.files import read_json
from ume.stage import LOCKED

RECIPE = Path(__file__).resolve().parents[2] / "egs" / "mini_librimix"
SIZE = ["--encoder", "e-branchformer", "--conf", str(RECIPE / "conf" / "smoke.yaml")]
SIZE += ["--speakers", "4,4,4", "--utterances", "4", "--mixtures", "train=24 dev=4 test=6"]
SETS = ("test_max", "test_min", "test_part")
STEPS, NUM_TEST = 12, 6  # of smoke.yaml and SIZE


def environment() -> Dict[str, str]:
    """The one that pytest runs in, with one thread a process, as two run at a time."""
    values = {**os.environ, "UME_ENV": sys.prefix, "OMP_NUM_THREADS": "1"}
    values.pop(LOCKED, None)
    values.pop("PYTHONDONTWRITEBYTECODE", None)  # a run starts Python two hundred times
    return values


@dataclass
class Recipe:
    """``run.sh`` with a data and an experiment folder inside ``folder``."""

    folder: Path
    options: List[str] = field(default_factory=list)
    num_speakers: str = "2"

    @property
    def data(self) -> Path:
        return self.folder / "data of this"

    @property
    def mix(self) -> Path:
        return self.data / f"mix{self.num_speakers.replace(',', '+')}"

    @property
    def num_streams(self) -> int:
        return int(self.num_speakers[-1])

    @property
    def exp(self) -> Path:
        return self.folder / f"exp {self.num_speakers}"

    def command(self, *options: str) -> List[str]:
        """Its command line, from stage 1 on: the environment is there."""
        own = ["--data", str(self.data), "--exp", str(self.exp)]
        own += ["--num-speakers", self.num_speakers, "--stage", "1"]
        return [str(RECIPE / "run.sh"), *own, *SIZE, *self.options, *options]

    def run(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        return subprocess.run(
            self.command(*options), capture_output=True, text=True, env=environment()
        )

    def succeed(self, *options: str) -> str:
        """Run it to a good end; what it said."""
        run = self.run(*options)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def be_killed(self, seconds: float) -> None:
        """Run it and end it and its children by SIGKILL after ``seconds``."""
        with subprocess.Popen(
            self.command(), stdout=subprocess.DEVNULL, env=environment(), start_new_session=True
        ) as process:
            try:
                assert process.wait(timeout=seconds) == 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def scores(self) -> Dict[str, Any]:
        """All figures of all sets."""
        return {name: read_json(self.exp / name / "scores.json")["metrics"] for name in SETS}

    def tables(self) -> Dict[str, str]:
        """Figures of the single recordings."""
        return {name: (self.exp / name / "per_utterance.csv").read_text() for name in SETS}

    def manifests(self) -> Dict[str, bytes]:
        """What is in ``data``, but for the recipe's own folder in paths, logs and records."""
        found = {}
        for path in files(self.data):
            content = (self.data / path).read_bytes()
            if path.endswith(".gz"):
                content = gzip.decompress(content)
            if not re.match(r"\.|log/|lang_char/(L|L_disambig|HLG)\.pt", path):
                found[path] = content.replace(str(self.folder).encode(), b"")
        return found


def files(folder: Path) -> Set[str]:
    """Paths below ``folder``, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
