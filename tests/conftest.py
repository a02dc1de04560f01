"""What all tests share: where the real speech lies, and which stack is under test."""

import os
from importlib import metadata
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("UME_SHARED", ROOT.parent / "shared")).resolve()


def pytest_report_header() -> List[str]:
    versions = []
    for name in ("torch", "k2", "lhotse", "numpy"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    found = SHARED if SHARED.is_dir() else "none (set UME_SHARED), its tests are skipped"
    return [", ".join(versions), f"real speech: {found}"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder whose ``data`` holds real speech; skips without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real speech in {SHARED / 'data'}; set UME_SHARED")
    return SHARED
