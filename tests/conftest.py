"""What all tests share: where the real speech lies, and which stack is under test."""

import os
from importlib import metadata
from pathlib import Path
from typing import List

import numpy as np
import pytest
import soundfile
from hypothesis import settings

settings.register_profile("ume", deadline=None, derandomize=True)  # the same cases everywhere
settings.load_profile("ume")

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


@pytest.fixture(scope="session")
def icefall() -> None:
    """Skips without icefall."""
    pytest.importorskip("icefall", reason="no icefall: set ICEFALL_ROOT, then source path.sh")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Files in icefall's formats that no code of ours has written."""
    return ROOT / "tests" / "golden" / "icefall"


def write_voice(path: Path, seconds: float, pitch: float, seed: int) -> None:
    """A voice-like tone in bursts with pauses, 16 kHz FLAC."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16000)) / 16000
    tone = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 20))
    points = np.arange(0, seconds + 1, 0.5)
    loud = np.interp(time, points, rng.uniform(0.3, 1.0, len(points)))
    loud[(time < 0.2) | (time > seconds - 0.2) | (abs(time - seconds / 2) < 0.25)] = 0.0
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * tone * loud, 16000, subtype="PCM_16")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus in LibriSpeech's layout: 12 speakers of both sexes, 3 utterances each."""
    folder = tmp_path_factory.mktemp("corpus folder") / "LibriSpeech"
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for speaker in range(101, 113):
        sex = "FM"[speaker % 2]
        chapter = folder / "dev-clean" / str(speaker) / "7"
        lines.append(f"{speaker}  | {sex} | dev-clean        |  8.00 | Somebody | Else")
        texts = []
        for number in range(3):
            name = f"{speaker}-7-{number:04d}"
            seconds = 2.1 + 0.3 * number + 0.05 * (speaker % 7)
            write_voice(chapter / f"{name}.flac", seconds, 120 if sex == "M" else 210, speaker)
            texts.append(f"{name} WORD{'ABC'[number]} SAID\n")
        (chapter / f"{speaker}-7.trans.txt").write_text("".join(texts))
    (folder / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def data(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of ``corpus``."""
    from ume.corpora.librispeech import Config, main

    folder = tmp_path_factory.mktemp("data") / "real"
    main(Config(corpus=str(corpus), output=str(folder)))
    return folder


@pytest.fixture(scope="session", params=[2, 3])
def mixtures(data: Path, tmp_path_factory: pytest.TempPathFactory, request) -> Path:
    """Mixture folders of ``data`` for 2 and 3 speakers."""
    from ume.mixing.simulate import Config, main

    folder = tmp_path_factory.mktemp("mix") / f"mix{request.param}"
    main(Config(str(data), str(folder), request.param, "train=12 test=4"))
    return folder
