"""Synthesise the embedded corpus with espeak-ng: a small LibriSpeech that any machine can make."""

import json
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterator, List

import numpy as np
from scipy.signal import resample_poly

from ume.activity import SAMPLING_RATE, detect_speech
from ume.audio import write_flac
from ume.corpora.folder import Utterance, write_data_folder
from ume.corpora.grammar import sentences, transcript
from ume.corpora.voices import PARTS, SEXES, VARIANTS, Voice, make_voices
from ume.errors import UmeError
from ume.files import atomic_folder

SHORTEST, LONGEST = 2.0, 6.0  # seconds
SPARE = 3  # sentences spoken per sentence kept
MARGIN = (0.1, 0.6)  # seconds of silence before and after the speech, as recordings have
WORKER = Path(__file__).with_name("espeak_worker.py")


@dataclass
class Config:
    """Options of ``ume prepare-embedded``."""

    output: str
    """Data folder to write."""
    train_speakers: int = 160
    """Voices of the training part; half of them women, as in every part."""
    dev_speakers: int = 8
    """Voices of the development part."""
    test_speakers: int = 12
    """Voices of the test part."""
    utterances: int = 24
    """Utterances per voice."""
    seed: int = 0
    """Seed of voices and sentences."""
    num_jobs: int = 1
    """Voices spoken at once; the result is the same for any number."""


def main(config: Config) -> None:
    """Write the data folder; nothing is left behind on failure."""
    speakers = {part: getattr(config, f"{part}_speakers") for part in PARTS}
    for part, count in speakers.items():
        check_speakers(part, count)
    if config.utterances < 1 or config.num_jobs < 1:
        raise UmeError("--utterances and --num-jobs must be at least 1")
    voices = {part: make_voices(part, count, config.seed) for part, count in speakers.items()}
    # Test first: its sentences and its audio do not depend on how large the other parts are.
    everyone = [voice for part in reversed(PARTS) for voice in voices[part]]
    # All sentences are different, so no speaker, and no part, shares one with another.
    share = SPARE * config.utterances
    texts = sentences(share * len(everyone), config.seed)
    output = Path(config.output)
    writing = atomic_folder(output, "about.json")
    with writing as folder, ThreadPoolExecutor(config.num_jobs) as pool:
        spoken = dict(zip(everyone, pool.map(
            lambda index: record(
                everyone[index], texts[index * share : (index + 1) * share],
                config.utterances, [config.seed, len(PARTS), index], folder, output,
            ),
            range(len(everyone)),
        )))  # fmt: skip
        parts = {part: [u for v in voices[part] for u in spoken[v]] for part in PARTS}
        about = {
            "corpus": "embedded",
            "made_by": "espeak-ng",
            "root": str(output / "audio"),
            "seed": config.seed,
            "voices": {voice.speaker: asdict(voice) for voice in everyone},
        }
        write_data_folder(folder, parts, about)


def check_speakers(part: str, count: int) -> None:
    """Refuse a number of voices that cannot be balanced or would repeat a voice."""
    limit = 20 * min(len(VARIANTS[part][sex]) for sex in SEXES)
    if count < 2 or count % 2 or count > limit:
        raise UmeError(f"--{part}-speakers {count}: give an even number from 2 to {limit}")


def record(
    voice: Voice, texts: List[str], count: int, seed: List[int], folder: Path, home: Path
) -> List[Utterance]:
    """Speak ``texts``, keep ``count`` of them and write their audio to ``folder``.

    ``home`` is where ``folder`` will be in the end: the paths in the manifests.
    """
    rng = np.random.default_rng(seed)
    spoken = [with_margins(audio, rng) for audio in speak(voice, texts)]
    chosen = choose([len(audio) / SAMPLING_RATE for audio in spoken], count, rng)
    if len(chosen) < count:
        raise UmeError(
            f"voice {voice.voice} has only {len(chosen)} sentences of {SHORTEST:g} to "
            f"{LONGEST:g} s; give fewer --utterances"
        )
    utterances: List[Utterance] = []
    for number, index in enumerate(chosen):
        name = f"{voice.speaker}-{number:03d}"
        path = Path("audio") / voice.speaker / f"{name}.flac"
        write_flac(folder / path, spoken[index])
        utterances.append(Utterance(
            name, voice.speaker, voice.gender, transcript(texts[index]), home / path,
            len(spoken[index]), detect_speech(spoken[index]), "vad",
        ))  # fmt: skip
    return utterances


def choose(durations: List[float], count: int, rng: np.random.Generator) -> List[int]:
    """``count`` of the utterances of 2 to 6 s, spread over that range, as indices.

    Left alone most sentences last about as long as the others, so that two voices which start
    together also end together: nothing to learn for diarization.
    """
    left = [i for i, duration in enumerate(durations) if SHORTEST <= duration <= LONGEST]
    chosen: List[int] = []
    for share in (rng.permutation(count) + rng.uniform(size=count)) / count:
        if left:
            target = SHORTEST + share * (LONGEST - SHORTEST)
            chosen.append(min(left, key=lambda i: abs(durations[i] - target)))
            left.remove(chosen[-1])
    return chosen


def speak(voice: Voice, texts: List[str]) -> Iterator[np.ndarray]:
    """``texts`` spoken in turn: 16 kHz samples in [-1, 1), (T,).

    One process per voice, so that what espeak-ng draws by chance does not depend on other voices.
    """
    told = ("voice", "pitch", "range", "rate", "timbre")
    settings: Dict = {name: asdict(voice)[name] for name in told}
    pause = f'<break time="{voice.pause}ms"/>'
    lines = [json.dumps({"text": text.replace(",", pause), **settings}) + "\n" for text in texts]
    worker = subprocess.run(
        [sys.executable, str(WORKER)], input="".join(lines).encode(), capture_output=True
    )
    if worker.returncode != 0:
        message = worker.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise UmeError(f"espeak-ng failed ({message[-1]})")
    (rate,) = struct.unpack_from("<I", worker.stdout, 0)
    target = round(SAMPLING_RATE / voice.scale / 50) * 50  # a ratio of small numbers is fast
    position = 4
    for _ in texts:
        (length,) = struct.unpack_from("<I", worker.stdout, position)
        samples = np.frombuffer(worker.stdout, dtype="<i2", count=length, offset=position + 4)
        position += 4 + 2 * length
        yield resample_poly(samples / 32768, target, rate)


def with_margins(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``audio`` (T,) with its digital silence at both ends replaced by margins drawn at random."""
    heard = np.flatnonzero(np.abs(audio) > 1e-3)
    if not len(heard):
        return audio[:0]
    margins = (rng.uniform(*MARGIN, size=2) * SAMPLING_RATE).astype(int)
    return np.pad(audio[heard[0] : heard[-1] + 1], tuple(margins))
