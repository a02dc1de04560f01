"""Look at every audio file that LibriMix's rows need: which are missing or damaged, by part."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Union

import soundfile

from ume.activity import SAMPLING_RATE
from ume.corpora.librimix import TYPES, Metadata, parse_parts
from ume.errors import UmeError
from ume.files import existing, write_json

NAMED = 3  # files that are named of those missing
FASTER = ("sp08.wav", "sp12.wav")  # ends of noises at another speed, of one channel


@dataclass
class Config:
    """Options of ``ume check-librimix``."""

    librispeech: str
    """LibriSpeech: the folder that holds its subsets."""
    metadata: str
    """A checkout of LibriMix, or its metadata folder."""
    mixtures: str
    """Mixture folder to begin; `ume prepare-librimix` fills it."""
    wham: str = ""
    """WHAM!'s noise: the folder that holds tr, cv and tt; not needed for mix_clean."""
    num_speakers: int = 2
    """Speakers per mixture: 1, 2 or 3, if the metadata has them."""
    type: str = "mix_clean"
    """mix_clean: the sources; mix_both: and noise; mix_single: the first source and noise."""
    parts: str = ""
    """Some of train-100, train-360, dev, test; empty: all that the metadata has."""
    check_files: bool = True
    """false: believe the lengths that the metadata tells, and look at no audio."""
    num_jobs: int = 1
    """Files looked at at once."""


@dataclass(frozen=True)
class File:
    """An audio file as it is, or as it should be."""

    num_samples: int
    channels: int


Found = Union[File, str]  # a file, or what is wrong with it


def main(config: Config) -> None:
    """Write ``sources.json``: the files of all parts; nothing unless all of them are there."""
    if config.type not in TYPES:
        raise UmeError(f"--type {config.type}: give one of {' '.join(TYPES)}")
    if config.num_jobs < 1:
        raise UmeError("--num-jobs must be at least 1")
    noisy = config.type != "mix_clean"
    if noisy and not config.wham:
        raise UmeError(f"--wham is empty; {config.type} needs WHAM!'s noise")
    metadata = Metadata(config.metadata)
    parts = parse_parts(config.parts, metadata.parts(config.num_speakers))
    rows = {part: metadata.rows(config.num_speakers, part, noisy) for part in parts}
    speech = {part: {path for row in rows[part] for path in row.sources} for part in parts}
    noise = {part: {row.noise for row in rows[part]} if noisy else set() for part in parts}
    root = existing(config.librispeech)
    with ThreadPoolExecutor(config.num_jobs) as pool:

        def look(folder: Path, paths: Dict[str, set], lengths: Dict[str, int]) -> Dict[str, Found]:
            needed = sorted(set().union(*paths.values()))
            if not config.check_files:
                return {path: as_told(path, lengths) for path in needed}
            return dict(zip(needed, pool.map(
                lambda path: probe(folder / path, lengths.get(path)), needed
            )))  # fmt: skip

        sources = look(root, speech, metadata.lengths("LibriSpeech"))
        noises: Dict[str, Found] = {}
        if noisy:
            noises = look(existing(config.wham), noise, metadata.lengths("Wham_noise"))
    report({part: [faults_of(sources, speech[part], "LibriSpeech"),
                   faults_of(noises, noise[part], "WHAM!")] for part in parts})  # fmt: skip
    write_json(Path(config.mixtures) / "sources.json", {
        "librispeech": config.librispeech,
        "wham": config.wham,
        "metadata": config.metadata,
        "num_speakers": config.num_speakers,
        "type": config.type,
        "parts": parts,
        "sources": {path: vars(file) for path, file in sources.items()},
        "noises": {path: vars(file) for path, file in noises.items()},
    })  # fmt: skip


def as_told(path: str, lengths: Dict[str, int]) -> Found:
    """What the metadata says of a file."""
    if path not in lengths:
        return "of unknown length"
    channels = 2 if path.endswith(".wav") and not path.endswith(FASTER) else 1
    return File(lengths[path], channels)


def probe(path: Path, length: Optional[int]) -> Found:
    """A file by its header and its end; ``length``, in samples, is what the metadata tells."""
    if not path.exists():
        return "missing"
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate != SAMPLING_RATE:
                return f"of {file.samplerate} Hz"
            if "should be" in file.extra_info:  # WAV: its header promises more than there is
                return "truncated"
            file.seek(max(0, file.frames - 1))  # FLAC: its header does not know
            if len(file.read(1)) < 1 or file.frames < (length or 0):
                return "truncated"
            return File(file.frames, file.channels)
    except soundfile.LibsndfileError:
        return "truncated"


def faults_of(found: Dict[str, Found], needed: set, corpus: str) -> str:
    """What is wrong with the files that a part needs; empty if nothing is."""
    faults: Dict[str, List[str]] = {}
    for path in sorted(needed):
        fault = found[path]
        if isinstance(fault, str):
            faults.setdefault(fault, []).append(path)
    words = [
        f"{len(paths)} of {len(needed)} files of {corpus} {fault}"
        f" ({', '.join(paths[:NAMED])}{', ...' if len(paths) > NAMED else ''})"
        for fault, paths in sorted(faults.items())
    ]
    if any(path.endswith(FASTER) for paths in faults.values() for path in paths):
        words.append("those named *sp08 and *sp12 are made by LibriMix's augment_train_noise.py")
    return "; ".join(words)


def report(faults: Dict[str, List[str]]) -> None:
    """Print one line for each part; :class:`UmeError` if any lacks a file."""
    lines = {part: "; ".join(filter(None, words)) for part, words in faults.items()}
    for part, line in lines.items():
        print(f"{part}: {line or 'complete'}", flush=True)
    lacking = [part for part, line in lines.items() if line]
    if lacking:
        whole = [part for part in lines if part not in lacking]
        fix = (
            f"or give --parts '{' '.join(whole)}', which can be made" if whole else "none is whole"
        )
        raise UmeError(
            f"{' and '.join(lacking)}: {'; '.join(lines[part] for part in lacking)}; "
            f"restore these files, {fix}"
        )
