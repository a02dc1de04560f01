"""Make LibriMix-style mixtures of a data folder: metadata, virtual cuts, reference RTTM."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any, Dict, List, Tuple, Union

import numpy as np
from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

import ume.compat  # noqa: F401  (mends Lhotse)
from ume.activity import write_rttm
from ume.audio import load_audio
from ume.corpora.folder import write_manifest
from ume.errors import UmeError
from ume.files import atomic_folder, existing, read_json, write_json
from ume.mixing.cuts import MODES, cut_activity, mixture_cut, statistics
from ume.mixing.metadata import (
    LOUDNESS,
    MAX_PEAK,
    START,
    Mixture,
    Source,
    draw_groups,
    draw_mixture,
    measure,
    write_metadata,
)


@dataclass
class Config:
    """Options of ``ume simulate``."""

    data: str
    """Data folder to mix."""
    output: str
    """Mixture folder to write."""
    num_speakers: Union[int, str] = 2
    """Speakers per mixture, 2 or 3; `2,3`: of both, as many mixtures of each and by turns."""
    mixtures: str = "train=3000 dev=200 test=300"
    """Mixtures per part; parts of the data folder that are not named are left out."""
    modes: str = "max min part"
    """Modes to write: max, min, part."""
    seed: int = 0
    """Seed of the choice of utterances, their loudness and their starts."""
    num_jobs: int = 1
    """Files read at once; the result is the same for any number."""


def main(config: Config) -> None:
    """Write the mixture folder; nothing is left behind on failure."""
    numbers = parse_numbers(config.num_speakers)
    if config.num_jobs < 1:
        raise UmeError("--num-jobs must be at least 1")
    modes = config.modes.split()
    if not modes or set(modes) - set(MODES):
        raise UmeError(f"--modes {config.modes!r}: give some of {' '.join(MODES)}")
    data = existing(config.data, "local/prepare_embedded.sh or local/prepare_librispeech.sh")
    root = read_json(data / "about.json")["root"]
    statistics_of: Dict[str, Any] = {}
    writing = atomic_folder(config.output, "about.json", [data])
    with writing as folder, ThreadPoolExecutor(config.num_jobs) as pool:
        for part, count in parse_mixtures(config.mixtures).items():
            path = data / f"recordings_{part}.jsonl.gz"
            if not path.exists():
                raise UmeError(f"--mixtures: {data} has no part {part} ({path} does not exist)")
            recordings = {r.id: r for r in RecordingSet.from_file(path)}
            supervisions = {
                s.id: s for s in SupervisionSet.from_file(data / f"supervisions_{part}.jsonl.gz")
            }
            if count < len(numbers):
                raise UmeError(
                    f"--mixtures: part {part} has {count} and --num-speakers {len(numbers)} kinds; "
                    "give one of each at least"
                )
            counts = dict(zip(numbers, shares(count, len(numbers))))
            drawn = draw(recordings, supervisions, counts, config, part, pool)
            mixtures = by_turns(drawn)
            paths = {
                name: os.path.relpath(recording.sources[0].source, root)
                for name, recording in recordings.items()
            }
            for number, own in zip(numbers, drawn):
                name = part if len(numbers) == 1 else f"{part}_{number}mix"
                write_metadata(folder / "metadata" / f"{name}.csv", own, paths)
            statistics_of[part] = {"sexes": sex_counts(mixtures, supervisions)}
            for mode in modes:
                cuts = [mixture_cut(m, recordings, supervisions, mode) for m in mixtures]
                write_manifest(folder / f"cuts_{part}_{mode}.jsonl.gz", cuts)
                activity = {cut.id: cut_activity(cut) for cut in cuts}
                write_rttm(folder / f"ref_{part}_{mode}.rttm", activity)
                statistics_of[part][mode] = statistics(cuts)
        write_json(folder / "about.json", {
            "data": config.data,
            "seed": config.seed,
            "num_speakers": numbers[0] if len(numbers) == 1 else numbers,
            "rules": {"loudness_lufs": LOUDNESS, "max_peak": MAX_PEAK, "part_start": START},
            "parts": statistics_of,
        })  # fmt: skip


def parse_mixtures(text: str) -> Dict[str, int]:
    """``train=3000 dev=200`` as a mapping."""
    counts: Dict[str, int] = {}
    for word in text.split():
        part, _, number = word.partition("=")
        if not number.isdigit() or int(number) < 1:
            raise UmeError(f"--mixtures {text!r}: write PART=NUMBER, not {word!r}")
        counts[part] = int(number)
    if not counts:
        raise UmeError("--mixtures is empty; write PART=NUMBER ...")
    return counts


def parse_numbers(given: Union[int, str]) -> List[int]:
    """``2``, ``3`` or ``2,3`` as numbers of speakers."""
    words = str(given).split(",")
    if not set(words) <= {"2", "3"} or len(set(words)) < len(words):
        raise UmeError(f"--num-speakers {given}: give 2, 3 or 2,3")
    return [int(word) for word in words]


def shares(count: int, parts: int) -> List[int]:
    """``count`` in ``parts`` parts as equal as can be.

    >>> shares(7, 2)
    [4, 3]
    """
    return [(count + parts - 1 - part) // parts for part in range(parts)]


def by_turns(drawn: List[List[Mixture]]) -> List[Mixture]:
    """One of each list after the other, so that the first few are of all kinds."""
    return [mixture for turn in zip_longest(*drawn) for mixture in turn if mixture is not None]


def draw(
    recordings: Dict[str, Recording],
    supervisions: Dict[str, SupervisionSegment],
    counts: Dict[int, int],
    config: Config,
    part: str,
    pool: ThreadPoolExecutor,
) -> List[List[Mixture]]:
    """Draw mixtures of one part, ``counts`` of each number of speakers; all is measured once."""

    def load(name: str) -> np.ndarray:
        return load_audio(recordings[name])[0]  # (T,)

    def source(name: str) -> Source:
        recording = recordings[name]
        loudness, peak = measure(load(name), name=str(recording.sources[0].source))
        return Source(name, supervisions[name].speaker, recording.num_samples, loudness, peak)

    def one(number: int, index: int, group: Tuple[int, ...]) -> Mixture:
        rng = np.random.default_rng([*seeds[number], index + 1])
        return draw_mixture([sources[i] for i in group], rng, lambda s: load(s.id))

    names = sorted(recordings)
    speakers = [supervisions[name].speaker for name in names]
    seeds = {number: [config.seed, number, *part.encode()] for number in counts}
    try:
        groups = {
            number: draw_groups(speakers, count, number, np.random.default_rng(seeds[number]))
            for number, count in counts.items()
        }
    except UmeError as error:
        raise UmeError(f"{config.data}, part {part}: {error}") from None
    sources = list(pool.map(source, names))
    return [
        list(pool.map(partial(one, number), range(len(own)), own)) for number, own in groups.items()
    ]


def sex_counts(
    mixtures: List[Mixture], supervisions: Dict[str, SupervisionSegment]
) -> Dict[str, int]:
    """Mixtures per combination of sexes, such as ``FM``."""
    combinations = (
        "".join(sorted(supervisions[source].gender for source in mixture.sources))
        for mixture in mixtures
    )
    return dict(sorted(Counter(combinations).items()))
