"""LibriMix's metadata made anew by its own rules: tables of files, and the CSVs of mixtures."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Union

import numpy as np
import soundfile
from tqdm import tqdm

from ume.corpora.librispeech import read_sexes
from ume.corpora.reading import read_audio
from ume.corpora.tables import Row, librispeech_table, wham_table, write_table
from ume.errors import UmeError
from ume.files import atomic_folder, existing, write_json
from ume.mixing.metadata import MAX_PEAK, measure
from ume.mixing.official_draws import SEED, Draw, Noises, draw_mixtures
from ume.orphans import workers

SUBSETS = ("dev-clean", "dev-other", "test-clean", "test-other", "train-clean-100",
           "train-clean-360", "train-other-500")  # fmt: skip
ROUND = 100  # as many mixtures as the utterances give are rounded down to a multiple, if they can


@dataclass
class Config:
    """Options of ``ume create-librimix-metadata``."""

    librispeech: str
    """LibriSpeech folder, with SPEAKERS.TXT."""
    output: str
    """Metadata folder to write: `LibriSpeech/`, `Wham_noise/`, `Libri2Mix/`, ..."""
    wham: Optional[str] = None
    """WHAM! noise folder, with `cv`, `tt`, `tr`; without it the mixtures have no noise."""
    num_speakers: Union[int, str] = "2,3"
    """Speakers per mixture: some of 1, 2, 3."""
    subsets: str = ""
    """Subsets of LibriSpeech, such as `dev-clean test-clean`; without it all that are there."""
    num_mixtures: int = 3000
    """Mixtures of a dev or test subset; training subsets, and mixtures of one speaker, use every
    utterance once."""
    seed: int = SEED
    """Seed of every subset's draws; LibriMix's is 72."""
    num_jobs: int = 1
    """Processes that measure loudness; the result is the same for any number."""


@dataclass(frozen=True)
class Task:
    """A mixture to measure."""

    sources: Sequence[Path]
    noise: Optional[Path]
    loudness: Sequence[float]  # LUFS, of the sources and of the noise


def main(config: Config) -> None:
    """Write the metadata folder; nothing is left behind on failure."""
    if config.num_jobs < 1 or config.num_mixtures < 1:
        raise UmeError("--num-jobs and --num-mixtures must be at least 1")
    numbers = parse_numbers(config.num_speakers)
    corpus = existing(config.librispeech)
    subsets = choose_subsets(corpus, config.subsets)
    sexes = read_sexes(corpus / "SPEAKERS.TXT")
    wham = existing(config.wham) if config.wham else None
    kinds = dict.fromkeys(subset.split("-")[0] for subset in subsets)
    with ThreadPoolExecutor(config.num_jobs) as pool:
        tables = {subset: librispeech_table(corpus, subset, sexes, pool) for subset in subsets}
        noises = {kind: wham_table(wham, kind, pool) for kind in kinds} if wham else {}
    inputs = [config.librispeech, config.wham]
    with atomic_folder(config.output, "about.json", inputs) as folder:
        for name, table in tables.items():
            write_table(folder / "LibriSpeech" / f"{name}.csv", table)
        for name, table in noises.items():
            write_table(folder / "Wham_noise" / f"{name}.csv", table)
        for subset, table in tables.items():
            for number in numbers:
                noise = noises.get(subset.split("-")[0])
                mixtures, info = mix_subset(config, subset, number, table, noise)
                stem = folder / f"Libri{number}Mix" / f"libri{number}mix_{subset}"
                write_table(stem.with_name(f"{stem.name}.csv"), mixtures)
                write_table(stem.with_name(f"{stem.name}_info.csv"), info)
        write_json(folder / "about.json", {
            "librispeech": config.librispeech,
            "wham": config.wham,
            "num_speakers": numbers,
            "num_mixtures": config.num_mixtures,
            "seed": config.seed,
        })  # fmt: skip


def parse_numbers(given: Union[int, str]) -> List[int]:
    """``2`` or ``1,2,3`` as numbers of speakers."""
    words = str(given).split(",")
    if not set(words) <= {"1", "2", "3"} or len(set(words)) < len(words):
        raise UmeError(f"--num-speakers {given}: give some of 1,2,3")
    return [int(word) for word in words]


def choose_subsets(corpus: Path, wanted: str) -> List[str]:
    """The subsets that are named in ``wanted`` ("": all), of those that lie in ``corpus``."""
    there = [subset for subset in SUBSETS if (corpus / subset).is_dir()]
    unknown = sorted(set(wanted.split()) - set(there))
    if unknown or not there:
        what = f"no {unknown[0]}" if unknown else "no subset of LibriSpeech"
        raise UmeError(f"{corpus} holds {what}; it has: {', '.join(there) or 'nothing'}")
    return wanted.split() or there


def mix_subset(
    config: Config, subset: str, number: int, table: List[Row], noise: Optional[List[Row]]
) -> "tuple[List[Row], List[Row]]":
    """Rows of the CSV of mixtures, and of the one with their speakers."""
    noises = noise and Noises([row["length"] for row in noise], [row["augmented"] for row in noise])
    train = subset.startswith("train")
    try:
        draws = draw_mixtures(
            [row["speaker_ID"] for row in table],
            [row["length"] for row in table],
            noises or None,
            number,
            train,
            config.num_mixtures,
            config.seed,
        )
    except UmeError as error:
        raise UmeError(f"{subset}, {number} speakers: {error}") from None
    if not draws:
        speakers = len({row["speaker_ID"] for row in table})
        raise UmeError(
            f"{config.librispeech}/{subset}: its {len(table)} utterances of {speakers} speaker(s) "
            f"give no mixture of {number}; leave it out of --subsets, or {number} of --num-speakers"
        )
    if train or number == 1:
        draws = draws[: len(draws) // ROUND * ROUND] or draws
    tasks = [make_task(config, draw, table, noise) for draw in draws]
    gains = measure_all(tasks, config.num_jobs, f"libri{number}mix_{subset}")
    return (
        [mixture_row(draw, own, table, noise) for draw, own in zip(draws, gains)],
        [info_row(draw, table) for draw in draws],
    )


def make_task(config: Config, draw: Draw, table: List[Row], noise: Optional[List[Row]]) -> Task:
    """Where the audio of a mixture lies."""
    return Task(
        [Path(config.librispeech) / table[row]["origin_path"] for row in draw.utterances],
        Path(str(config.wham)) / noise[draw.noise]["origin_path"]
        if noise and draw.noise is not None
        else None,
        draw.loudness,
    )


def measure_all(tasks: List[Task], num_jobs: int, name: str) -> List[List[float]]:
    """The gains of each mixture, measured by ``num_jobs`` processes."""
    with workers(num_jobs) as pool:
        measured = pool.map(gains_of, tasks, chunksize=8)
        return list(tqdm(measured, total=len(tasks), desc=name, mininterval=5.0))


def gains_of(task: Task) -> List[float]:
    """The gains of the sources, and of the noise, of one mixture.

    All are measured as long as the longest source, which is how LibriMix does it: silence at the
    end is gated, but the blocks at its edge count. A gain is the loudness after scaling less that
    before; the gate for silence makes that differ from what was asked for by hundredths of a dB.
    """
    signals = [read_audio(path, soundfile.info(path).frames) for path in task.sources]  # (T_k,)
    length = max(map(len, signals))
    signals = [np.pad(signal, (0, length - len(signal))) for signal in signals]
    if task.noise:
        noise, _ = soundfile.read(task.noise, length, dtype="float32", always_2d=True)  # (T', C)
        signals.append(np.pad(noise[:, 0], (0, length - len(noise))))
    names = map(str, [*task.sources, task.noise])
    measured = [measure(signal, name=name) for signal, name in zip(signals, names)]  # LUFS, peak
    scaled = []
    for signal, (loudness, peak), target in zip(signals, measured, task.loudness):
        gain = 10 ** ((target - loudness) / 20)
        scaled.append(signal * (gain if gain * peak < 1 else MAX_PEAK / peak))
    peak = np.abs(np.sum(scaled, axis=0)).max()
    weight = min(1.0, MAX_PEAK / peak)
    after = [measure(signal * weight)[0] for signal in scaled]
    return [float(10 ** ((new - old) / 20)) for new, (old, _) in zip(after, measured)]


def mixture_row(
    draw: Draw, gains: List[float], table: List[Row], noise: Optional[List[Row]]
) -> Row:
    """A row of LibriMix's ``libri2mix_<subset>.csv``."""
    paths = [table[row]["origin_path"] for row in draw.utterances]
    cells: Row = {"mixture_ID": "_".join(Path(path).stem for path in paths)}
    for k, (path, gain) in enumerate(zip(paths, gains), 1):
        cells[f"source_{k}_path"], cells[f"source_{k}_gain"] = path, gain
    if noise and draw.noise is not None:
        cells["noise_path"], cells["noise_gain"] = noise[draw.noise]["origin_path"], gains[-1]
    return cells


def info_row(draw: Draw, table: List[Row]) -> Dict[str, str]:
    """A row of LibriMix's ``libri2mix_<subset>_info.csv``."""
    speakers = [table[row] for row in draw.utterances]
    cells = {"mixture_ID": "_".join(Path(row["origin_path"]).stem for row in speakers)}
    for k, row in enumerate(speakers, 1):
        cells[f"speaker_{k}_ID"], cells[f"speaker_{k}_sex"] = row["speaker_ID"], row["sex"]
    return cells
