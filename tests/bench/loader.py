"""Loading batches: virtual mixing with sources beside premixed files, of FLAC and of WAV.

Mixtures of two speakers in max mode. Virtual mixing reads the FLAC files of the sources; premixed
data has a file for the mixture and one for each source, as long as the mixture. Everything ends as
the same :class:`MixtureBatch`, activity and padding included; files are in the page cache.

    python tests/bench/loader.py --librispeech DIR/LibriSpeech/dev-clean
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np
import soundfile
from lhotse.cut import Cut, MixedCut

from tests.bench.record import publish
from ume.activity import SAMPLING_RATE
from ume.audio import decode
from ume.corpora.folder import Utterance
from ume.dataset.batch import Example, MixtureBatch, batch_of, blank, collate
from ume.dataset.loader import Item, MixtureDataset, load, make_batches
from ume.dataset.mixtures import load_example, tracks_of
from ume.mixing.cuts import mixture_cut, speech_frames, utterances
from ume.mixing.metadata import Mixture

BATCH = 60.0  # seconds, as training makes them: of mixtures of similar length
ROUNDS = 5
REPEATS = 3  # of all mixtures by the workers; the first is not timed
VIRTUAL, FLAC, WAV = "virtual", "premixed, FLAC", "premixed, WAV"
DECODING = "decoding the sources, no more"


class PremixedDataset(MixtureDataset):
    """The same batches from files of mixtures and sources, named ``<id>_<k>.<kind>``."""

    def __init__(self, cuts: Sequence[Cut], folder: Path, kind: str, **options) -> None:
        super().__init__(cuts, **options)
        self.folder, self.kind = folder, kind

    def __getitem__(self, item: Item) -> MixtureBatch:
        epoch, indices = item
        cuts = [self.cuts[index] for index in indices]
        windows = [self.window(cut, epoch) for cut in cuts]
        audio, sources = blank(len(cuts), 2, max(stop - start for start, stop in windows))
        examples = [
            self.example(cut, start, mixed[: stop - start], apart[:, : stop - start])
            for cut, (start, stop), mixed, apart in zip(
                cuts, windows, audio.numpy(), sources.numpy()
            )
        ]
        return batch_of(examples, audio, sources)

    def example(self, cut: Cut, start: int, audio: np.ndarray, sources: np.ndarray) -> Example:
        """A mixture, or a window of it, decoded into (T,) and (S, T)."""
        for k, row in enumerate([audio, *sources]):
            decode(self.folder / f"{cut.id}_{k}.{self.kind}", start, row)
        spoken = utterances(cut)
        activity = speech_frames(spoken, start / SAMPLING_RATE, len(audio), self.frame_shift)
        return Example(cut.id, audio, sources, activity, [None] * len(spoken), list(spoken))


class SourcesDataset(MixtureDataset):
    """What virtual mixing cannot do without: the stretches of the sources' files, decoded."""

    def __getitem__(self, item: Item) -> MixtureBatch:
        epoch, indices = item
        for cut in (self.cuts[index] for index in indices):
            start, stop = self.window(cut, epoch)
            for track in tracks_of(cut):
                count = min(stop, track.cut.num_samples) - start
                if count > 0:
                    out = np.empty(count, np.float32)
                    decode(track.cut.recording.sources[0].source, start, out)
        return self.nothing

    nothing = collate([Example("", np.zeros(1, np.float32), np.zeros((1, 1), np.float32),
                               np.zeros((1, 1), bool), [None], [""])])  # fmt: skip


def make_cuts(corpus: Path, count: int) -> List[MixedCut]:
    """Mixtures of utterances drawn from all of a folder."""
    rng = np.random.default_rng(0)
    paths = sorted(corpus.rglob("*.flac"))
    cuts: List[MixedCut] = []
    while len(cuts) < count:
        chosen = [paths[index] for index in rng.choice(len(paths), 2, replace=False)]
        if len({path.parts[-3] for path in chosen}) < 2:
            continue
        found = {path.stem: utterance(path) for path in chosen}
        mixture = Mixture(tuple(found), tuple(rng.uniform(0.3, 0.7, 2)), (0, 0))
        recordings = {name: one.recording() for name, one in found.items()}
        supervisions = {name: one.supervision() for name, one in found.items()}
        cuts.append(mixture_cut(mixture, recordings, supervisions, "max"))
    return cuts


def utterance(path: Path) -> Utterance:
    """An utterance that speaks all the time."""
    samples = soundfile.info(path).frames
    speech = [(0.0, samples / SAMPLING_RATE)]
    return Utterance(path.stem, path.parts[-3], "F", None, path, samples, speech, "vad")


