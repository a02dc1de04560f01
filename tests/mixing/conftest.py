"""Real LibriMix: the official rows whose sources are at hand, with noise made for the tests."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest
import soundfile

NOISE_SECONDS = (1.3, 3.1, 7.0, 36.0)  # shorter than sources, once and many times, and longer


@pytest.fixture(scope="session")
def librispeech(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The speech at hand, laid out as LibriSpeech."""
    folder = tmp_path_factory.mktemp("unpacked")
    unpack = [sys.executable, str(shared / "data/unpack.py"), str(folder), "--raw"]
    subprocess.run(unpack, check=True, capture_output=True)
    return folder / "LibriSpeech"


@pytest.fixture(scope="session")
def official(shared: Path, librispeech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Metadata folder: rows of the official dev-clean CSVs whose sources are all at hand."""
    folder = tmp_path_factory.mktemp("LibriMix") / "metadata"
    for size in (2, 3):
        name = f"Libri{size}Mix/libri{size}mix_dev-clean.csv"
        rows = [
            row
            for row in read_rows(shared / "data/librimix_metadata" / name)
            if all((librispeech / row[f"source_{k}_path"]).exists() for k in range(1, size + 1))
        ]
        write_rows(folder / name, rows)
    return folder


@pytest.fixture(scope="session")
def wham(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise under the names of those rows: two channels, a few lengths."""
    folder = tmp_path_factory.mktemp("wham") / "wham_noise"
    rng = np.random.default_rng(7)
    for number, seconds in enumerate(NOISE_SECONDS):
        noise = 0.1 * rng.standard_normal((round(seconds * 16000), 2))
        (folder / "cv").mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"cv/{number}.wav", noise, 16000, "PCM_16")
    names = {row["noise_path"] for path in official.glob("*/*.csv") for row in read_rows(path)}
    for number, name in enumerate(sorted(names)):
        (folder / name).symlink_to(folder / f"cv/{number % len(NOISE_SECONDS)}.wav")
    return folder


def read_rows(path: Path) -> List[Dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: List[Dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
