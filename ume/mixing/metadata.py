"""LibriMix's mixture metadata: which utterances are mixed, how loud, from when.

The rules are those of LibriMix's ``create_librimix_metadata.py`` (Cosentino et al. 2020): every
source gets a loudness uniform in [-33, -25] LUFS, and a mixture whose peak exceeds 0.9 is scaled
down to it. The draws of mixture k depend on (seed, part, k) alone.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np

from ume.activity import SAMPLING_RATE
from ume.errors import UmeError
from ume.files import atomic_path

LOUDNESS = (-33.0, -25.0)  # LUFS
MAX_PEAK = 0.9
START = (0.1, 0.9)  # part mode: where later sources start, as shares of the first one's length
METER_BLOCK = 0.4  # seconds, ITU-R BS.1770
# LUFS; BS.1770 leaves out what is 10 dB below the rest, and what is below -70 LUFS: where the whole
# is below this, that is some of the speech, or all
QUIET = -60.0


@dataclass(frozen=True)
class Source:
    """An utterance that may be mixed."""

    id: str
    speaker: str
    num_samples: int
    loudness: float  # LUFS
    peak: float


@dataclass(frozen=True)
class Mixture:
    """One row of the metadata: sources in order, their gains, their starts in part mode."""

    sources: Tuple[str, ...]
    gains: Tuple[float, ...]
    starts: Tuple[int, ...]  # samples; the first is 0

    @property
    def id(self) -> str:
        """LibriMix's ``mixture_ID``."""
        return "_".join(self.sources)


def measure(
    audio: np.ndarray, block: float = METER_BLOCK, name: str = "the audio"
) -> Tuple[float, float]:
    """Loudness (LUFS, by blocks of ``block`` s) and peak of ``audio`` (T,), 16 kHz.

    Raises :class:`UmeError`, which calls it ``name``, if it is silent.
    """
    loudness = integrated_loudness(audio, block)
    if loudness >= QUIET:
        return loudness, float(np.abs(audio).max())
    return measure_at_full_scale(audio, block, name)


def measure_at_full_scale(
    audio: np.ndarray, block: float = METER_BLOCK, name: str = "the audio"
) -> Tuple[float, float]:
    """What :func:`measure` gives, but measured with the peak at 1, however quiet it is."""
    peak = float(np.abs(audio).max())
    loudness = integrated_loudness(audio / peak, block) if peak else -np.inf
    if not np.isfinite(loudness):
        raise UmeError(f"{name} is silent; take it out")
    return loudness + 20 * float(np.log10(peak)), peak


def integrated_loudness(audio: np.ndarray, block: float) -> float:
    """BS.1770's loudness (LUFS) of ``audio`` (T,), 16 kHz; -inf if no block is above its gate."""
    import pyloudnorm  # half a second, which every job that reads cuts would pay

    block = min(block, len(audio) / SAMPLING_RATE)
    return float(pyloudnorm.Meter(SAMPLING_RATE, block_size=block).integrated_loudness(audio))


def draw_groups(
    speakers: Sequence[str], count: int, size: int, rng: np.random.Generator
) -> List[Tuple[int, ...]]:
    """``count`` different groups of ``size`` utterances of different speakers, as indices.

    ``speakers`` holds the speaker of each utterance. Utterances are dealt from shuffled decks, so
    all are used about equally often; groups drawn twice are dropped, so the nearer ``count`` is to
    all there are, the less equally. Raises :class:`UmeError` when there are not enough.
    """
    if len(set(speakers)) < size:
        raise UmeError(f"{len(set(speakers))} speakers are fewer than a mixture of {size} needs")
    deck: List[int] = []
    groups: Dict[frozenset, Tuple[int, ...]] = {}
    failures = 0
    while len(groups) < count:
        group = deal(deck, speakers, size, rng)
        if frozenset(group) in groups:
            failures += 1
            if failures > 10 * count:
                raise UmeError(
                    f"only {len(groups)} of {count} different mixtures can be made of "
                    f"{len(speakers)} utterances; ask for fewer"
                )
        groups.setdefault(frozenset(group), group)
    return list(groups.values())


def deal(
    deck: List[int], speakers: Sequence[str], size: int, rng: np.random.Generator
) -> Tuple[int, ...]:
    """Take ``size`` utterances of different speakers from the top of ``deck``, refilled at need."""
    group: List[int] = []
    while len(group) < size:
        taken = {speakers[index] for index in group}
        place = next((p for p, index in enumerate(deck) if speakers[index] not in taken), None)
        if place is None:
            deck.extend(rng.permutation(len(speakers)).tolist())
        else:
            group.append(deck.pop(place))
    return tuple(group)


def draw_mixture(
    sources: Sequence[Source],
    rng: np.random.Generator,
    load: Callable[[Source], np.ndarray],
) -> Mixture:
    """Draw gains and starts for ``sources``; ``load`` gives a source's audio (T,).

    One gain per source serves all modes, so the peak is kept below 0.9 with all sources starting
    together and with their starts of the part mode.
    """
    targets = rng.uniform(*LOUDNESS, size=len(sources))  # LUFS
    gains = [10 ** ((target - s.loudness) / 20) for target, s in zip(targets, sources)]
    later = rng.uniform(*START, size=len(sources) - 1)
    starts = [0, *(round(share * sources[0].num_samples) for share in later)]
    if sum(gain * s.peak for gain, s in zip(gains, sources)) > MAX_PEAK:
        scaled = [gain * load(source) for gain, source in zip(gains, sources)]
        peak = max(np.abs(mix(scaled, at)).max() for at in ([0] * len(sources), starts))
        gains = [gain * min(1.0, MAX_PEAK / peak) for gain in gains]
    return Mixture(tuple(s.id for s in sources), tuple(map(float, gains)), tuple(starts))


def mix(sources: Sequence[np.ndarray], starts: Sequence[int]) -> np.ndarray:
    """The sum (T,) of ``sources`` (each (T_k,)), each from its start (samples)."""
    length = max(start + len(source) for start, source in zip(starts, sources))
    mixture = np.zeros(length)
    for start, source in zip(starts, sources):
        mixture[start : start + len(source)] += source
    return mixture


def columns(num_speakers: int) -> List[str]:
    """LibriMix's columns, and the starts of part mode."""
    numbers = range(1, num_speakers + 1)
    pairs = [f"source_{k}_{what}" for k in numbers for what in ("path", "gain")]
    return ["mixture_ID", *pairs, *(f"source_{k}_start" for k in numbers)]


def write_metadata(path: Path, mixtures: Sequence[Mixture], audio_path: Dict[str, str]) -> None:
    """Write the CSV; ``audio_path`` gives each utterance's path relative to the corpus root."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns(len(mixtures[0].sources)))
        for mixture in mixtures:
            pairs = zip(mixture.sources, mixture.gains)
            cells = [cell for source, gain in pairs for cell in (audio_path[source], repr(gain))]
            starts = [repr(start / SAMPLING_RATE) for start in mixture.starts]
            writer.writerow([mixture.id, *cells, *starts])
