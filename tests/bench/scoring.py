"""``ume score`` of separated voices beside a plain loop over the libraries, one mixture at a time.

Run it on a quiet machine::

    . ./path.sh && python tests/bench/scoring.py --speech LibriSpeech/dev-clean --number 3000

Mixtures of two utterances, each as long as the longer one, and voices that leak into each other,
are written as a hypothesis folder. By turns of ``TURN`` mixtures, ``ume score`` with two processes
and a loop in one thread over fast-bss-eval, pystoi and pesq read the same files and give the same
figures, the improvements over the mixture among them. ``--plain N`` has the loop score the first N
of each turn only, its time scaled. Wall time is what counts; CPU time tells what the two processes
gain from what the computing does.
"""

import argparse
import os
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, Iterator, List, Tuple

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import fast_bss_eval  # noqa: E402
import numpy as np  # noqa: E402
import pystoi  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment  # noqa: E402
from lhotse.cut import Cut, MixedCut, MixTrack  # noqa: E402
from lhotse.supervision import AlignmentItem  # noqa: E402

from tests.bench.record import publish  # noqa: E402
from ume.dataset.mixtures import load_example  # noqa: E402
from ume.files import write_json  # noqa: E402
from ume.scoring.quality import has_pesq  # noqa: E402
from ume.scoring.score import Config, score_recordings, scores  # noqa: E402
from ume.scoring.shards import remove_shards  # noqa: E402

RATE = 16000
TURN = 100  # mixtures
LONGEST = 20.0  # seconds
NOISE = 0.003

Figures = Dict[str, float]  # name -> sum over the sources


def source_cut(path: Path, recording: Recording) -> MonoCut:
    """A whole utterance, speech from end to end."""
    speaker = path.parts[-3]
    speech = AlignmentItem("speech", 0.0, recording.duration)
    supervision = SupervisionSegment(
        id=path.stem, recording_id=recording.id, start=0.0, duration=recording.duration,
        speaker=speaker, alignment={"speech": [speech]},
    )  # fmt: skip
    return MonoCut(path.stem, 0.0, recording.duration, 0, [supervision], recording=recording)


def draw(speech: Path, number: int) -> List[Cut]:
    """Mixtures of two speakers each."""
    paths = sorted(speech.rglob("*.flac"))
    cuts = [source_cut(path, Recording.from_file(path)) for path in paths]
    cuts = [cut for cut in cuts if cut.duration <= LONGEST]
    mixtures: List[Cut] = []
    rng = np.random.default_rng(0)
    while len(mixtures) < number:
        first, second = (cuts[i] for i in rng.choice(len(cuts), 2, replace=False))
        if first.supervisions[0].speaker != second.supervisions[0].speaker:
            name = f"{len(mixtures):05d}_{first.id}_{second.id}"
            mixtures.append(MixedCut(name, [MixTrack(first), MixTrack(second)]))
    return mixtures


def write_voices(cuts: List[Cut], folder: Path) -> None:
    """Cuts, and a hypothesis folder: voices in the other order, that leak, with some noise."""
    rng = np.random.default_rng(1)
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    (folder / "separated" / "audio").mkdir(parents=True)
    for cut in cuts:
        sources = load_example(cut).sources
        leak, noise = rng.uniform(0.02, 0.3), NOISE * rng.standard_normal(sources.shape)
        for k, voice in enumerate(sources[::-1] + leak * sources + noise, 1):
            path = folder / "separated" / "audio" / f"{cut.id}_{k}.flac"
            soundfile.write(path, np.clip(0.7 * voice, -1, 1), RATE, subtype="PCM_16")
    meta = {"recordings": [cut.id for cut in cuts], "num_speakers": 2, "tasks": ["separation"]}
    write_json(folder / "separated" / "meta.json", meta)


class Clock:
    """Seconds by name: of wall and of CPU, children's included once they have ended."""

    def __init__(self) -> None:
        self.wall: Dict[str, float] = defaultdict(float)
        self.cpu: Dict[str, float] = defaultdict(float)

    @contextmanager
    def add(self, name: str, scale: float = 1.0) -> Iterator[None]:
        """Count what is done inside, ``scale`` times."""
        wall, cpu = time.perf_counter(), sum(os.times()[:4])
        yield
        self.wall[name] += scale * (time.perf_counter() - wall)
        self.cpu[name] += scale * (sum(os.times()[:4]) - cpu)


def plain(cuts: List[Cut], folder: Path, clock: Clock, scale: float) -> Figures:
    """The loop: library calls as they are documented."""
    sums: Figures = {}
    for cut in cuts:
        with clock.add("SDR", scale):
            truth, voices = read(cut, folder)
            sources, mixture = truth.sources.astype(np.float64), truth.audio.astype(np.float64)
            mixtures = np.stack([mixture] * len(sources))
            voices = voices[sdrs(sources, voices, mixtures, sums)]
        with clock.add("STOI", scale):
            stois(sources, voices, mixtures, sums)
        if has_pesq():
            with clock.add("PESQ", scale):
                pesqs(sources, voices, mixtures, sums)
    return sums


def read(cut: Cut, folder: Path) -> Tuple[Any, np.ndarray]:
    """The mixture's truth, and its voices (S, T)."""
    paths = [folder / "separated" / "audio" / f"{cut.id}_{k}.flac" for k in (1, 2)]
    return load_example(cut), np.stack([soundfile.read(path)[0] for path in paths])


