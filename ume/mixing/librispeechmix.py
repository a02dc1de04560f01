"""LibriSpeechMix (Kanda et al. 2020): its published lists and LibriSpeech -> mixture folder.

Utterances are added as they are, each from its delay on; the reference script writes the sum as
16 bits, where what exceeds full scale is clipped, and here nothing is.
"""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from lhotse.cut import MixedCut, MixTrack

from ume.activity import SAMPLING_RATE, Annotation
from ume.corpora.folder import Utterance
from ume.corpora.librispeech import Source as CorpusFile
from ume.corpora.librispeech import read_alignments, read_source
from ume.errors import UmeError
from ume.files import existing
from ume.mixing.cuts import source_cut
from ume.mixing.evaluation import (
    EvaluationSet,
    check_complete,
    choose_parts,
    write_evaluation_folder,
)


@dataclass
class Config:
    """Options of ``ume prepare-librispeechmix``."""

    lists: str
    """A checkout of LibriSpeechMix (its `list/*.jsonl`)."""
    librispeech: str
    """LibriSpeech folder, with dev-clean and test-clean."""
    output: str
    """Mixture folder to write."""
    parts: str = ""
    """Lists to use, such as `dev-clean-2mix test-clean-2mix`; without it all that are there."""
    alignments: Optional[str] = None
    """Folder of RTTM files from forced alignment; utterances they lack get a VAD's activity."""
    num_jobs: int = 1
    """Files decoded at once; the result is the same for any number."""


@dataclass(frozen=True)
class Row:
    """One mixture of a list: a source per speaker."""

    id: str
    paths: List[Path]
    starts: List[int]  # samples
    lengths: List[int]  # samples
    speakers: List[str]
    genders: List[str]
    texts: List[str]


def main(config: Config) -> None:
    """Write the mixture folder; nothing is left behind on failure."""
    if config.num_jobs < 1:
        raise UmeError("--num-jobs must be at least 1")
    lists = existing(config.lists) / "list"
    found = {path.stem: path for path in lists.glob("*.jsonl")}
    corpus = existing(config.librispeech)
    rows = {
        part: list(read_list(found[part], corpus))
        for part in choose_parts(found, config.parts, lists)
    }
    check_complete({part: [p for row in own for p in row.paths] for part, own in rows.items()})
    utterances = (path.stem for own in rows.values() for row in own for path in row.paths)
    alignments = read_alignments(config.alignments, utterances)
    with ThreadPoolExecutor(config.num_jobs) as pool:
        sets = [make_set(part, own, alignments, pool) for part, own in rows.items()]
    inputs = [config.lists, config.librispeech]
    write_evaluation_folder(config.output, sets, {"corpus": "LibriSpeechMix"}, inputs)


def read_list(path: Path, corpus: Path) -> Iterator[Row]:
    """The mixtures of one list; :class:`UmeError` names a line that is not as published."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield make_row(json.loads(line), corpus)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UmeError(
                    f"{path}:{number} is not a line of LibriSpeechMix ({error!r}); fetch it again"
                ) from None


def make_row(entry: Dict[str, Any], corpus: Path) -> Row:
    """One line of a list: wavs made of LibriSpeech's files, which are meant here."""
    return Row(
        id=entry["id"].rpartition("/")[2],
        paths=[(corpus / wav).with_suffix(".flac") for wav in entry["wavs"]],
        starts=[int(delay * SAMPLING_RATE) for delay in entry["delays"]],
        lengths=[round(duration * SAMPLING_RATE) for duration in entry["durations"]],
        speakers=entry["speakers"],
        genders=[gender.upper() for gender in entry["genders"]],
        texts=[" ".join(text.upper().split()) for text in entry["texts"]],
    )


def make_set(
    part: str, rows: List[Row], alignments: Annotation, pool: ThreadPoolExecutor
) -> EvaluationSet:
    """The mixture cuts of one list; every utterance is read once."""
    uses = {path: (row, k) for row in rows for k, path in enumerate(row.paths)}
    read = pool.map(lambda use: read_utterance(use[0], use[1], alignments), uses.values())
    utterances = dict(zip(uses, read))
    return EvaluationSet(
        part,
        [row_cut(row, utterances) for row in rows],
        dict(sorted(Counter(u.activity for u in utterances.values()).items())),
    )


def read_utterance(row: Row, k: int, alignments: Annotation) -> Utterance:
    """Utterance ``k`` of a mixture; :class:`UmeError` unless it is as long as its list says."""
    path, speaker = row.paths[k], row.speakers[k]
    source = CorpusFile(path.stem, path.parts[-4], speaker, path)
    found = read_source(source, alignments, 0.0, float("inf"))
    if found is None or found[0] != row.lengths[k]:
        raise UmeError(f"{path} has not the {row.lengths[k]} samples of its list; restore it")
    return Utterance(path.stem, speaker, row.genders[k], row.texts[k], path, *found)


def row_cut(row: Row, utterances: Dict[Path, Utterance]) -> MixedCut:
    """The mixture cut of docs/contracts.md."""
    tracks = []
    for k, (path, start) in enumerate(zip(row.paths, row.starts), 1):
        recording, supervision = utterances[path].recording(), utterances[path].supervision()
        cut = source_cut(f"{row.id}-{k}", recording, supervision, 1.0, recording.duration)
        tracks.append(MixTrack(cut, offset=start / SAMPLING_RATE))
    return MixedCut(id=row.id, tracks=tracks)
