"""Find the speech in every file of a corpus by the VAD, by jobs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Mapping

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
    speaker: str  # without blanks
    session: str

    @property
    def id(self) -> str:
        """The file's name, with speaker and session in front unless they are in it; blanks, which
        no line of Kaldi's `text` could hold, as underscores.
        """
        prefix, stem = f"{self.path.parts[-3]}-{self.session}-", self.path.stem
        return underscored(stem if stem.startswith(prefix) else prefix + stem)


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
        UmeError: there are none, two with one id, two speakers with one name, or a path that is
            not UTF-8.
    """
    paths = sorted(corpus.glob("*/*/*/*.flac")) or sorted(corpus.glob("*/*/*.flac"))
    if not paths:
        raise UmeError(f"{corpus} holds no [<subset>/]<speaker>/<session>/*.flac; check the path")
    speakers = speaker_names((path.parts[-3] for path in in_utf8(paths)), corpus)
    subsets = [path.relative_to(corpus).parts[:-3] for path in paths]
    files = [
        File(path, "".join(subset), speakers[path.parts[-3]], path.parts[-2])
        for path, subset in zip(paths, subsets)
    ]
    seen: Dict[str, Path] = {}
    for file in files:
        if file.id in seen:
            raise UmeError(
                f"{file.path} and {seen[file.id]} are both called {file.id}; rename or remove one"
            )
        seen[file.id] = file.path
    return files


def in_utf8(paths: List[Path]) -> List[Path]:
    """``paths``, if they can be written to manifests.

    Raises:
        UmeError: the name of one is not UTF-8.
    """
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise UmeError(f"{str(path)!r} has a name that is not UTF-8; rename it") from None
    return paths


def underscored(name: str) -> str:
    """``name`` with underscores for blanks, which separate fields in lists, `text` and RTTM.

    >>> underscored("Jane  Doe ")
    'Jane_Doe'
    """
    return "_".join(name.split())


def speaker_names(found: Iterable[str], where: Path) -> Dict[str, str]:
    """Speakers as ``where`` has them -> the same :func:`underscored`.

    Raises:
        UmeError: two of them come to one name.
    """
    names = {name: underscored(name) for name in found}
    owner: Dict[str, str] = {}
    for name, plain in sorted(names.items()):
        if owner.setdefault(plain, name) != name:
            raise UmeError(
                f"{where}: speakers {owner[plain]!r} and {name!r} are both called {plain}; "
                "rename one"
            )
    return names


def with_speaker_names(table: Mapping[str, str], where: Path) -> Dict[str, str]:
    """A table of speakers, such as of their sexes, with their :func:`speaker_names`."""
    names = speaker_names(table, where)
    return {names[name]: value for name, value in table.items()}
