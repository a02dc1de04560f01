"""Find the speech in every file of a corpus by the VAD, by jobs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

from ume.activity import detect_speech
from ume.corpora.reading import read_header, read_samples
from ume.corpora.shares import write_share
from ume.errors import UmeError
from ume.files import existing
from ume.jobs import of_job


@dataclass
class Config:
    """Options of ``ume detect-speech``."""

    corpus: str
    """Corpus folder: [<subset>/]<speaker>/<session>/*.flac, 16 kHz, one channel."""
    output: str
    """Folder for `<job>.json`: length and speech of every file."""
    job: int = 1
    """This job, from 1."""
    num_jobs: int = 1
    """Jobs in all; job j takes every num_jobs-th file."""


@dataclass(frozen=True)
class File:
    """One audio file of a corpus."""

    path: Path
    subset: str  # "" where the corpus has none
    speaker: str
    session: str

    @property
    def id(self) -> str:
        """The file's name, with speaker and session in front unless they are in it; blanks, which
        no line of Kaldi's `text` could hold, as underscores.
        """
        prefix = f"{self.speaker}-{self.session}-"
        stem = self.path.stem
        return "_".join((stem if stem.startswith(prefix) else prefix + stem).split())


def main(config: Config) -> None:
    """Write one job's share; silent files have no speech.

    Raises:
        UmeError: a file is damaged, or not 16 kHz and mono.
    """
    corpus = existing(config.corpus)
    found = {}
    for file in of_job(find_files(corpus), config.job, config.num_jobs):
        audio = read_samples(file.path, read_header(file.path).frames)  # (T,)
        found[str(file.path.relative_to(corpus))] = [len(audio), detect_speech(audio)]
    write_share(config.output, config.job, config.num_jobs, found)


def find_files(corpus: Path) -> List[File]:
    """All ``<subset>/<speaker>/<session>/*.flac``, else ``<speaker>/<session>/*.flac``, sorted.

    Raises:
        UmeError: there are none, or two with one id.
    """
    paths = sorted(corpus.glob("*/*/*/*.flac")) or sorted(corpus.glob("*/*/*.flac"))
    if not paths:
        raise UmeError(f"{corpus} holds no [<subset>/]<speaker>/<session>/*.flac; check the path")
    subsets = [path.relative_to(corpus).parts[:-3] for path in paths]
    files = [
        File(path, "".join(subset), *path.parts[-3:-1]) for path, subset in zip(paths, subsets)
    ]
    seen: Dict[str, Path] = {}
    for file in files:
        if file.id in seen:
            raise UmeError(
                f"{file.path} and {seen[file.id]} are both called {file.id}; rename or remove one"
            )
        seen[file.id] = file.path
    return files
