"""Manifests of a corpus of speakers, ``[<subset>/]<speaker>/<session>/*.flac``: who, and when."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Set

from ume.corpora.folder import Utterance, audio_bytes, write_data_folder
from ume.corpora.librispeech import read_sexes
from ume.corpora.shares import read_shares
from ume.corpora.speaker_lists import Lists, draw_lists, read_lists, write_lists
from ume.corpora.speech import File, find_files, with_speaker_names
from ume.errors import UmeError
from ume.files import atomic_folder, existing, read_text

MADE_BY = "local/prepare_speakers.sh"


@dataclass
class Config:
    """Options of ``ume prepare-speakers``."""

    corpus: str
    """Corpus folder: [<subset>/]<speaker>/<session>/*.flac, 16 kHz, one channel, and the
    speakers' sexes in vox2_meta.csv or SPEAKERS.TXT (lines `ID | F`)."""
    speech: str
    """Folder of `ume detect-speech`."""
    output: str
    """Data folder to write."""
    speakers: Optional[str] = None
    """Folder with lists speakers_train, speakers_dev, speakers_test (any data folder of this
    verb); without it dev's speakers are drawn by seed, test's are those of subsets named test...,
    or drawn too."""
    texts: Optional[str] = None
    """What is said, as far as it is known: Kaldi's `text`, lines `<utterance> WORD WORD`;
    utterances are named <speaker>-<session>-<file>, blanks in it as underscores."""
    heard: Optional[str] = None
    """What `ume pseudo-label` wrote: texts, and what Whisper heard in other utterances; those that
    the corpus has lost since are left out."""
    dev_speakers: int = 100
    """Speakers to draw for dev, as many women as men."""
    test_speakers: int = 100
    """Speakers to draw for test where the corpus has no subset named test..."""
    min_speech: float = 2.0
    """Least speech of an utterance to keep, seconds."""
    seed: int = 0
    """Seed of the draw."""


def main(config: Config) -> None:
    """Write the data folder; nothing is left behind on failure."""
    corpus = existing(config.corpus)
    files = {str(file.path.relative_to(corpus)): file for file in find_files(corpus)}
    sexes = read_table(corpus)
    lists = choose_speakers(config, list(files.values()), sexes)
    found = read_shares(config.speech, MADE_BY)
    changed = sorted(set(files) ^ set(found))
    if changed:
        raise UmeError(f"{config.speech} is of other files ({changed[0]}); run {MADE_BY} again")
    texts = {
        **read_texts(config.heard),
        **read_texts(config.texts, {file.id for file in files.values()}),
    }
    part_of = {speaker: part for part, speakers in lists.items() for speaker in speakers}
    parts: Dict[str, List[Utterance]] = {part: [] for part in lists}
    short = dict.fromkeys(lists, 0)
    for name, file in files.items():
        part = part_of.get(file.speaker)
        num_samples, speech = found[name]
        if part is None:
            continue
        if not speech or sum(end - start for start, end in speech) < config.min_speech:
            short[part] += 1
        else:
            parts[part].append(utterance(file, sexes[file.speaker], num_samples, speech, texts))
    for part, utterances in parts.items():
        if not utterances:
            raise UmeError(f"part {part} has no utterance; change its speakers or --min-speech")
    about = {
        "corpus": "speakers",
        "root": str(corpus),
        "seed": config.seed,
        "speakers": config.speakers,
        "texts": config.heard or config.texts,
        "min_speech": config.min_speech,
        "too_short": short,
        "bytes": audio_bytes(parts),
    }
    with atomic_folder(config.output, "about.json", [corpus, config.texts, config.heard]) as folder:
        write_data_folder(folder, parts, about)
        write_lists(folder, lists)


def choose_speakers(config: Config, files: List[File], sexes: Dict[str, str]) -> Lists:
    """The speakers of each part, from lists or by seed; every speaker's sex must be known."""
    subsets: Dict[str, Set[str]] = {}
    for file in files:
        subsets.setdefault(file.speaker, set()).add(file.subset)
    unknown = sorted(set(subsets) - set(sexes))
    if unknown:
        raise UmeError(
            f"{config.corpus}: no sex is known of speaker {unknown[0]}; write F or M into its table"
        )
    if config.speakers:
        return read_lists(config.speakers, set(subsets))
    return draw_lists(subsets, sexes, config.dev_speakers, config.test_speakers, config.seed)


def read_texts(path: Optional[str], utterances: Optional[Set[str]] = None) -> Dict[str, str]:
    """Utterance -> words, of Kaldi's ``text``, in upper case.

    Raises:
        UmeError: a line is of none of ``utterances``, where they are given.
    """
    if path is None:
        return {}
    texts: Dict[str, str] = {}
    lines = read_text(path, "ume pseudo-label").splitlines()
    for number, line in enumerate(lines, start=1):
        name, *words = line.split() or [""]
        if name and utterances is not None and name not in utterances:
            raise UmeError(
                f"{path}, line {number}: the corpus has no utterance {name}; remove the line, or "
                "make the file anew"
            )
        if words:
            texts[name] = " ".join(words).upper()
    return texts


def utterance(
    file: File, gender: str, num_samples: int, speech: List[Any], texts: Dict[str, str]
) -> Utterance:
    """The utterance in ``file``, trimmed to its speech."""
    return Utterance(
        id=file.id,
        speaker=file.speaker,
        gender=gender,
        text=texts.get(file.id),
        path=file.path,
        num_samples=num_samples,
        speech=[(start, end) for start, end in speech],
        activity="vad",
        session=file.session,
        language=None,
        trimmed=True,
    )


def read_table(corpus: Path) -> Dict[str, str]:
    """Speaker -> ``F`` or ``M`` from the table of a corpus."""
    for name, read in (("vox2_meta.csv", read_metadata), ("SPEAKERS.TXT", read_sexes)):
        if (corpus / name).exists():
            return with_speaker_names(read(corpus / name), corpus / name)
    raise UmeError(f"{corpus} has no vox2_meta.csv or SPEAKERS.TXT; write the latter, 'ID | F'")


def read_metadata(path: Path) -> Dict[str, str]:
    """Speaker -> ``F`` or ``M`` from VoxCeleb2's metadata, which has blanks around its values.

    A speaker of whom it has anything else is left out.
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(read_text(path).splitlines())]
    try:
        speaker, gender = (rows[0].index(name) for name in ("VoxCeleb2 ID", "Gender"))
        sexes = {row[speaker]: row[gender].upper() for row in rows[1:] if row}
    except (IndexError, ValueError):
        raise UmeError(
            f"{path} is not VoxCeleb2's metadata (columns VoxCeleb2 ID, Gender); fetch it again"
        ) from None
    return {name: sex for name, sex in sexes.items() if sex in ("F", "M")}
