"""Tables of LibriSpeech's and WHAM!'s files, as LibriMix's metadata has them: one row per file."""

import csv
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Dict, List, Sequence

from ume.activity import SAMPLING_RATE
from ume.corpora.reading import read_header
from ume.errors import UmeError
from ume.files import atomic_path

SHORTEST = 3 * SAMPLING_RATE  # samples; shorter files are left out
NOISE_FOLDERS = {"dev": "cv", "test": "tt", "train": "tr"}  # of WHAM!, by kind of subset
AUGMENTED = ("sp08", "sp12")  # in the names of noise that LibriMix has sped up
Row = Dict[str, Any]


def librispeech_table(
    corpus: Path, subset: str, sexes: Dict[str, str], pool: Executor
) -> List[Row]:
    """Rows (speaker_ID, sex, subset, length, origin_path) of a subset, from short to long.

    LibriMix leaves the order of files of one length to chance; here it is that of their paths.
    """
    paths = sorted((corpus / subset).glob("*/*/*.flac"))
    unknown = sorted({path.parts[-3] for path in paths} - set(sexes))
    if unknown:
        raise UmeError(f"{corpus / 'SPEAKERS.TXT'} lacks speaker {unknown[0]}; add the line")
    lengths = pool.map(lambda path: int(read_header(path).frames), paths)
    rows = [
        {
            "speaker_ID": path.parts[-3],
            "sex": sexes[path.parts[-3]],
            "subset": subset,
            "length": length,
            "origin_path": str(path.relative_to(corpus)),
        }
        for path, length in zip(paths, lengths)
    ]
    return long_enough(rows, corpus / subset)


def wham_table(wham: Path, kind: str, pool: Executor) -> List[Row]:
    """Rows (noise_ID, subset, length, augmented, origin_path) of ``dev``, ``test`` or ``train``.

    From short to long, files of one length by path.
    """
    folder = wham / NOISE_FOLDERS[kind]
    paths = sorted(folder.rglob("*.wav"))
    lengths = pool.map(lambda path: int(read_header(path, mono=False).frames), paths)
    rows = [
        {
            "noise_ID": path.name,
            "subset": NOISE_FOLDERS[kind],
            "length": length,
            "augmented": any(mark in path.name for mark in AUGMENTED),
            "origin_path": str(path.relative_to(wham)),
        }
        for path, length in zip(paths, lengths)
    ]
    return long_enough(rows, folder)


def long_enough(rows: List[Row], folder: Path) -> List[Row]:
    """The rows that are not too short, from short to long."""
    kept = [row for row in rows if row["length"] >= SHORTEST]
    if not kept:
        raise UmeError(f"{folder} holds no audio of 3 s or more; check the folder")
    return sorted(kept, key=lambda row: (row["length"], row["origin_path"]))


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of the same columns as CSV at once."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
