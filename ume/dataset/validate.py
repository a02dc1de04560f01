"""Check manifests: ids, supervisions, activity, words, and that the audio is there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Set

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.augmentation import Volume
from lhotse.cut import Cut, MixedCut

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import SAMPLING_RATE, Segment
from ume.audio import load_audio
from ume.dataset.mixtures import num_samples, read_cuts, tracks_of
from ume.errors import UmeError
from ume.files import existing, read_json, read_text, recorded
from ume.mixing.cuts import talks_over_itself, utterances
from ume.mixing.transforms import file_format

SAMPLE = 1 / SAMPLING_RATE  # tolerance of times, seconds
LEAST_BIT = 2**-15  # tolerance of audio: 1 LSB of 16 bits


@dataclass
class Config:
    """Options of ``ume validate``."""

    cuts: str
    """A manifest of cuts, or a mixture or data folder: all its manifests."""
    audio: bool = False
    """Decode everything: the length, finite samples, and the mixture as the sum of its sources."""


def main(config: Config) -> None:
    """Raise :class:`UmeError` that names the first cut with a fault."""
    path = existing(config.cuts, "the stage of mixtures")
    manifests = sorted(path.glob("cuts_*.jsonl.gz")) or sorted(path.glob("recordings_*.jsonl.gz"))
    if path.is_dir() and not manifests:
        raise UmeError(f"{path} holds no manifests (cuts_*.jsonl.gz, recordings_*.jsonl.gz)")
    for manifest in manifests or [path]:
        faults = list(check_manifest(manifest, config.audio))
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise UmeError(f"{manifest}: {faults[0]}{more}; make it again with --force true")


def check_manifest(path: Path, audio: bool) -> Iterator[str]:
    """The faults of one manifest, one line each."""
    cuts = utterance_cuts(path) if path.name.startswith("recordings_") else read_cuts(path)
    promised = promised_texts(path)
    ids: Set[str] = set()
    headers: Dict[str, Optional[str]] = {}  # audio file -> its fault
    for cut in cuts:
        if cut.id in ids:
            yield f"cut {cut.id} is there twice"
        ids.add(cut.id)
        recording = not path.name.startswith("recordings_") and isinstance(cut, MonoCut)
        of_cut = check_recording(cut) if recording else check_cut(cut)
        faults = [*of_cut, *check_gains(cut), *check_texts(cut, promised)]
        faults += check_headers(cut, headers)
        if audio and not faults:
            faults = list(check_audio(cut))
        yield from (f"cut {cut.id}: {fault}" for fault in faults)


def utterance_cuts(path: Path) -> List[Cut]:
    """The utterances of one part of a data folder as cuts."""
    part = path.name[len("recordings_") :]
    supervisions = existing(path.with_name(f"supervisions_{part}"))
    cuts = CutSet.from_manifests(
        recordings=RecordingSet.from_file(path),
        supervisions=SupervisionSet.from_file(supervisions),
    )
    return list(cuts)


def promised_texts(path: Path) -> Dict[str, str]:
    """Utterance -> text of the data folder behind a manifest.

    Empty where words may be cut, and for a manifest whose name is none of ours.
    """
    kind, _, part = path.name.split(".")[0].partition("_")
    folder = path.parent
    if kind == "cuts":
        part, _, mode = part.rpartition("_")
        if mode not in ("max", "part") or not (folder / "about.json").exists():
            return {}
        about = read_json(folder / "about.json")
        if "data" not in about:  # recordings, of which no words are known
            return {}
        folder = recorded(about["data"], folder / "about.json")
    elif kind != "recordings":
        return {}
    lines = read_text(folder / f"text_{part}").splitlines()
    return {name: text for name, _, text in (line.partition(" ") for line in lines)}


def check_cut(cut: Cut) -> Iterator[str]:
    """Faults in the tracks, supervisions, speakers and activity of a cut."""
    if any(len(track.cut.supervisions) > 1 for track in tracks_of(cut)):
        yield "a track has more than one supervision"
    for supervision in cut.supervisions:
        if supervision.gender not in ("F", "M"):
            yield f"supervision {supervision.id} has gender {supervision.gender!r}, not F or M"
    yield from check_recording(cut)


def check_recording(cut: Cut) -> Iterator[str]:
    """Faults in the speakers and activity of a cut whose voices need not be known apart."""
    if not cut.supervisions:
        yield "it has no supervision"
    for speaker, own in utterances(cut).items():
        if talks_over_itself(own):
            yield f"speaker {speaker} is there twice at a time"
    for supervision in cut.supervisions:
        if supervision.start < -SAMPLE or supervision.end > cut.duration + SAMPLE:
            yield f"supervision {supervision.id} is not inside the cut"
        yield from check_activity(supervision)


def check_activity(supervision: SupervisionSegment) -> Iterator[str]:
    """Faults of a supervision's speech activity."""
    if "speech" not in (supervision.alignment or {}):
        yield f"supervision {supervision.id} has no speech activity"
        return
    last: Segment = (supervision.start, supervision.start)
    for item in supervision.alignment["speech"]:
        if item.duration <= 0 or item.start < last[1] - SAMPLE:
            yield f"speech of {supervision.id} at {item.start:g} s is empty or out of order"
        if item.end > supervision.end + SAMPLE or item.start < supervision.start - SAMPLE:
            yield f"speech of {supervision.id} at {item.start:g} s is not inside its supervision"
        last = (item.start, item.end)


