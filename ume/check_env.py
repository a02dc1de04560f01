"""Print versions and what the machine has, what is missing, and what to do about it."""

import importlib
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import Iterator, List

SETUP = "run utils/setup.sh"
K2_FOR_TORCH2 = "none for torch 2.x: no lattices; utils/setup.sh --stack torch2 --k2 SPEC"
PACKAGES = {  # distribution on the package index: module
    "numpy": "numpy",
    "torch": "torch",
    "k2": "k2",
    "lhotse": "lhotse",
    "sentencepiece": "sentencepiece",
    "soundfile": "soundfile",
    "meeteval": "meeteval",
    "pyannote.metrics": "pyannote.metrics",
    "kaldialign": "kaldialign",
    "kaldilm": "kaldilm",
    "kaldingram": "kaldingram",
    "safetensors": "safetensors",
    "tensorboard": "tensorboard",
    "matplotlib": "matplotlib",
    "espeakng-loader": "",  # GPL: never imported here
    "jsonargparse": "jsonargparse",
    "kaldifst": "kaldifst",
    "kaldi-decoder": "kaldi_decoder",
    "scipy": "scipy",
    "pyloudnorm": "pyloudnorm",
    "pystoi": "pystoi",
    "pyyaml": "yaml",
    "tqdm": "tqdm",
}
PROGRAMS = {
    "git": "results will not name the commit they were made from; install git",
    "bats": "tests/run.sh installs it",
    "flock": "two setups at a time are not kept apart; install util-linux",
    "ffmpeg": "only corpora in m4a need it; install ffmpeg",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``fix`` is empty where all is well."""

    name: str
    state: str
    fix: str = ""
    required: bool = True

    def __str__(self) -> str:
        mark = "" if not self.fix else "MISSING: " if self.required else "optional: "
        return f"{self.name:<18} {self.state}{' -- ' if self.fix else ''}{mark}{self.fix}"


def command_line(arguments: List[str]) -> int:
    """``ume check-env``; the exit code is 1 where something required is missing.

    It takes no options, and so needs no package to read them: it must run where none is there.
    """
    if arguments:
        print(f"usage: ume check-env: {__doc__}")
        return 0 if arguments[0] in ("-h", "--help") else 2
    missing = 0
    for check in (python, packages, whisper, machine, programs):
        for finding in check():
            print(finding)
            missing += bool(finding.fix) and finding.required
    print(f"{missing} required missing" if missing else "ready")
    return 1 if missing else 0


def python() -> Iterator[Finding]:
    fix = "" if sys.version_info >= (3, 10) else f"Python 3.11 is meant; {SETUP}"
    yield Finding("python", f"{platform.python_version()} at {sys.executable}", fix)


def packages() -> Iterator[Finding]:
    for name, module in PACKAGES.items():
        try:
            version = metadata.version(name)
            if module:
                importlib.import_module(module)
        except metadata.PackageNotFoundError:
            if name == "k2" and has_torch2():
                yield Finding(name, "not installed", K2_FOR_TORCH2, required=False)
            else:
                yield Finding(name, "not installed", SETUP)
        except Exception as error:  # a package built for another torch fails in its own way
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            yield Finding(name, f"{version} does not load ({reason})", SETUP)
        else:
            yield Finding(name, version)


def has_torch2() -> bool:
    try:
        return int(metadata.version("torch").split(".")[0]) >= 2
    except metadata.PackageNotFoundError:
        return False


def whisper() -> Iterator[Finding]:
    try:
        from ume.errors import UmeError
        from ume.pretrained.whisper import find_whisper
    except ImportError:
        return  # reported as a missing package
    try:
        yield Finding("Whisper weights", str(find_whisper()))
    except UmeError as error:
        yield Finding("Whisper weights", "not found", str(error), required=False)


def machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cores", str(cores))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("memory", gigabytes(memory))
    yield Finding("disk", f"{gigabytes(shutil.disk_usage('.').free)} free in {os.getcwd()}")
    yield Finding("GPU", gpu())


def gpu() -> str:
    """Names of the GPUs that the driver reports, and whether torch can use them."""
    if not shutil.which("nvidia-smi"):
        return "none; training runs on the CPU"
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    names = subprocess.run(query, capture_output=True, text=True).stdout.strip().splitlines()
    try:
        import torch

        usable = torch.cuda.is_available()
    except Exception:
        usable = False
    hint = "" if usable else " (not usable by this torch; utils/setup.sh --stack torch2)"
    return "; ".join(names) + hint


def programs() -> Iterator[Finding]:
    for name, fix in PROGRAMS.items():
        path = shutil.which(name)
        yield Finding(name, path or "not found", "" if path else fix, required=False)


def gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
