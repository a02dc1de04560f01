"""LibriMix's metadata: rows of mixtures, lengths of files and sexes, from its published CSV files.

They lie in ``metadata/`` of a LibriMix checkout, or straight in the folder that is given:
``Libri2Mix/libri2mix_dev-clean.csv`` are the mixtures, ``LibriSpeech/*.csv`` and
``Wham_noise/*.csv`` tell lengths and sexes. Cosentino et al. 2020, arXiv 2005.11262.
"""

import csv
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from ume.errors import UmeError
from ume.files import PathLike, existing

SUBSETS = {
    "train-100": "train-clean-100",
    "train-360": "train-clean-360",
    "dev": "dev-clean",
    "test": "test-clean",
}
"""Parts of LibriMix, and the subset of LibriSpeech that each is made of."""
TYPES = ("mix_clean", "mix_both", "mix_single")
"""The sources; the sources and noise; the first source and noise."""


@dataclass(frozen=True)
class Row:
    """One mixture: audio paths relative to LibriSpeech and to WHAM!'s noise, factors to apply."""

    id: str
    sources: Tuple[str, ...]
    gains: Tuple[float, ...]
    noise: str  # "" where there is none
    noise_gain: float


class Metadata:
    """The CSV files in ``folder``, a LibriMix checkout or its ``metadata`` folder.

    Raises:
        UmeError: the folder is missing; later, a file is missing or a line wrong: names them.
    """

    def __init__(self, folder: PathLike) -> None:
        given = existing(folder)
        self.folder = given / "metadata" if (given / "metadata").is_dir() else given

    def path(self, num_speakers: int, part: str) -> Path:
        """The CSV file of a part."""
        name = f"libri{num_speakers}mix_{SUBSETS[part]}.csv"
        return self.folder / f"Libri{num_speakers}Mix" / name

    def parts(self, num_speakers: int) -> List[str]:
        """The parts that have a CSV file; :class:`UmeError` if there are none."""
        found = [part for part in SUBSETS if self.path(num_speakers, part).exists()]
        if not found:
            raise UmeError(
                f"{self.path(num_speakers, 'dev')} does not exist, nor that of another part; "
                "give a checkout of LibriMix, or its metadata folder"
            )
        return found

    def rows(self, num_speakers: int, part: str, noisy: bool) -> List[Row]:
        """The mixtures of a part; if not ``noisy``, without noise, which then need not be there."""
        path = self.path(num_speakers, part)
        sources = [f"source_{k}" for k in range(1, num_speakers + 1)]
        names = sources + ["noise"] * noisy
        columns = ["mixture_ID", *(f"{name}_{what}" for name in names for what in ("path", "gain"))]
        rows: Dict[str, Row] = {}
        for line, cells in read_table(path, columns):
            paths = {name: cells[f"{name}_path"] for name in names}
            gains = {name: number(cells[f"{name}_gain"], f"{path}:{line}") for name in names}
            row = Row(
                cells["mixture_ID"],
                tuple(paths[name] for name in sources),
                tuple(gains[name] for name in sources),
                paths.get("noise", ""),
                gains.get("noise", 0.0),
            )
            if row.id in rows:
                raise UmeError(f"{path}:{line}: mixture {row.id} is there twice; remove one")
            if len({speaker_of(source) for source in row.sources}) < num_speakers:
                raise UmeError(f"{path}:{line}: a speaker is mixed with himself; remove the line")
            rows[row.id] = row
        if not rows:
            raise UmeError(f"{path} holds no mixtures; fetch it again")
        return list(rows.values())

    def lengths(self, kind: str) -> Dict[str, int]:
        """Audio path -> samples as ``kind``, LibriSpeech or Wham_noise, tells them, if it does."""
        return {
            cells["origin_path"]: int(number(cells["length"], f"{path}:{line}"))
            for path in sorted((self.folder / kind).glob("*.csv"))
            for line, cells in read_table(path, ["origin_path", "length"])
        }

    def sexes(self) -> Dict[str, str]:
        """Speaker -> ``F`` or ``M``, of the speakers that ``LibriSpeech/*.csv`` name."""
        return {
            cells["speaker_ID"]: cells["sex"]
            for path in sorted((self.folder / "LibriSpeech").glob("*.csv"))
            for _, cells in read_table(path, ["speaker_ID", "sex"])
        }


def read_table(path: Path, columns: Sequence[str]) -> Iterator[Tuple[int, Dict[str, str]]]:
    """Lines of a CSV file, numbered, which must all have ``columns``."""
    with open(existing(path), newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lacking = [column for column in columns if column not in (reader.fieldnames or [])]
        if lacking:
            raise UmeError(f"{path}:1: there is no column {lacking[0]}; fetch the file again")
        for cells in reader:
            empty = next((column for column in columns if not cells[column]), None)
            if empty:
                raise UmeError(f"{path}:{reader.line_num}: {empty} is empty; fetch the file again")
            yield reader.line_num, cells


def number(text: str, place: str) -> float:
    """``text`` as a number; ``place`` names file and line in the error."""
    try:
        return float(text)
    except ValueError:
        raise UmeError(f"{place}: {text!r} is not a number; fetch the file again") from None


def utterance_of(path: str) -> str:
    """The utterance of an audio path.

    >>> utterance_of("dev-clean/84/121123/84-121123-0000.flac")
    '84-121123-0000'
    """
    return PurePath(path).stem


def speaker_of(path: str) -> str:
    """The speaker of an audio path."""
    return utterance_of(path).partition("-")[0]


def parse_parts(text: str, available: Sequence[str]) -> List[str]:
    """Names of parts; all that are ``available`` where none is given."""
    parts = text.split() or list(available)
    unknown: Optional[str] = next((part for part in parts if part not in available), None)
    if unknown:
        raise UmeError(f"--parts: there is no {unknown}; the metadata has {' '.join(available)}")
    return parts