def write_premixed(cuts: Sequence[Cut], folder: Path, kind: str) -> None:
    """The files that :class:`PremixedDataset` reads, of 16 bits."""
    for cut in cuts:
        example = load_example(cut)
        for k, audio in enumerate([example.audio, *example.sources]):
            soundfile.write(folder / f"{cut.id}_{k}.{kind}", audio, SAMPLING_RATE, "PCM_16")


def check_equal(one: MixtureBatch, other: MixtureBatch) -> None:
    """Raise unless two batches are the same to 1 LSB of 16 bits."""
    for name in ("audio", "sources", "activity"):
        assert (getattr(one, name) - getattr(other, name)).abs().max() <= 2**-15, name


def alone(dataset: MixtureDataset, items: List[Item]) -> float:
    """CPU seconds of one process for ``items``."""
    started = time.process_time()
    for _ in load(dataset, items, 0):
        pass
    return time.process_time() - started


def together(dataset: MixtureDataset, items: List[Item], workers: int) -> float:
    """Seconds that ``items`` take in so many worker processes, once they run."""
    batches = load(dataset, items * REPEATS, workers)
    for _ in items:
        next(batches)
    started = time.perf_counter()
    for _ in batches:
        pass
    return (time.perf_counter() - started) / (REPEATS - 1)


def table(
    title: str, datasets: Dict[str, MixtureDataset], cuts: Sequence[Cut], workers: int
) -> List[str]:
    """The table of one kind of examples, and what it says."""
    rng = np.random.default_rng(0)
    longest = round(BATCH * SAMPLING_RATE)
    items = [(0, batch) for batch in make_batches(datasets[VIRTUAL].lengths(0), longest, rng)]
    for name in (FLAC, WAV):
        check_equal(datasets[VIRTUAL][items[0]], datasets[name][items[0]])
    times: Dict[str, List[float]] = {name: [] for name in datasets}
    for _ in range(ROUNDS + 1):
        for name, dataset in datasets.items():
            times[name].append(alone(dataset, items))
    one = {name: statistics.median(values[1:]) for name, values in times.items()}
    files = (VIRTUAL, FLAC, WAV) if workers else ()
    several = {name: together(datasets[name], items, workers) for name in files}
    lines = [
        f"| {title} | ms each | examples/s | examples/s, {workers} workers | time over virtual |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, seconds in one.items():
        rate = f"{len(cuts) / several[name]:.0f}" if name in several else ""
        lines.append(
            f"| {name} | {1000 * seconds / len(cuts):.2f} | {len(cuts) / seconds:.0f} | {rate} "
            f"| {seconds / one[VIRTUAL]:.2f} |"
        )
    flac, wav, decoding = (one[name] / one[VIRTUAL] for name in (FLAC, WAV, DECODING))
    return [
        *lines,
        "",
        f"Virtual mixing is {flac:.2f} times as fast as FLAC and {wav:.2f} times as WAV;",
        f"{100 * decoding:.0f} % of its time decodes the FLAC files of the sources. With all else",
        f"free it would be {flac / decoding:.2f} times as fast as FLAC and {wav / decoding:.2f} "
        "times as WAV.",
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--librispeech", required=True, help="folder of FLAC files of speech")
    parser.add_argument("--mixtures", type=int, default=160)
    parser.add_argument("--crop", type=float, default=3.0, help="seconds of the windows")
    parser.add_argument("--workers", type=int, default=2, help="0: one process only")
    parser.add_argument("--beside", default="nothing", help="what else runs on the machine")
    parser.add_argument("--publish", default="", help="file whose section this becomes")
    given = parser.parse_args()
    cuts = make_cuts(Path(given.librispeech), given.mixtures)
    with tempfile.TemporaryDirectory() as name:
        for kind in ("flac", "wav"):
            write_premixed(cuts, Path(name), kind)
        length = statistics.mean(cut.duration for cut in cuts)
        lines = [
            f"{len(cuts)} mixtures of 2 speakers, {length:.1f} s on average, batches of {BATCH:g}",
            f"s. One process: CPU time, medians of {ROUNDS} rounds in turns. Workers: wall time,",
            f"beside {given.beside}.",
        ]
        for title, crop in (("whole mixtures", None), (f"windows of {given.crop:g} s", given.crop)):
            datasets = {
                VIRTUAL: MixtureDataset(cuts, crop),
                FLAC: PremixedDataset(cuts, Path(name), "flac", crop=crop),
                WAV: PremixedDataset(cuts, Path(name), "wav", crop=crop),
                DECODING: SourcesDataset(cuts, crop),
            }
            lines += ["", *table(title, datasets, cuts, given.workers)]
    publish(given.publish, "Loading: virtual mixing beside premixed files", lines)


if __name__ == "__main__":
    main()
