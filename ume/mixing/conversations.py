"""Simulate conversations: speakers take turns with pauses and overlaps, how many is not told.

Conversation number i depends on (seed, part, i) and the data folder alone; its noise also on the
parts that are made together, as these share none. Its turns are tracks, those of one speaker
together its source. Noise, if there is some, is in the mixture only.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np
from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.cut import Cut, MixedCut, MixTrack, MonoCut
from lhotse.utils import fastcopy

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import SAMPLING_RATE, write_rttm
from ume.audio import load_audio, read_recordings
from ume.corpora.folder import write_manifest
from ume.errors import UmeError
from ume.files import atomic_folder, existing, write_json
from ume.mixing.cuts import (
    activity_frames,
    cut_activity,
    source_cut,
    speech_segments,
    statistics,
)
from ume.mixing.metadata import LOUDNESS, MAX_PEAK, measure_at_full_scale, mix
from ume.mixing.simulate import parse_mixtures
from ume.mixing.turns import Rules, Spoken, Turn, draw_turns

MODE = "part"  # later speakers start later
SHORTEST_NOISE = 0.5  # seconds


@dataclass(kw_only=True)
class Config(Rules):
    """Options of ``ume simulate-conversations``."""

    data: str
    """Data folder whose utterances are spoken."""
    output: str
    """Mixture folder to write."""
    num_speakers: Union[int, str] = "1,2,3,4"
    """Numbers of speakers, by turns."""
    mixtures: str = "train=3000 dev=200 test=300"
    """Conversations per part; parts of the data folder that are not named are left out."""
    noise: Optional[str] = None
    """Recordings manifest (Lhotse) of noise at 16 kHz, dealt out to the parts; without it pauses
    are silent."""
    snr: List[float] = field(default_factory=lambda: [10.0, 40.0])
    """Lowest and highest ratio of the speakers' mean loudness to the noise's, dB."""
    seed: int = 0
    """Seed of speakers, utterances, turns, levels and noise."""
    num_jobs: int = 1
    """Files read at once; the result is the same for any number."""


@dataclass(frozen=True)
class Part:
    """The utterances of one part of a data folder, those of each speaker, sorted, and noise."""

    recordings: Dict[str, Recording]
    supervisions: Dict[str, SupervisionSegment]
    voices: Dict[str, List[Spoken]]
    noises: Dict[str, Recording]


@dataclass(frozen=True)
class Noise:
    """A recording that goes on from sample ``first``, over and over, at ``level`` LUFS."""

    recording: str
    first: int
    level: float


@dataclass(frozen=True)
class Conversation:
    """Turns in order of time, and the loudness (LUFS) of each speaker."""

    id: str
    turns: List[Turn]
    levels: Dict[str, float]
    noise: Optional[Noise]

    @property
    def num_samples(self) -> int:
        """Samples to the end of the last turn."""
        return max(turn.end for turn in self.turns)


def main(config: Config) -> None:
    """Write the mixture folder; nothing is left behind on failure."""
    config.check()
    numbers = parse_numbers(config.num_speakers)
    if config.num_jobs < 1:
        raise UmeError("--num-jobs must be at least 1")
    existing(config.data, "local/prepare_voxceleb2.sh or local/prepare_speakers.sh")
    if len(config.snr) != 2 or config.snr[0] > config.snr[1]:
        raise UmeError(f"--snr {config.snr}: give the lowest and the highest, such as [10, 40]")
    counts = parse_mixtures(config.mixtures)
    dealt = deal_noise(config.noise, list(counts))
    parts: Dict[str, Any] = {}
    writing = atomic_folder(config.output, "about.json", [config.data, config.noise])
    with writing as folder, ThreadPoolExecutor(config.num_jobs) as pool:
        for name, count in counts.items():
            part = read_part(config.data, name, dealt[name])
            if len(part.voices) < max(numbers):
                raise UmeError(
                    f"{config.data}, part {name}: {len(part.voices)} speakers are fewer than "
                    f"--num-speakers {config.num_speakers} needs"
                )
            conversations = [draw(config, part, name, numbers, index) for index in range(count)]
            cuts = make_cuts(conversations, part, pool)
            write_manifest(folder / f"cuts_{name}_{MODE}.jsonl.gz", cuts)
            write_rttm(
                folder / f"ref_{name}_{MODE}.rttm", {cut.id: cut_activity(cut) for cut in cuts}
            )
            parts[name] = {
                "num_speakers": dict(sorted(Counter(len(c.levels) for c in conversations).items())),
                MODE: {**statistics(cuts), "single_speaker_der": single_speaker_der(cuts)},
                "turns": turn_statistics(conversations),
                "noises": len(part.noises),
            }
        write_json(folder / "about.json", {
            "data": config.data,
            "seed": config.seed,
            "num_speakers": numbers,
            "rules": {rule.name: getattr(config, rule.name) for rule in fields(Rules)},
            "snr": config.snr if config.noise else None,
            "parts": parts,
        })  # fmt: skip


def parse_numbers(given: Union[int, str]) -> List[int]:
    """``1,2,3,4`` as numbers of speakers."""
    words = str(given).split(",")
    if not all(word.isdigit() and int(word) for word in words):
        raise UmeError(f"--num-speakers {given}: give numbers from 1, such as 1,2,3,4")
    return [int(word) for word in words]


def deal_noise(manifest: Optional[str], parts: Sequence[str]) -> Dict[str, Dict[str, Recording]]:
    """The recordings of noise of each part; no part has those of another."""
    found = sorted(read_recordings(manifest, "--noise"), key=lambda recording: recording.id)
    if manifest and len(found) < len(parts):
        raise UmeError(
            f"--noise {manifest}: {len(found)} recordings are too few for the parts "
            f"{', '.join(parts)}, which share none"
        )
    for recording in found:
        if recording.duration < SHORTEST_NOISE:
            raise UmeError(f"--noise: {recording.id} is shorter than half a second; take it out")
    return {name: {r.id: r for r in found[k :: len(parts)]} for k, name in enumerate(parts)}


def read_part(data: str, name: str, noises: Dict[str, Recording]) -> Part:
    """The utterances of one part; those without speech are left out."""
    path = existing(data) / f"recordings_{name}.jsonl.gz"
    if not path.exists():
        raise UmeError(f"--mixtures: {data} has no part {name} ({path} does not exist)")
    recordings = {recording.id: recording for recording in RecordingSet.from_file(path)}
    found = SupervisionSet.from_file(path.with_name(f"supervisions_{name}.jsonl.gz"))
    supervisions = {s.id: s for s in found if speech_segments(s)}
    voices: Dict[str, List[Spoken]] = {}
    for key in sorted(supervisions):
        speech = np.array(speech_segments(supervisions[key])) * SAMPLING_RATE  # (N, 2)
        spoken = Spoken(key, np.minimum(speech.round().astype(int), recordings[key].num_samples))
        voices.setdefault(supervisions[key].speaker, []).append(spoken)
    return Part(recordings, supervisions, voices, noises)


def draw(config: Config, part: Part, name: str, numbers: List[int], index: int) -> Conversation:
    """Draw conversation number ``index`` of a part."""
    rng = np.random.default_rng([config.seed, *name.encode(), index])
    speakers = sorted(part.voices)
    chosen = rng.choice(len(speakers), size=numbers[index % len(numbers)], replace=False)
    voices = [(speakers[i], part.voices[speakers[i]]) for i in chosen]
    loudest = LOUDNESS[1]
    levels = rng.uniform(loudest - config.level_range, loudest, size=len(voices)).tolist()
    turns = draw_turns(voices, config, rng)
    noise = draw_noise(part.noises, float(np.mean(levels)), config.snr, rng)
    by_name = dict(zip((v[0] for v in voices), levels))
    return Conversation(f"{name}-{index:06d}", turns, by_name, noise)


def draw_noise(
    noises: Dict[str, Recording], level: float, snr: Sequence[float], rng: np.random.Generator
) -> Optional[Noise]:
    """One of ``noises``, from anywhere on, ``snr`` dB below ``level`` LUFS."""
    if not noises:
        return None
    name = list(noises)[rng.integers(len(noises))]
    first = int(rng.integers(noises[name].num_samples))
    low, high = snr
    return Noise(name, first, level - float(rng.uniform(low, high)))


def make_cuts(
    conversations: Sequence[Conversation], part: Part, pool: ThreadPoolExecutor
) -> List[MixedCut]:
    """The cuts of ``conversations``; every recording in them is measured once."""
    used = {
        turn.utterance: part.recordings[turn.utterance] for c in conversations for turn in c.turns
    }
    noises = {c.noise.recording: part.noises[c.noise.recording] for c in conversations if c.noise}
    loudness, hum = (dict(zip(own, pool.map(measured, own.values()))) for own in (used, noises))
    return list(pool.map(lambda c: conversation_cut(c, part, loudness, hum), conversations))


def measured(recording: Recording) -> Tuple[float, float]:
    """Loudness (LUFS) and peak of a recording, however quiet it is."""
    name = str(recording.sources[0].source)
    return measure_at_full_scale(load_audio(recording)[0], name=name)


def conversation_cut(
    conversation: Conversation,
    part: Part,
    loudness: Dict[str, Tuple[float, float]],
    hum: Dict[str, Tuple[float, float]],
) -> MixedCut:
    """A track for each turn, at its speaker's level, lowered where the peak would exceed 0.9.

    Then those of the noise. ``loudness`` and ``hum`` are :func:`measured` of utterances and noises.
    """
    turns, levels, noise = conversation.turns, conversation.levels, conversation.noise
    gains = [10 ** ((levels[t.speaker] - loudness[t.utterance][0]) / 20) for t in turns]
    peaks = {
        speaker: max(g * loudness[t.utterance][1] for g, t in zip(gains, turns)
                     if t.speaker == speaker) for speaker in levels
    }  # fmt: skip
    pieces: List[Tuple[int, int, int]] = []
    noise_gain = noise_peak = 0.0
    if noise is not None:
        noise_gain = 10 ** ((noise.level - hum[noise.recording][0]) / 20)
        pieces = noise_pieces(
            noise, part.noises[noise.recording].num_samples, conversation.num_samples
        )
        noise_peak = noise_gain * hum[noise.recording][1]
    if sum(peaks.values()) + noise_peak > MAX_PEAK:  # else the sum cannot
        signals = [
            gain * load_piece(part.recordings[turn.utterance], turn.first, turn.num_samples)
            for gain, turn in zip(gains, turns)
        ]
        starts = [turn.start for turn in turns]
        if noise is not None:
            stretches = {(first, length) for first, length, _ in pieces}
            audio = {s: load_piece(part.noises[noise.recording], *s) for s in stretches}
            signals += [noise_gain * audio[first, length] for first, length, _ in pieces]
            starts += [start for _, _, start in pieces]
        scale = min(1.0, MAX_PEAK / float(np.abs(mix(signals, starts)).max()))
        gains, noise_gain = [scale * gain for gain in gains], scale * noise_gain
    tracks = []
    for number, (turn, gain) in enumerate(zip(turns, gains), 1):
        name = f"{conversation.id}-{number:03d}"
        cut = source_cut(
            name,
            part.recordings[turn.utterance],
            fastcopy(part.supervisions[turn.utterance], id=name),
            gain,
            turn.num_samples / SAMPLING_RATE,
            turn.first / SAMPLING_RATE,
        )
        tracks.append(MixTrack(cut, offset=turn.start / SAMPLING_RATE))
    for number, (first, length, start) in enumerate(pieces, 1):
        assert noise is not None
        cut = MonoCut(
            id=f"{conversation.id}-noise-{number:03d}",
            start=first / SAMPLING_RATE,
            duration=length / SAMPLING_RATE,
            channel=0,
            recording=part.noises[noise.recording].perturb_volume(noise_gain, affix_id=False),
            custom={"gain": noise_gain},
        )
        tracks.append(MixTrack(cut, offset=start / SAMPLING_RATE))
    return MixedCut(id=conversation.id, tracks=tracks)


def noise_pieces(noise: Noise, size: int, total: int) -> List[Tuple[int, int, int]]:
    """First sample, length and start of what fills ``total`` samples with noise of ``size``.

    >>> noise_pieces(Noise("hum", 6, -50.0), 10, 25)
    [(6, 4, 0), (0, 10, 4), (0, 10, 14), (0, 1, 24)]
    """
    pieces: List[Tuple[int, int, int]] = []
    first, start = noise.first, 0
    while start < total:
        length = min(size - first, total - start)
        pieces.append((first, length, start))
        first, start = 0, start + length
    return pieces


def load_piece(recording: Recording, first: int, count: int) -> np.ndarray:
    """Samples [``first``, ``first + count``) of a recording, (T,)."""
    if recording.transforms:  # what it is resampled to depends on where that begins
        return load_audio(recording)[0, first : first + count]
    start, duration = first / SAMPLING_RATE, count / SAMPLING_RATE
    return load_audio(recording, offset=start, duration=duration)[0, :count]


def single_speaker_der(cuts: Iterable[Cut]) -> float:
    """DER (%) of answering that one speaker speaks whenever anybody does.

    It is taken for the speaker who speaks most: what overlaps is missed, what others say confused.
    """
    speech = correct = 0
    for cut in cuts:
        active = activity_frames(cut).sum(axis=0)  # (S,)
        speech += int(active.sum())
        correct += int(active.max())
    return round(100 * (1 - correct / speech), 2)


def turn_statistics(conversations: Sequence[Conversation]) -> Dict[str, float]:
    """What was drawn, averaged over turns (s), changes of speaker, and pairs of speakers (dB)."""
    pairs = [pair for c in conversations for pair in zip(c.turns, c.turns[1:])]
    gaps = np.array([(b.start - a.end) / SAMPLING_RATE for a, b in pairs])
    changed = np.array([a.speaker != b.speaker for a, b in pairs], dtype=bool)
    lengths = [turn.num_samples / SAMPLING_RATE for c in conversations for turn in c.turns]
    differences = [
        abs(one - other)
        for c in conversations
        for k, one in enumerate(c.levels.values())
        for other in list(c.levels.values())[:k]
    ]
    means = {
        "turns_per_conversation": len(lengths) / len(conversations),
        "turn": mean(lengths),
        "change_share": mean(changed),
        "overlap_share": mean(gaps[changed] < 0),
        "overlap": mean(-gaps[gaps < 0]),
        "pause": mean(gaps[gaps >= 0]),
        "level_difference": mean(differences),
    }
    return {name: round(value, 3) for name, value in means.items()}


def mean(values: Any) -> float:
    """The mean, 0 of nothing."""
    return float(np.mean(values)) if len(values) else 0.0
