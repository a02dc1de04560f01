"""Simulate conversations: speakers take turns with pauses and overlaps, how many is not told.

Conversation number i depends on (seed, part, i) and the data folder alone. Its turns are tracks,
those of one speaker together its source.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np
from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.cut import Cut, MixedCut, MixTrack
from lhotse.utils import fastcopy

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import SAMPLING_RATE, write_rttm
from ume.audio import load_audio
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
from ume.mixing.metadata import LOUDNESS, MAX_PEAK, measure, mix
from ume.mixing.simulate import parse_mixtures
from ume.mixing.turns import Rules, Spoken, Turn, draw_turns

MODE = "part"  # later speakers start later


@dataclass(kw_only=True)
class Config(Rules):
    """Options of ``ume simulate-conversations``."""

    data: str
    """Data folder whose utterances are spoken."""
    output: str
    """Mixture folder to write."""
    num_speakers: str = "1,2,3,4"
    """Numbers of speakers, by turns."""
    mixtures: str = "train=3000 dev=200 test=300"
    """Conversations per part; parts of the data folder that are not named are left out."""
    seed: int = 0
    """Seed of speakers, utterances, turns and levels."""
    num_jobs: int = 1
    """Files read at once; the result is the same for any number."""


@dataclass(frozen=True)
class Part:
    """The utterances of one part of a data folder, and those of each speaker, sorted."""

    recordings: Dict[str, Recording]
    supervisions: Dict[str, SupervisionSegment]
    voices: Dict[str, List[Spoken]]


@dataclass(frozen=True)
class Conversation:
    """Turns in order of time, and the loudness (LUFS) of each speaker."""

    id: str
    turns: List[Turn]
    levels: Dict[str, float]


def main(config: Config) -> None:
    """Write the mixture folder; nothing is left behind on failure."""
    config.check()
    numbers = parse_numbers(config.num_speakers)
    if config.num_jobs < 1:
        raise UmeError("--num-jobs must be at least 1")
    existing(config.data, "local/prepare_voxceleb2.sh or local/prepare_speakers.sh")
    parts: Dict[str, Any] = {}
    with atomic_folder(config.output) as folder, ThreadPoolExecutor(config.num_jobs) as pool:
        for name, count in parse_mixtures(config.mixtures).items():
            part = read_part(config.data, name)
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
            }
        write_json(folder / "about.json", {
            "data": config.data,
            "seed": config.seed,
            "num_speakers": numbers,
            "rules": {field.name: getattr(config, field.name) for field in fields(Rules)},
            "parts": parts,
        })  # fmt: skip


def parse_numbers(given: str) -> List[int]:
    """``1,2,3,4`` as numbers of speakers."""
    words = str(given).split(",")
    if not all(word.isdigit() and int(word) for word in words):
        raise UmeError(f"--num-speakers {given}: give numbers from 1, such as 1,2,3,4")
    return [int(word) for word in words]


def read_part(data: str, name: str) -> Part:
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
    return Part(recordings, supervisions, voices)


def draw(config: Config, part: Part, name: str, numbers: List[int], index: int) -> Conversation:
    """Draw conversation number ``index`` of a part."""
    rng = np.random.default_rng([config.seed, *name.encode(), index])
    speakers = sorted(part.voices)
    chosen = rng.choice(len(speakers), size=numbers[index % len(numbers)], replace=False)
    voices = [(speakers[i], part.voices[speakers[i]]) for i in chosen]
    loudest = LOUDNESS[1]
    levels = rng.uniform(loudest - config.level_range, loudest, size=len(voices)).tolist()
    turns = draw_turns(voices, config, rng)
    return Conversation(f"{name}-{index:06d}", turns, dict(zip((v[0] for v in voices), levels)))


def make_cuts(
    conversations: Sequence[Conversation], part: Part, pool: ThreadPoolExecutor
) -> List[MixedCut]:
    """The cuts of ``conversations``; every utterance in them is measured once."""
    used = sorted({turn.utterance for c in conversations for turn in c.turns})
    loudness = dict(zip(used, pool.map(lambda name: measured(part.recordings[name]), used)))
    return list(pool.map(lambda c: conversation_cut(c, part, loudness), conversations))


def measured(recording: Recording) -> Tuple[float, float]:
    """Loudness (LUFS) and peak of a recording, however quiet it is."""
    audio = load_audio(recording)[0]  # (T,)
    peak = float(np.abs(audio).max())
    return measure(audio / peak)[0] + 20 * float(np.log10(peak)), peak


def conversation_cut(
    conversation: Conversation, part: Part, loudness: Dict[str, Tuple[float, float]]
) -> MixedCut:
    """A track for each turn, at its speaker's level, lowered where the peak would exceed 0.9."""
    turns, levels = conversation.turns, conversation.levels
    gains = [10 ** ((levels[t.speaker] - loudness[t.utterance][0]) / 20) for t in turns]
    peaks = {
        speaker: max(g * loudness[t.utterance][1] for g, t in zip(gains, turns)
                     if t.speaker == speaker) for speaker in levels
    }  # fmt: skip
    if sum(peaks.values()) > MAX_PEAK:  # else the sum cannot
        peak = np.abs(mix(
            [gain * load_piece(turn, part) for gain, turn in zip(gains, turns)],
            [turn.start for turn in turns],
        )).max()  # fmt: skip
        gains = [gain * min(1.0, MAX_PEAK / float(peak)) for gain in gains]
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
    return MixedCut(id=conversation.id, tracks=tracks)


def load_piece(turn: Turn, part: Part) -> np.ndarray:
    """The samples of a turn, (T,)."""
    audio = load_audio(part.recordings[turn.utterance])[0]
    return audio[turn.first : turn.first + turn.num_samples]


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
