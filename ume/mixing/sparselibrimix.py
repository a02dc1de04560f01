"""SparseLibriMix: its published metadata, LibriSpeech and WHAM! noise -> mixture folder.

The speakers of a mixture (2 or 3) take turns with utterances cut out of LibriSpeech by forced
alignment. Each is made free of direct current, brought to the loudness of the metadata, and put
where the metadata says; noise likewise. So a speaker has several tracks, whose sum is its source.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np
import soundfile
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment
from lhotse.augmentation import Volume
from lhotse.cut import MixedCut, MixTrack, PaddingCut
from lhotse.supervision import AlignmentItem
from lhotse.utils import LOG_EPSILON

from ume.activity import SAMPLING_RATE
from ume.corpora.librispeech import read_sexes, read_transcripts
from ume.errors import UmeError
from ume.files import existing, read_json
from ume.mixing.evaluation import (
    EvaluationSet,
    check_complete,
    choose_parts,
    write_evaluation_folder,
)
from ume.mixing.metadata import measure
from ume.mixing.offset import Offset

SUBSET, NOISE_SUBSET = "test-clean", "tt"
METER_BLOCK = 0.1  # seconds; utterances may be of one word
UNKNOWN = "<unk>"  # a word that the aligner's lexicon lacks


@dataclass
class Config:
    """Options of ``ume prepare-sparselibrimix``."""

    metadata: str
    """A checkout of SparseLibriMix (its `metadata/sparse_<speakers>_<overlap>/metadata.json`)."""
    librispeech: str
    """LibriSpeech folder, with test-clean and SPEAKERS.TXT."""
    output: str
    """Mixture folder to write."""
    wham: Optional[str] = None
    """WHAM! noise folder, with `tt`; without it only the clean sets can be made."""
    parts: str = ""
    """Sets to make, such as `sparse-2mix-40-clean`: speakers, overlap in %, `clean` or `noisy`;
    without it all that can be made."""
    num_jobs: int = 1
    """Utterances measured at once; the result is the same for any number."""


@dataclass(frozen=True)
class Piece:
    """A stretch of an audio file: samples [``first``, ``last``) of one channel."""

    path: Path
    first: int
    last: int
    channel: int


@dataclass(frozen=True)
class Level:
    """What was measured of a piece, and of its file."""

    mean: float
    loudness: float  # LUFS, without the mean
    num_samples: int  # of the piece: fewer than asked for where the file ends before
    file_samples: int
    file_channels: int


@dataclass(frozen=True)
class Track:
    """A piece in a mixture."""

    piece: Piece
    start: int  # samples, in the mixture
    loudness: float  # LUFS, to bring it to
    supervision: Optional[SupervisionSegment]  # None: noise


@dataclass(frozen=True)
class Row:
    """One mixture of the metadata; its tracks in source order, then noise."""

    id: str
    tracks: List[Track]

    def of(self, noisy: bool) -> List[Track]:
        """The tracks that are heard in the noisy or in the clean mixture."""
        return [track for track in self.tracks if noisy or track.supervision is not None]

    @property
    def num_samples(self) -> int:
        """Samples of the mixture; the noise makes it last a little longer than the speech."""
        return max(track.start + track.piece.last - track.piece.first for track in self.tracks)


def main(config: Config) -> None:
    """Write the mixture folder; nothing is left behind on failure."""
    if config.num_jobs < 1:
        raise UmeError("--num-jobs must be at least 1")
    metadata = existing(config.metadata) / "metadata"
    sources = find_sets(metadata, noisy=config.wham is not None)
    parts = choose_parts(sources, config.parts, metadata)
    corpus = existing(config.librispeech)
    sexes = read_sexes(corpus / "SPEAKERS.TXT")
    texts = read_transcripts(corpus, {SUBSET})
    noise = Path(config.wham or "") / NOISE_SUBSET

    @lru_cache(maxsize=None)  # a clean set and its noisy one have the same rows
    def rows_of(path: Path) -> List[Row]:
        return list(read_rows(path, corpus / SUBSET, noise, sexes, texts))

    rows = {part: rows_of(sources[part]) for part in parts}
    tracks = {
        part: [t for row in own for t in row.of(part.endswith("-noisy"))]
        for part, own in rows.items()
    }
    check_complete({part: [t.piece.path for t in own] for part, own in tracks.items()})
    pieces = list(dict.fromkeys(track.piece for own in tracks.values() for track in own))
    with ThreadPoolExecutor(config.num_jobs) as pool:
        levels = dict(zip(pieces, pool.map(measure_piece, pieces)))
    sets = [
        EvaluationSet(
            part,
            [row_cut(row, part.endswith("-noisy"), levels) for row in own],
            {"alignment": sum(track.supervision is not None for track in tracks[part])},
        )
        for part, own in rows.items()
    ]
    inputs = [config.metadata, config.librispeech]
    write_evaluation_folder(config.output, sets, {"corpus": "SparseLibriMix"}, inputs)


def find_sets(metadata: Path, noisy: bool) -> Dict[str, Path]:
    """Part -> metadata file of the sets that are there; noisy ones too if ``noisy``.

    An overlap ratio is named in per cent: names of parts have no dots.
    """
    found = {}
    for path in metadata.glob("sparse_*_*/metadata.json"):
        _, speakers, overlap = path.parent.name.split("_")
        name = f"sparse-{speakers}mix-{round(100 * float(overlap))}"
        for kind in ("clean", "noisy") if noisy else ("clean",):
            found[f"{name}-{kind}"] = path
    return found


def read_rows(
    path: Path, corpus: Path, noise: Path, sexes: Dict[str, str], texts: Dict[str, str]
) -> Iterator[Row]:
    """The mixtures of a metadata file; :class:`UmeError` names one that is not as published."""
    for entry in read_json(path):
        try:
            name = entry["mixture_name"]
            speech = [one for key in sorted(set(entry) - {"mixture_name", "noise"})
                      for one in entry[key]]  # fmt: skip
            tracks = [speech_track(name, one, corpus, sexes, texts) for one in speech]
            yield Row(name, tracks + [noise_track(one, noise) for one in entry["noise"]])
        except (KeyError, TypeError, ValueError) as error:
            raise UmeError(
                f"{path}: a mixture is not as in SparseLibriMix ({error!r}); fetch it again"
            ) from None


def make_piece(entry: Dict[str, Any], folder: Path, channel: int) -> Piece:
    """The stretch of a file that an utterance, or noise, is."""
    first, last = (int(entry[time] * SAMPLING_RATE) for time in ("orig_start", "orig_stop"))
    return Piece(folder / entry["file"], first, last, channel)


def speech_track(
    mixture: str, entry: Dict[str, Any], corpus: Path, sexes: Dict[str, str], texts: Dict[str, str]
) -> Track:
    """An utterance; all of it is speech."""
    piece = make_piece(entry, corpus, 0)
    name = f"{mixture}-{entry['source']}-{entry['sub_utt_num']}"
    duration = (piece.last - piece.first) / SAMPLING_RATE
    supervision = SupervisionSegment(
        id=name,
        recording_id=entry["utt_id"],
        start=0.0,
        duration=duration,
        text=known_words(entry["words"], texts.get(entry["utt_id"], "")),
        language="English",
        speaker=entry["spk_id"],
        gender=sexes[entry["spk_id"]],
        alignment={"speech": [AlignmentItem("speech", 0.0, duration)]},
    )
    return Track(piece, int(entry["start"] * SAMPLING_RATE), entry["lvl"], supervision)


def noise_track(entry: Dict[str, Any], folder: Path) -> Track:
    """The noise of a mixture."""
    piece = make_piece(entry, folder, entry["channel"])
    return Track(piece, int(entry["start"] * SAMPLING_RATE), entry["lvl"], None)


def known_words(words: Sequence[str], transcript: str) -> Optional[str]:
    """``words`` with those unknown to the aligner taken from the transcript; None if unclear.

    >>> known_words(["the", "<unk>", "did"], "BUT THE DAWN TREADER DID SAIL THE KITE DID")
    'THE KITE DID'
    """
    wanted = [word.upper() for word in words]
    if UNKNOWN.upper() not in wanted:
        return " ".join(wanted)
    there = transcript.split()
    stretches = (there[k : k + len(wanted)] for k in range(len(there) - len(wanted) + 1))
    found = {
        " ".join(stretch)
        for stretch in stretches
        if all(word in (UNKNOWN.upper(), heard) for word, heard in zip(wanted, stretch))
    }
    return found.pop() if len(found) == 1 else None


def measure_piece(piece: Piece) -> Level:
    """Mean and loudness of a piece; :class:`UmeError` if it cannot be read."""
    try:
        with soundfile.SoundFile(piece.path) as file:
            file.seek(piece.first)
            audio = file.read(piece.last - piece.first, always_2d=True)[:, piece.channel]  # (T,)
            samples, channels, rate = file.frames, file.channels, file.samplerate
    except (soundfile.LibsndfileError, IndexError):
        raise UmeError(f"{piece.path} is truncated or not as published; restore it") from None
    if rate != SAMPLING_RATE:
        raise UmeError(f"{piece.path} has {rate} Hz, not {SAMPLING_RATE}; use the 16 kHz version")
    mean = float(np.mean(audio))
    name = f"{piece.path}, samples {piece.first} to {piece.last},"
    loudness, _ = measure(audio - mean, METER_BLOCK, name)
    return Level(mean, loudness, len(audio), samples, channels)


def row_cut(row: Row, noisy: bool, levels: Dict[Piece, Level]) -> MixedCut:
    """The mixture cut of docs/contracts.md; both kinds of a mixture last as long."""
    tracks = [
        MixTrack(
            track_cut(f"{row.id}-{k}", track, levels[track.piece]),
            offset=track.start / SAMPLING_RATE,
        )
        for k, track in enumerate(row.of(noisy), 1)
    ]
    if not noisy:
        duration = row.num_samples / SAMPLING_RATE
        silence = PaddingCut(f"{row.id}-pad", duration, SAMPLING_RATE, LOG_EPSILON,
                             num_samples=row.num_samples)  # fmt: skip
        tracks.append(MixTrack(silence))
    return MixedCut(id=row.id, tracks=tracks)


def track_cut(name: str, track: Track, level: Level) -> MonoCut:
    """A piece at its loudness."""
    piece, gain = track.piece, 10 ** ((track.loudness - level.loudness) / 20)
    duration = level.num_samples / SAMPLING_RATE
    recording = Recording(
        id=piece.path.stem,
        sources=[AudioSource("file", list(range(level.file_channels)), str(piece.path))],
        sampling_rate=SAMPLING_RATE,
        num_samples=level.file_samples,
        duration=level.file_samples / SAMPLING_RATE,
        transforms=[Offset(-level.mean), Volume(gain)],
    )
    return MonoCut(
        id=name,
        start=piece.first / SAMPLING_RATE,
        duration=duration,
        channel=piece.channel,
        recording=recording,
        supervisions=[track.supervision.trim(end=duration)] if track.supervision else [],
        custom={"gain": gain},
    )
