"""A synthetic test set: noise for speech, two speakers of four, with hypothesis and controls."""

import json
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Sequence

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.cut import MixedCut, MixTrack
from lhotse.supervision import AlignmentItem
from pyannote.core import Annotation
from pyannote.core import Segment as Stretch

from ume.activity import Segment, write_rttm

RATE = 16000
SPEAKERS = {"ann": "F", "bea": "F", "carl": "M", "dan": "M"}
PAIRS = [("ann", "bea"), ("ann", "carl"), ("bea", "dan"), ("carl", "dan"), ("dan", "ann")]
WORDS = ["ONE", "TWO", "THREE", "FOUR", "FIVE"]


class Mixture(NamedTuple):
    """The truth about one mixture, and what the hypothesis says."""

    id: str
    speakers: List[str]
    duration: float
    sources: np.ndarray  # (S, T)
    speech: Dict[str, list]
    texts: Dict[str, str]
    hyp_speech: Dict[str, list]
    hyp_texts: Dict[str, str]
    voices: np.ndarray  # (S, T) as read back from the hypothesis


class Material(NamedTuple):
    """Files of a test set, and what they say."""

    cuts: Path
    hyp: Path
    mixtures: List[Mixture]


def make_mixture(folder: Path, index: int) -> "tuple[Mixture, MixedCut]":
    rng = np.random.default_rng([7, index])
    speakers = list(PAIRS[index % len(PAIRS)])
    starts, lengths = [0.0, 0.5], [1.5 + 0.1 * (index % 3), 1.5]
    duration = max(start + length for start, length in zip(starts, lengths))
    name = f"mix-{index:03d}"
    tracks, sources, speech, texts = [], [], {}, {}
    for k, speaker in enumerate(speakers):
        samples = round(lengths[k] * RATE)
        audio = np.zeros(samples, dtype=np.float32)
        inside = slice(round(0.1 * RATE), samples - round(0.2 * RATE))
        audio[inside] = 0.1 * rng.standard_normal(inside.stop - inside.start)
        path = folder / "audio" / f"{name}-{speaker}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio, RATE, subtype="FLOAT")
        texts[speaker] = " ".join(rng.choice(WORDS, size=4))
        speech[speaker] = [(starts[k] + 0.1, starts[k] + lengths[k] - 0.2)]
        supervision = SupervisionSegment(
            id=path.stem, recording_id=path.stem, start=0, duration=lengths[k], speaker=speaker,
            gender=SPEAKERS[speaker], text=texts[speaker],
            alignment={"speech": [AlignmentItem("speech", 0.1, lengths[k] - 0.3)]},
        )  # fmt: skip
        cut = MonoCut(
            id=path.stem, start=0, duration=lengths[k], channel=0,
            recording=Recording.from_file(path), supervisions=[supervision],
        )  # fmt: skip
        tracks.append(MixTrack(cut, offset=starts[k]))
        source = np.zeros(round(duration * RATE), dtype=np.float32)
        source[round(starts[k] * RATE) :][:samples] = audio
        sources.append(source)
    voices = np.stack(sources)[::-1] + 0.03 * rng.standard_normal((2, len(source)))
    hyp_speech = {"1": [(0.6, 1.6), (1.7, 1.9)], "2": [(0.1, 1.2)]}
    hyp_texts = {"1": texts[speakers[1]] + " FIVE", "2": " ".join(texts[speakers[0]].split()[:3])}
    mixture = Mixture(name, speakers, duration, np.stack(sources), speech, texts,
                      hyp_speech, hyp_texts, voices)  # fmt: skip
    return mixture, MixedCut(id=name, tracks=tracks)


def write_hypothesis(folder: Path, mixtures: List[Mixture], source: str, streams: dict) -> None:
    """A hypothesis folder; ``streams[id]`` is stream -> words."""
    (folder / "words").mkdir(parents=True)
    meta = {
        "model": {"path": "model.safetensors", "sha256": "0"}, "cuts": "cuts", "input": source,
        "num_recordings": len(mixtures), "recordings": [m.id for m in mixtures],
        "num_speakers": 1 if source == "mixture" else 2, "threshold": 0.5, "median": 11,
        "tasks": ["diarization", "separation", "asr"], "alignment_rule": "test",
        "cpu_seconds": 1.0, "audio_seconds": 10.0,
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))
    entries = [
        {"session_id": m.id, "speaker": k, "words": words, "start_time": 0, "end_time": m.duration}
        for m in mixtures
        for k, words in streams[m.id].items()
    ]
    (folder / "words" / "1best.json").write_text(json.dumps(entries))


def make_test_set(folder: Path, size: int = 6, name: str = "test_max") -> Material:
    """Cuts, the hypothesis ``separated`` and the controls ``sources`` and ``mixture``."""
    made = [make_mixture(folder, index) for index in range(size)]
    cuts = folder / "cuts.jsonl.gz"
    CutSet.from_cuts(cut for _, cut in made).to_file(cuts)
    hyp = folder / "exp" / name
    mixtures = []
    for mixture, _ in made:
        written = []
        for k, voice in enumerate(mixture.voices, 1):
            path = hyp / "separated" / "audio" / f"{mixture.id}_{k}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, voice, RATE, subtype="PCM_16")
            written.append(soundfile.read(path, dtype="float32")[0])
        mixtures.append(mixture._replace(voices=np.stack(written)))
    write_rttm(hyp / "separated" / "hyp.rttm", {m.id: m.hyp_speech for m in mixtures})
    write_hypothesis(
        hyp / "separated", mixtures, "separated", {m.id: m.hyp_texts for m in mixtures}
    )
    write_hypothesis(
        hyp / "sources", mixtures, "sources",
        {m.id: {str(k): m.texts[s] for k, s in enumerate(m.speakers, 1)} for m in mixtures},
    )  # fmt: skip
    write_hypothesis(
        hyp / "mixture", mixtures, "mixture",
        {m.id: {"1": " ".join(m.texts.values())} for m in mixtures},
    )  # fmt: skip
    return Material(cuts, hyp, mixtures)


def annotation(speech: Mapping[str, Sequence[Segment]]) -> Annotation:
    """Speech of each speaker as pyannote has it."""
    return Annotation.from_records(
        (Stretch(*segment), f"{speaker}{n}", speaker)
        for speaker, segments in speech.items()
        for n, segment in enumerate(segments)
    )
