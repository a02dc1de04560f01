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
import soundfile
from scipy.signal import resample_poly

from ume.activity import SAMPLING_RATE, detect_speech
from ume.corpora.folder import Utterance, write_data_folder
from ume.corpora.grammar import sentences
from ume.corpora.voices import PARTS, SEXES, VARIANTS, Voice, make_voices
from ume.errors import UmeError
from ume.files import atomic_folder

SHORTEST, LONGEST = 2.0, 6.0  # seconds
SPARE = 2  # sentences drawn per sentence kept: some are too short or too long for a voice
MARGIN = 0.1  # seconds of silence kept before and after the speech
WORKER = Path(__file__).with_name("espeak_worker.py")


@dataclass
class Config:
    """Options of ``ume prepare-embedded``."""

    output: str
    """Data folder to write."""
    train_speakers: int = 44
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
    everyone = [voice for part in PARTS for voice in voices[part]]
    # All sentences are different, so no speaker, and no part, shares one with another.
    share = SPARE * config.utterances
    texts = sentences(share * len(everyone), config.seed)
    output = Path(config.output)
    with atomic_folder(output) as folder, ThreadPoolExecutor(config.num_jobs) as pool:
        spoken = dict(zip(everyone, pool.map(
            lambda index: record(
                everyone[index], texts[index * share : (index + 1) * share],
                config.utterances, folder, output,
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
    limit = 10 * min(len(VARIANTS[part][sex]) for sex in SEXES)
    if count < 2 or count % 2 or count > limit:
        raise UmeError(f"--{part}-speakers {count}: give an even number from 2 to {limit}")


def record(
    voice: Voice, texts: List[str], count: int, folder: Path, home: Path
) -> List[Utterance]:
    """Speak the first ``count`` of ``texts`` that last 2 to 6 s; audio goes to ``folder``.

    ``home`` is where ``folder`` will be in the end: the paths in the manifests.
    """
    utterances: List[Utterance] = []
    for text, audio in zip(texts, speak(voice, texts)):
        if len(utterances) == count or not SHORTEST <= len(audio) / SAMPLING_RATE <= LONGEST:
            continue
        name = f"{voice.speaker}-{len(utterances):03d}"
        path = Path("audio") / voice.speaker / f"{name}.flac"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, audio, SAMPLING_RATE, subtype="PCM_16")
        utterances.append(Utterance(
            name, voice.speaker, voice.gender, text, home / path, len(audio),
            detect_speech(audio), "vad",
        ))  # fmt: skip
    if len(utterances) < count:
        raise UmeError(f"voice {voice.voice} has only {len(utterances)} sentences of "
                       f"{SHORTEST:g} to {LONGEST:g} s; give fewer --utterances")
    return utterances


def speak(voice: Voice, texts: List[str]) -> Iterator[np.ndarray]:
    """``texts`` spoken in turn: 16 kHz samples in [-1, 1), (T,), at most 0.1 s silent at the ends.

    One process per voice, so that what espeak-ng draws by chance does not depend on other voices.
    """
    settings: Dict = {name: getattr(voice, name) for name in ("voice", "pitch", "range", "rate")}
    lines = [json.dumps({"text": text.lower() + ".", **settings}) + "\n" for text in texts]
    worker = subprocess.run(
        [sys.executable, str(WORKER)], input="".join(lines).encode(), capture_output=True
    )
    if worker.returncode != 0:
        message = worker.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise UmeError(f"espeak-ng failed ({message[-1]})")
    (rate,) = struct.unpack_from("<I", worker.stdout, 0)
    position = 4
    for _ in texts:
        (length,) = struct.unpack_from("<I", worker.stdout, position)
        samples = np.frombuffer(worker.stdout, dtype="<i2", count=length, offset=position + 4)
        position += 4 + 2 * length
        yield trim(resample_poly(samples / 32768, SAMPLING_RATE, rate))


def trim(audio: np.ndarray) -> np.ndarray:
    """Cut digital silence at both ends of ``audio`` (T,) down to ``MARGIN`` seconds."""
    heard = np.flatnonzero(np.abs(audio) > 1e-3)
    if not len(heard):
        return audio[:0]
    margin = round(MARGIN * SAMPLING_RATE)
    return audio[max(0, heard[0] - margin) : heard[-1] + 1 + margin]
