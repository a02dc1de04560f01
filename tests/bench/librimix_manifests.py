"""How long the manifests of a train-360 of 50 800 mixtures with noise take, and how large they are.

Run it on a quiet machine: ``. ./path.sh && python tests/bench/librimix_manifests.py``. Rows,
lengths, transcripts and alignments are synthetic and of LibriSpeech's sizes; there is no audio.
Two jobs at once, then the join, as ``local/prepare_librimix.sh --nj 2`` runs them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Tuple

import numpy as np

from tests.bench.record import publish

SPEAKERS, CHAPTERS, UTTERANCES = 921, 5, 23  # about train-clean-360's 104 014 utterances
ROWS, NOISES = 50_800, 20_000
WORDS = "THE OF AND TO A IN THAT HE WAS IT HIS HAD AS WITH FOR YOU NOT BUT BE SHE".split()


def write_corpus(folder: Path, rng: np.random.Generator) -> None:
    """Metadata, alignments and transcripts."""
    lengths, rttm, paths = [], [], []
    for speaker in range(1000, 1000 + SPEAKERS):
        for chapter in range(speaker * 10, speaker * 10 + CHAPTERS):
            below = f"train-clean-360/{speaker}/{chapter}"
            (folder / "LibriSpeech" / below).mkdir(parents=True)
            texts = []
            for number in range(UTTERANCES):
                name = f"{speaker}-{chapter}-{number:04d}"
                seconds = float(rng.uniform(3, 17))
                length = round(seconds * 200) * 80
                paths.append(f"{below}/{name}.flac")
                lengths.append(
                    f"{speaker},{'FM'[speaker % 2]},train-clean-360,{length},{paths[-1]}"
                )
                middle = seconds / 2
                for start, end in ((0.3, middle - 0.3), (middle + 0.3, seconds - 0.4)):
                    rttm.append(f"SPEAKER {chapter}-{number:04d} 1 {start:.3f} {end - start:.3f} "
                                f"<NA> <NA> {speaker} <NA> <NA>")  # fmt: skip
                texts.append(f"{name} {' '.join(rng.choice(WORDS, round(2.7 * seconds)))}\n")
            transcript = folder / "LibriSpeech" / below / f"{speaker}-{chapter}.trans.txt"
            transcript.write_text("".join(texts))
    noises = [f"tr/{n:05d}_{rng.uniform(-2, 2):.4f}_{n % 999:03d}a010.wav" for n in range(NOISES)]
    noise_lengths = [f"x,tr,{round(rng.uniform(3, 20) * 16000)},False,{path}" for path in noises]
    per_speaker = CHAPTERS * UTTERANCES
    rows = []
    while len(rows) < ROWS:
        one, two = rng.integers(len(paths), size=2)
        if one // per_speaker != two // per_speaker:
            name = f"{Path(paths[one]).stem}_{Path(paths[two]).stem}"
            gains = [repr(float(gain)) for gain in rng.uniform(0.2, 2, size=3)]
            noise = noises[rng.integers(NOISES)]
            row = f"{name},{paths[one]},{gains[0]},{paths[two]},{gains[1]},{noise},{gains[2]}"
            rows.append(row)
    head = ",".join(f"{name}_path,{name}_gain" for name in ("source_1", "source_2", "noise"))
    tables = {
        "metadata/Libri2Mix/libri2mix_train-clean-360.csv": [f"mixture_ID,{head}", *rows],
        "metadata/LibriSpeech/train-clean-360.csv": ["speaker_ID,sex,subset,length,origin_path",
                                                     *lengths],
        "metadata/Wham_noise/train.csv": ["noise_ID,subset,length,augmented,origin_path",
                                          *noise_lengths],
        "alignments/train_clean_360.rttm": rttm,
    }  # fmt: skip
    for name, lines in tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "wham").mkdir()


def run(*commands: str) -> Tuple[float, float]:
    """Seconds and CPU seconds that commands of ``ume`` take, all at once."""
    started, cpu = time.monotonic(), sum(os.times()[2:4])
    running = [subprocess.Popen([sys.executable, "-m", "ume", *each.split()]) for each in commands]
    if any([process.wait() for process in running]):
        raise SystemExit("a command failed")
    return time.monotonic() - started, sum(os.times()[2:4]) - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publish", default="", help="file of records")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, mix = Path(temporary), Path(temporary) / "mix"
        write_corpus(folder, np.random.default_rng(0))
        check = run(
            f"check-librimix --librispeech {folder}/LibriSpeech --metadata {folder} "
            f"--wham {folder}/wham --mixtures {mix} --type mix_both --check-files false"
        )
        prepare = f"prepare-librimix --mixtures {mix} --alignments {folder}/alignments"
        jobs = run(*(f"{prepare} --job {job} --num-jobs 2" for job in (1, 2)))
        join = run(f"{prepare} --job 0")
        cuts, rest, shares = (
            sum(path.stat().st_size for path in paths) / 1e6
            for paths in (
                list(mix.glob("cuts_*")),
                [path for path in mix.glob("*") if path.is_file() and "cuts_" not in path.name],
                list(mix.glob("jobs/*/*")),
            )
        )
    publish(options.publish, "Manifests of LibriMix's train-360", [
        f"{ROWS} mixtures of 2 speakers with noise, modes max and min, of the metadata alone.", "",
        "| | s | s of CPU |", "| --- | --- | --- |",
        f"| check of the metadata | {check[0]:.0f} | {check[1]:.0f} |",
        f"| 2 jobs, both at once | {jobs[0]:.0f} | {jobs[1]:.0f} |",
        f"| join | {join[0]:.0f} | {join[1]:.0f} |",
        f"| all | {sum(each[0] for each in (check, jobs, join)):.0f} | "
        f"{sum(each[1] for each in (check, jobs, join)):.0f} |", "",
        f"The machine's load, of all that ran on it, was {os.getloadavg()[2]:.1f} on "
        f"{os.cpu_count()} cores.", "",
        f"Manifests of both modes {cuts:.1f} MB, references and the rest {rest:.1f} MB, shares of "
        f"the jobs {shares:.1f} MB.",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