def check_gains(cut: Cut) -> Iterator[str]:
    """Gains of tracks that are no numbers."""
    for track in tracks_of(cut):
        for transform in track.cut.recording.transforms or []:
            if isinstance(transform, Volume) and not np.isfinite(transform.factor):
                yield f"track {track.cut.id} has gain {transform.factor}"


def check_texts(cut: Cut, promised: Dict[str, str]) -> Iterator[str]:
    """Faults of words: not as the data folder has them, or not upper case with single spaces."""
    for supervision in cut.supervisions:
        text = supervision.text
        if supervision.id in promised and text != promised[supervision.id]:
            yield f"the text of {supervision.id} is not that of its data folder"
        elif text is not None and (not text or text != " ".join(text.upper().split())):
            yield f"the text of {supervision.id} is not upper case with single spaces"


def check_headers(cut: Cut, known: Dict[str, Optional[str]]) -> Iterator[str]:
    """Faults of the audio files behind a cut, by their headers; ``known`` spares a second look."""
    for track in tracks_of(cut):
        recording = track.cut.recording
        path = str(recording.sources[0].source)
        if path not in known:
            known[path] = header_fault(path, recording)
        if known[path]:
            yield str(known[path])


def header_fault(path: str, recording: Recording) -> Optional[str]:
    """What is wrong with the audio file behind a recording, if anything."""
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        return f"{path} is missing or no audio"
    rate, samples = file_format(recording)
    if (info.samplerate, info.channels, info.frames) != (rate, recording.num_channels, samples):
        return (
            f"{path} has {info.frames} samples, {info.samplerate} Hz, "
            f"{info.channels} channel(s), not {samples}, {rate}, {recording.num_channels}"
        )
    return None


def check_audio(cut: Cut) -> Iterator[str]:
    """Faults found by decoding: length, values, and the sum of the sources."""
    mixture = load_audio(cut)[0]  # (T,)
    samples = num_samples(cut, cut.sampling_rate)
    if len(mixture) != samples:
        yield f"it has {len(mixture)} samples, not {samples}"
    if not np.isfinite(mixture).all():
        yield "its audio is not finite"
    if isinstance(cut, MixedCut):
        total = sum(np.squeeze(source, 0) if source.ndim == 2 else source
                    for source in load_audio(cut, mixed=False))  # fmt: skip
        if np.abs(total[: len(mixture)] - mixture).max() > LEAST_BIT:
            yield "it is not the sum of its sources"
