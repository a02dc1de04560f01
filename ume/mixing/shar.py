"""Export a mixture folder as Lhotse Shar: audio in tar files, read in one go, for clusters.

``OUTPUT/<part>_<mode>/`` holds, shard by shard, ``cuts.000000.jsonl.gz`` and tar files of FLAC:
``recording`` (the mixture), ``source_1`` and so on, one for each speaker, ``noise`` where there is
any. Every cut is a ``MonoCut`` of the mixture, with the supervisions of all sources in their order;
the sources and the noise, as long as the mixture, are its custom recordings, those that it has.
Real recordings have none.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import soundfile
from lhotse import MonoCut, Recording
from lhotse.cut import Cut, MixTrack
from lhotse.shar import SharWriter
from lhotse.utils import fastcopy
from tqdm import tqdm

from ume.audio import load_audio
from ume.dataset.mixtures import add_track, num_samples, tracks_by_speaker, tracks_of
from ume.errors import UmeError
from ume.files import atomic_folder
from ume.jobs import of_job
from ume.mixing.folder import claim, cuts_of, manifest, sets_of


@dataclass
class Config:
    """Options of ``ume export-shar``."""

    mixtures: str
    """Mixture folder."""
    output: str
    """Folder to write a folder of shards to for each part and mode."""
    shard_size: int = 1000
    """Mixtures per shard."""
    job: int = 1
    """This job, from 1."""
    num_jobs: int = 1
    """Jobs in all; job j makes every num_jobs-th shard, the same for any number."""


def main(config: Config) -> None:
    """Write this job's shards, but for those that are there."""
    if config.shard_size < 1:
        raise UmeError("--shard-size must be at least 1")
    for part, mode in sets_of(config.mixtures):
        cuts = cuts_of(config.mixtures, part, mode)
        shards = [cuts[i : i + config.shard_size] for i in range(0, len(cuts), config.shard_size)]
        folder = Path(config.output) / f"{part}_{mode}"
        record = folder.with_suffix(".json")  # in the folder Lhotse would take it for a field
        claim(record, manifest(config.mixtures, part, mode), shard_size=config.shard_size)
        kinds = sorted({name for cut in cuts for name in parts_of(cut)})  # Lhotse wants them all
        numbered = of_job(list(enumerate(shards)), config.job, config.num_jobs)
        for number, shard in tqdm(numbered, desc=f"{part} {mode}", mininterval=5):
            write_shard(folder, number, shard, kinds)


def write_shard(folder: Path, number: int, cuts: List[Cut], kinds: List[str]) -> None:
    """Write one shard, with a tar file of each of ``kinds`` of parts.

    Its ``cuts`` file comes last, so that a shard which has one is whole.
    """
    suffix = f".{number:06d}"
    if (folder / f"cuts{suffix}.jsonl.gz").exists():
        return
    with atomic_folder(folder / f"shard{suffix}") as aside:
        fields = dict.fromkeys(["recording", *kinds], "flac")
        with SharWriter(aside, fields, shard_size=None, shard_suffix=suffix) as writer:
            for cut in cuts:
                writer.write(mono_cut(cut))
        for path in sorted(aside.iterdir(), key=lambda path: path.name.startswith("cuts")):
            path.replace(folder / path.name)
    (folder / f"shard{suffix}").rmdir()


def parts_of(cut: Cut) -> Dict[str, List[MixTrack]]:
    """The tracks of which ``source_1`` and so on, and ``noise``, are the sums, where there are any.

    A source is a speaker, in all of their turns.
    """
    found = tracks_by_speaker(cut)
    noise = [track for track in found.pop(None) if not track.cut.supervisions]
    parts = {f"source_{k}": tracks for k, tracks in enumerate(found.values(), 1)}
    return {name: tracks for name, tracks in {**parts, "noise": noise}.items() if tracks}


def mono_cut(cut: Cut) -> MonoCut:
    """A mixture as one recording, in memory, with its sources and noise as custom recordings."""
    found = parts_of(cut)
    parts: Dict[str, np.ndarray] = {}
    for name, tracks in found.items():
        parts[name] = np.zeros(num_samples(cut, cut.sampling_rate), np.float32)
        for track in tracks:
            add_track(track, parts[name], 0, cut.sampling_rate)
    if sum(map(len, found.values())) == len(tracks_of(cut)):  # decoded already
        mixture = np.sum(list(parts.values()), axis=0)  # (T,)
    else:
        mixture = load_audio(cut)[0]
    # 16 bits end at full scale: a mixture above it becomes softer, and its parts with it
    scale = max(1.0, *(float(np.abs(audio).max()) for audio in (mixture, *parts.values())))
    custom: Dict[str, Any] = {
        name: in_memory(f"{cut.id}-{name}", audio / scale, cut.sampling_rate)
        for name, audio in parts.items()
    }
    recording = in_memory(cut.id, mixture / scale, cut.sampling_rate)
    return MonoCut(
        id=cut.id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        recording=recording,
        supervisions=[fastcopy(s, recording_id=cut.id) for s in cut.supervisions],
        custom=custom,
    )


def in_memory(name: str, audio: np.ndarray, rate: int) -> Recording:
    """``audio`` (T,) as a recording of 16 bits, which Shar writes as FLAC without loss."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, "PCM_16", format="WAV")
    return Recording.from_bytes(buffer.getvalue(), name)
