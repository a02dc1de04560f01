"""What a result was made with: commit, versions, machine. Goes into ``env.json``."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List

PACKAGES = ("torch", "k2", "lhotse", "numpy", "kaldialign", "meeteval", "pyannote.metrics")


def environment() -> Dict[str, Any]:
    """Commit (and whether files differ from it), versions of packages, processor, cores, memory,
    and the GPUs where torch is at work."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": gpus(),
    }


def version(package: str) -> str:
    """Version of an installed package, or ``none``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def commit() -> str:
    """Short hash of the commit that this code is at, ``+`` if files differ; else ``unknown``."""
    root = Path(__file__).resolve().parent
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=10", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor_info() -> str:
    """``/proc/cpuinfo``, or nothing where there is none."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def processor() -> str:
    """Name of the processor."""
    for line in processor_info().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def gpus() -> List[str]:
    """Names of the GPUs, where torch is loaded: to load it for this would take seconds."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
