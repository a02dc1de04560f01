"""Full and read-only disks: one line that names the file, and nothing half-written."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, List, Tuple

import pytest

Disk = Callable[..., Tuple["subprocess.CompletedProcess[str]", List[str]]]

SCRIPT = """
mount -t tmpfs -o "$1" tmpfs "$2" || exit 99
cd "$2" && shift 2
"$@"
code=$?
find . -type f
exit $code
"""

WRITERS = """
import numpy, torch
from ume.audio import write_flac
from ume.models.files import save_model
from ume.models.ume import UMEConfig
from ume.report.style import figure
from ume.training.checkpoint import save_checkpoint

noise = torch.rand(100_000)

def plot():
    with figure("d.png", figsize=(9, 9)) as drawing:
        drawing.gca().imshow(noise.view(250, 400))

for write in (
    lambda: write_flac("a.flac", noise.numpy()),
    lambda: save_checkpoint("b.pt", {"model": {"weight": noise}}),
    lambda: save_model(".", UMEConfig(), {"weight": noise}),
    plot,
):
    try:
        write()
    except OSError as error:
        print("errno", error.errno, "at", error.filename)
"""


@pytest.fixture
def on_disk(tmp_path: Path, root: Path) -> Disk:
    """Run a command in a new disk with mount options; its end, and the files it left there."""

    def run(options: str, *command: str) -> Tuple["subprocess.CompletedProcess[str]", List[str]]:
        done = subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]
            + [options, str(tmp_path), *command],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        )
        lines = done.stdout.splitlines()
        return done, [line for line in lines if line.startswith("./")]

    try:
        probe, _ = run("size=1m", "true")
    except FileNotFoundError:
        pytest.skip("there is no unshare on this machine to mount a small disk with")
    if probe.returncode:
        pytest.skip(f"no small disk can be mounted on this machine: {probe.stderr.strip()}")
    return run


def ume(*arguments: str) -> List[str]:
    return [sys.executable, "-m", "ume", *arguments]


def error_of(run: "subprocess.CompletedProcess[str]") -> str:
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    return line


def test_a_corpus_that_does_not_fit(on_disk: Disk) -> None:
    options = [f"--{part}-speakers=2" for part in ("train", "dev", "test")]
    command = ume("prepare-embedded", "--output", "a corpus", "--utterances=2", *options)
    run, left = on_disk("size=100k", *command)
    assert error_of(run).startswith("ume prepare-embedded: error: no space left while writing ")
    assert "/audio/" in error_of(run) and "free some and run the same command" in error_of(run)
    assert left == []


def test_mixtures_that_do_not_fit(on_disk: Disk, data: Path) -> None:
    command = ume("simulate", "--data", str(data), "--output", "mix", "--mixtures", "train=12")
    run, left = on_disk("size=8k", *command)
    assert error_of(run).startswith("ume simulate: error: no space left while writing ")
    assert left == []


def test_every_kind_of_file_says_that_the_disk_is_full(on_disk: Disk) -> None:
    """Left to themselves libsndfile says "System error", torch 1.13 aborts the process."""
    run, left = on_disk("size=50k", sys.executable, "-c", WRITERS)
    assert run.returncode == 0, run.stderr
    said = [line for line in run.stdout.splitlines() if line.startswith("errno")]
    names = ("a.flac", "b.pt", "model.safetensors", "d.png")
    assert said == [f"errno 28 at {name}" for name in names]
    assert left == ["./model.yaml"]


@pytest.mark.parametrize(
    "verb",
    [
        ["simulate", "--data", "DATA", "--output", "out/mix", "--mixtures", "test=2"],
        ["prepare-lang", "--text", "DATA/text_train", "--lang", "lang"],
        ["stage", "--dir", "exp", "--name", "x", "--", "true"],
    ],
)
def test_a_folder_that_cannot_be_written_to(on_disk: Disk, data: Path, verb: List[str]) -> None:
    run, left = on_disk("size=1m,ro", *ume(*(word.replace("DATA", str(data)) for word in verb)))
    assert error_of(run).startswith(f"ume {verb[0]}: error: no permission for ")
    assert error_of(run).endswith("; choose another folder or change its permissions")
    assert left == []


def test_a_log_that_does_not_fit(on_disk: Disk, root: Path) -> None:
    command = [sys.executable, str(root / "utils" / "run.py"), "log/x.log"]
    run, _ = on_disk("size=8k", *command, "head", "-c", "9000", "/dev/zero")
    assert run.returncode == 2
    assert run.stderr == "run.py: error: cannot write the log log/x.log: No space left on device\n"