def add(sums: Figures, name: str, after: Any, before: Any) -> None:
    """Sum a figure and its improvement over sources."""
    for key, value in ((name, after), (f"{name}i", np.subtract(after, before))):
        sums[key] = sums.get(key, 0.0) + float(np.sum(value))


def sdrs(sources: np.ndarray, voices: np.ndarray, mixtures: np.ndarray, sums: Figures) -> Any:
    """SI-SDR and BSSEval; returns the order of the voices."""
    after, order = fast_bss_eval.si_sdr(sources, voices, zero_mean=True, return_perm=True)
    pairs = zip(sources, mixtures)
    before = [fast_bss_eval.si_sdr(s[None], m[None], zero_mean=True)[0] for s, m in pairs]
    add(sums, "SI-SDR", after, before)
    sdr, sir, sar, _ = fast_bss_eval.bss_eval_sources(sources, voices)
    base = fast_bss_eval.bss_eval_sources(sources, mixtures, compute_permutation=False)[0]
    add(sums, "SDR", sdr, base)
    add(sums, "SIR", sir, 0)
    add(sums, "SAR", sar, 0)
    return order


def stois(sources: np.ndarray, voices: np.ndarray, mixtures: np.ndarray, sums: Figures) -> None:
    """STOI and ESTOI."""
    for name, extended in (("STOI", False), ("ESTOI", True)):
        after, before = (
            [pystoi.stoi(s, e, RATE, extended=extended) for s, e in zip(sources, estimates)]
            for estimates in (voices, mixtures)
        )
        add(sums, name, after, before)


def pesqs(sources: np.ndarray, voices: np.ndarray, mixtures: np.ndarray, sums: Figures) -> None:
    """PESQ."""
    from pesq import pesq

    after, before = (
        [pesq(RATE, s.astype("f"), e.astype("f"), "wb") for s, e in zip(sources, estimates)]
        for estimates in (voices, mixtures)
    )
    add(sums, "PESQ", after, before)


def ours(folder: Path, metrics: str, jobs: int) -> Figures:
    """The figures of ``ume score``, all but written."""
    config = Config(
        str(folder / "cuts.jsonl.gz"), str(folder / "separated"), str(folder), metrics, jobs
    )
    made = scores(config, score_recordings(config))
    remove_shards(folder)
    return {
        m["name"]: m["value"]
        for m in made["metrics"]
        if (m["row"], m["subset"], m.get("region")) == ("separated", "all", "whole")
    }


def main() -> None:
    """Print both times, their ratios and the largest difference of a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", required=True, type=Path, help="a subset of LibriSpeech")
    parser.add_argument("--number", type=int, default=3000, help="mixtures")
    parser.add_argument("--plain", type=int, default=TURN, help="mixtures of a turn in the loop")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--publish", default="", help="Markdown file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    slow, fast = Clock(), Clock()
    worst: Figures = {}
    cuts = draw(options.speech.resolve(), options.number)
    families = "BSSEval STOI PESQ" if has_pesq() else "BSSEval STOI"
    for start in range(0, len(cuts), TURN):
        turn = cuts[start : start + TURN]
        compared = turn[: options.plain]
        with TemporaryDirectory() as name:
            folder = Path(name)
            write_voices(turn, folder)
            sums = plain(compared, folder, slow, len(turn) / len(compared))
            for part, metrics in (("SDR", "BSSEval"), ("whole", families)):
                with fast.add(part):
                    figures = ours(folder, metrics, options.jobs)
            if len(compared) == len(turn):
                for figure, value in figures.items():
                    error = abs(value - sums[figure] / (2 * len(turn)))
                    worst[figure] = max(worst.get(figure, 0.0), error)
    publish(
        options.publish, "Scoring separated voices", report(options, len(cuts), slow, fast, worst)
    )


def report(
    options: argparse.Namespace, number: int, slow: Clock, fast: Clock, worst: Figures
) -> List[str]:
    """Lines of the record."""
    lines = [
        f"{number} mixtures of two speakers, {options.jobs} processes beside one thread. PESQ: "
        + ("wideband." if has_pesq() else "not installed."),
        "",
        "| | loop, s | ume score, s | ratio | loop, CPU s | ume score, CPU s | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, part in (("reading, SI-SDR, SDR, SIR, SAR", "SDR"), ("these, STOI, PESQ", "whole")):
        cells = []
        for before, after in ((slow.wall, fast.wall), (slow.cpu, fast.cpu)):
            loop = before["SDR"] if part == "SDR" else sum(before.values())
            cells += [f"{loop:.1f}", f"{after[part]:.1f}", f"{loop / after[part]:.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    shares = ", ".join(f"{name} {seconds:.1f}" for name, seconds in slow.cpu.items())
    errors = ", ".join(f"{name} {error:.1e}" for name, error in worst.items())
    return [
        *lines,
        "",
        f"The loop's CPU seconds: {shares}.",
        f"Largest difference of a figure over a turn: {errors}."
        if errors
        else f"The loop scored {options.plain} of each {TURN} mixtures, its times here are scaled; "
        "figures were not compared.",
    ]


if __name__ == "__main__":
    main()
