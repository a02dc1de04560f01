"""Write the official tree of LibriMix: WAV files of sources, noise and mixtures, and its CSV files.

``Libri2Mix/wav16k/max/train-360/{s1,s2,noise,mix_both}/<mixture_ID>.wav``, PCM of 16 bits, and
``Libri2Mix/wav16k/max/metadata/mixture_train-360_mix_both.csv``.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
import soundfile
from lhotse.cut import Cut, MixedCut
from tqdm import tqdm

from ume.audio import load_audio
from ume.corpora.librimix import TYPES
from ume.errors import UmeError
from ume.files import existing, read_json, write_bytes, write_text
from ume.jobs import check_job, of_job
from ume.mixing.folder import claim, cuts_of, manifest, sets_of


@dataclass
class Config:
    """Options of ``ume materialise``."""

    mixtures: str
    """Mixture folder of `ume prepare-librimix`, of type mix_clean or mix_both."""
    output: str
    """Folder to write Libri2Mix (or 1, 3) to."""
    types: str = ""
    """Mixtures to write: some of mix_clean, mix_both, mix_single; empty: the folder's own type."""
    job: int = 1
    """This job, from 1; 0 writes the CSV files."""
    num_jobs: int = 1
    """Jobs in all; job j takes every num_jobs-th mixture."""


def main(config: Config) -> None:
    """Write one job's share of the tree, but for files that are there; the only job does it all."""
    check_job(config.job, config.num_jobs, first=0)
    about = read_json(existing(Path(config.mixtures) / "about.json", "local/prepare_librimix.sh"))
    types = config.types.split() or [about["type"]]
    if set(types) - set(TYPES):
        raise UmeError(f"--types {config.types!r}: give some of {' '.join(TYPES)}")
    possible = TYPES if about["type"] == "mix_both" else ("mix_clean",)
    if about["type"] == "mix_single" or set(types) - set(possible):
        raise UmeError(
            f"{config.mixtures} is {about['type']}; prepare mix_both, which has all that "
            f"{' '.join(types)} needs"
        )
    tree = Tree(Path(config.output), about, types)
    for part, mode in sets_of(config.mixtures):
        cuts = cuts_of(config.mixtures, part, mode)
        claim(tree.folder / mode / part / "made_of.json", manifest(config.mixtures, part, mode))
        if config.job > 0:
            mine = of_job(cuts, config.job, config.num_jobs)
            for cut in tqdm(mine, desc=f"{part} {mode}", mininterval=5):
                tree.write(cut, part, mode)
        if config.job == 0 or config.num_jobs == 1:
            tree.write_metadata(cuts, part, mode)


class Tree:
    """The tree below ``root`` of the mixtures that ``about`` (about.json) tells of."""

    def __init__(self, root: Path, about: Dict[str, Any], types: Sequence[str]) -> None:
        self.rate, self.types = about["sampling_rate"], list(types)
        self.voices = [f"s{k}" for k in range(1, about["num_speakers"] + 1)]
        self.tracks = self.voices + (["noise"] if about["type"] == "mix_both" else [])
        self.folder = root / f"Libri{len(self.voices)}Mix" / f"wav{self.rate // 1000}k"

    def path(self, name: str, part: str, mode: str, kind: str) -> Path:
        """The file of mixture ``name`` that holds ``kind``, such as ``s1`` or ``mix_both``."""
        return (self.folder / mode / part / kind / f"{name}.wav").absolute()

    def write(self, cut: MixedCut, part: str, mode: str) -> None:
        """Write the files of ``cut`` that are missing."""
        paths = {kind: self.path(cut.id, part, mode, kind) for kind in self.tracks + self.types}
        if all(path.exists() for path in paths.values()):
            return
        audio = dict(zip(self.tracks, tracks_audio(cut)))
        for kind in self.types:
            audio[kind] = np.sum([audio[name] for name in self.mixed(kind)], axis=0)
        for kind, path in paths.items():
            buffer = io.BytesIO()
            soundfile.write(buffer, audio[kind], self.rate, "PCM_16", format="WAV")
            write_bytes(path, buffer.getvalue())

    def mixed(self, kind: str) -> List[str]:
        """The tracks of a type of mixture."""
        voices = self.voices[:1] if kind == "mix_single" else self.voices
        return voices if kind == "mix_clean" else [*voices, "noise"]

    def write_metadata(self, cuts: Sequence[Cut], part: str, mode: str) -> None:
        """Write ``mixture_<part>_<type>.csv``: paths and lengths; every file must be there."""
        for kind in self.types:
            tracks = self.mixed(kind)
            columns = {voice: f"source_{k}_path" for k, voice in enumerate(self.voices, 1)}
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            names = [columns.get(name, "noise_path") for name in tracks]
            writer.writerow(["mixture_ID", "mixture_path", *names, "length"])
            for cut in cuts:
                paths = [self.path(cut.id, part, mode, name) for name in (kind, *tracks)]
                for path in paths:
                    existing(path, "ume materialise")
                writer.writerow([cut.id, *paths, round(cut.duration * self.rate)])
            name = f"mixture_{part}_{kind}.csv"
            write_text(self.folder / mode / "metadata" / name, text.getvalue())


def tracks_audio(cut: MixedCut) -> np.ndarray:
    """Each track of ``cut`` alone, as long as the mixture, (tracks, T)."""
    return np.stack([audio[0] for audio in load_audio(cut, mixed=False)])
