"""Manifests of any corpus in LibriSpeech's layout: speakers split, speech activity attached."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Tuple

from ume.activity import SAMPLING_RATE, Annotation, Segment, detect_speech, read_rttm
from ume.corpora.folder import Utterance, audio_bytes, write_data_folder
from ume.corpora.reading import read_audio, read_header
from ume.corpora.speech import in_utf8, speaker_names, underscored, with_speaker_names
from ume.corpora.split import Selection, read_split, split_by_seed
from ume.errors import UmeError
from ume.files import atomic_folder, existing, read_text

WITHOUT_TEXT = ", or say 'text: false' for its subset in a --split file"


@dataclass
class Config:
    """Options of ``ume prepare-librispeech``."""

    corpus: str
    """Corpus folder: <subset>/<speaker>/<chapter>/*.flac and *.trans.txt, SPEAKERS.TXT."""
    output: str
    """Data folder to write."""
    alignments: Optional[str] = None
    """Folder of RTTM files from forced alignment; utterances they lack get a VAD's activity."""
    split: Optional[str] = None
    """YAML file that gives each part its subsets and speakers; without it speakers are split by
    seed, balanced in sex."""
    min_duration: float = 2.0
    """Shortest utterance to keep, seconds."""
    max_duration: float = 12.0
    """Longest utterance to keep, seconds."""
    seed: int = 0
    """Seed of the split made without --split."""
    num_jobs: int = 1
    """Files decoded at once; the result is the same for any number."""


@dataclass(frozen=True)
class Source:
    """One audio file of the corpus, before it is read."""

    id: str  # <speaker>-<chapter>-<utterance>, without blanks
    subset: str
    speaker: str  # without blanks
    path: Path


def main(config: Config) -> None:
    """Write the data folder; nothing is left behind on failure."""
    if config.num_jobs < 1:
        raise UmeError("--num-jobs must be at least 1")
    if not 0 < config.min_duration < config.max_duration:
        raise UmeError("--min-duration must be above 0 and below --max-duration")
    corpus = existing(config.corpus)
    sources = find_sources(corpus)
    sexes = with_speaker_names(read_sexes(corpus / "SPEAKERS.TXT"), corpus / "SPEAKERS.TXT")
    unknown = sorted({source.speaker for source in sources} - set(sexes))
    if unknown:
        raise UmeError(f"{corpus / 'SPEAKERS.TXT'} lacks speaker {unknown[0]}; add the line")
    speakers = {(source.subset, source.speaker) for source in sources}
    if config.split:
        parts = read_split(config.split, speakers)
    else:
        parts = split_by_seed(speakers, sexes, config.seed)
    alignments = read_alignments(config.alignments, (source.id for source in sources))
    worded = {s.subset for part in parts.values() for s in part if s.text}
    texts = read_transcripts(corpus, worded, WITHOUT_TEXT)

    def utterances(selections: List[Selection]) -> List[Utterance]:
        wanted = [(source, selection) for selection in selections for source in sources
                  if selection.has(source.subset, source.speaker)]  # fmt: skip
        for source, selection in wanted:
            if selection.text and source.id not in texts:
                raise UmeError(
                    f"{source.path} has no line '{source.id} WORDS' in its .trans.txt; "
                    f"add it{WITHOUT_TEXT}"
                )
        longest = [selection.max_duration or config.max_duration for _, selection in wanted]
        read = pool.map(
            lambda source, limit: read_source(source, alignments, config.min_duration, limit),
            [source for source, _ in wanted],
            longest,
        )
        return [
            Utterance(source.id, source.speaker, sexes[source.speaker],
                      texts[source.id] if selection.text else None, source.path, *found)
            for (source, selection), found in zip(wanted, read) if found
        ]  # fmt: skip

    with ThreadPoolExecutor(config.num_jobs) as pool:
        made = {part: utterances(selections) for part, selections in parts.items()}
    for part, found in made.items():
        if not found:
            raise UmeError(
                f"part {part} has no utterance of {config.min_duration:g} to "
                f"{config.max_duration:g} s; change --min-duration or --max-duration"
            )
    about = {
        "corpus": "LibriSpeech layout",
        "root": str(corpus),
        "seed": config.seed,
        "split": config.split,
        "alignments": config.alignments,
        "durations": [config.min_duration, config.max_duration],
        "bytes": audio_bytes(made),
    }
    inputs = [corpus, config.split, config.alignments]
    with atomic_folder(config.output, "about.json", inputs) as folder:
        write_data_folder(folder, made, about)


def find_sources(corpus: Path) -> List[Source]:
    """All ``<subset>/<speaker>/<chapter>/*.flac`` of a corpus, sorted by path.

    Raises:
        UmeError: there are none, two speakers with one name, or a path that is not UTF-8.
    """
    paths = sorted(corpus.glob("*/*/*/*.flac"))
    if not paths:
        raise UmeError(
            f"{corpus} holds no <subset>/<speaker>/<chapter>/*.flac; "
            "give the folder that holds the subsets (often named LibriSpeech)"
        )
    speakers = speaker_names((path.parts[-3] for path in in_utf8(paths)), corpus)
    return [
        Source(underscored(path.stem), path.parts[-4], speakers[path.parts[-3]], path)
        for path in paths
    ]


def read_sexes(path: Path) -> Dict[str, str]:
    """Speaker -> ``F`` or ``M`` from SPEAKERS.TXT."""
    lines = read_text(path).splitlines()
    rows = [re.split(r"\s*\|\s*", line.strip()) for line in lines if not line.startswith(";")]
    return {row[0]: row[1] for row in rows if len(row) > 1 and row[1] in ("F", "M")}


def read_transcripts(corpus: Path, subsets: set, remedy: str = "") -> Dict[str, str]:
    """Utterance -> text (upper case, one space between words) of the subsets.

    Raises :class:`UmeError` if a subset has none; ``remedy`` is what else its message offers.
    """
    texts: Dict[str, str] = {}
    for subset in sorted(subsets):
        paths = sorted((corpus / subset).glob("*/*/*.trans.txt"))
        if not paths:
            raise UmeError(f"{corpus / subset} has no .trans.txt files; restore them{remedy}")
        for path in paths:
            for line in read_text(path).splitlines():
                name, _, text = line.strip().partition(" ")
                texts[name] = " ".join(text.upper().split())
    return {name: text for name, text in texts.items() if text}


def read_alignments(folder: Optional[str], utterances: Iterable[str]) -> Annotation:
    """All RTTM files of a folder as one annotation, recordings named ``<chapter>-<utterance>``.

    Empty without a folder.

    Raises:
        UmeError: there are none, or of none of ``utterances``, ``<speaker>-<chapter>-<utterance>``.
    """
    if not folder:
        return {}
    paths = sorted(existing(folder).glob("*.rttm"))
    if not paths:
        raise UmeError(f"{folder} holds no .rttm files; check --alignments")
    merged: Annotation = {}
    for path in paths:
        for recording, speakers in read_rttm(path).items():
            merged.setdefault(recording, {}).update(speakers)
    names = {name.partition("-")[2] for name in utterances}
    if merged and names and not names & set(merged):
        raise UmeError(
            f"{folder}: recording {min(merged)} and the others are none of the corpus's, such as "
            f"{min(names)}; name them <chapter>-<utterance>"
        )
    return merged


def read_source(
    source: Source, alignments: Annotation, shortest: float, longest: float
) -> Optional[Tuple[int, List[Segment], str]]:
    """Samples, speech and where it comes from; None when too short or too long."""
    info = read_header(source.path)
    if not shortest <= info.frames / SAMPLING_RATE <= longest:
        return None
    audio = read_audio(source.path, info.frames)  # (T,)
    aligned = alignments.get(source.id.partition("-")[2], {}).get(source.speaker)
    speech = aligned if aligned is not None else detect_speech(audio)
    return len(audio), speech, "alignment" if aligned is not None else "vad"
