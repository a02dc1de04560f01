"""Lay a corpus of LibriSpeech's form out as VoxCeleb2: m4a by ffmpeg, metadata, its own test set.

Run it on the subsets dev-clean, test-other and train-clean-100 of some speakers, with the split of
the recipe mini_librimix::

    . ./path.sh && python tests/bench/voxceleb2_shaped.py --librispeech LibriSpeech \\
        --split egs/mini_librimix/conf/split_dev_clean.yaml --output vox

Test speakers are those of the split, all of test-other, and some of train-clean-100, half of either
sex; dev likewise; the others are train. Beside ``vox/voxceleb2`` there are ``vox/speakers``, the
lists for ``run.sh --speakers``, and ``vox/text``, what is said where it is known.
"""

import argparse
import subprocess
from pathlib import Path
from typing import Dict, List

import numpy as np
import yaml

from ume.corpora.librispeech import read_sexes
from ume.corpora.speaker_lists import write_lists
from ume.files import write_text

MORE = {"dev": 20, "test": 30}  # speakers of train-clean-100 in dev and test


def split_speakers(librispeech: Path, split: Path, sexes: Dict[str, str]) -> Dict[str, List[str]]:
    """Part -> speakers."""
    given = yaml.safe_load(split.read_text())
    parts = {
        part: [str(speaker) for entry in given[part] for speaker in entry.get("speakers", [])]
        for part in ("train", "dev", "test")
    }
    parts["test"] += sorted(path.name for path in (librispeech / "test-other").glob("[0-9]*"))
    rest = sorted(path.name for path in (librispeech / "train-clean-100").glob("[0-9]*"))
    for k, sex in enumerate("FM"):
        own = [speaker for speaker in rest if sexes[speaker] == sex]
        order = np.random.default_rng([0, k]).permutation(own).tolist()
        for part, count in MORE.items():
            parts[part] += order[: count // 2]
            order = order[count // 2 :]
        parts["train"] += order
    return parts


def convert(paths: List[Path], targets: List[Path]) -> None:
    """FLAC to m4a, all of one speaker at once."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    for path in paths:
        command += ["-i", str(path)]
    for number, target in enumerate(targets):
        target.parent.mkdir(parents=True, exist_ok=True)
        command += ["-map", f"{number}:a", "-c:a", "aac", "-b:a", "64k", str(target)]
    subprocess.run(command, check=True)


def main() -> None:
    """Write the corpus."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--librispeech", required=True, type=Path)
    parser.add_argument("--split", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    sexes = read_sexes(options.librispeech / "SPEAKERS.TXT")
    parts = split_speakers(options.librispeech, options.split, sexes)
    part_of = {speaker: part for part, own in parts.items() for speaker in own}
    rows, texts = ["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \n"], []
    names: Dict[str, str] = {}
    for k, speaker in enumerate(sorted(part_of, key=int)):
        name = names[speaker] = f"id{k:05d}"
        subset = "test" if part_of[speaker] == "test" else "dev"
        rows.append(f"{name} ,n{k:06d} ,{sexes[speaker].lower()} ,{subset} \n")
        paths = sorted(options.librispeech.glob(f"*/{speaker}/*/*.flac"))
        folder = options.output / "voxceleb2" / subset / "aac" / name
        targets = []
        for path in paths:
            _, chapter, number = path.stem.split("-")
            targets.append(folder / chapter / f"{int(number):05d}.m4a")
        convert(paths, targets)
        for listing in sorted(options.librispeech.glob(f"*/{speaker}/*/*.trans.txt")):
            for line in listing.read_text().splitlines():
                (_, chapter, number), words = line.split()[0].split("-"), line.split()[1:]
                texts.append(f"{name}-{chapter}-{int(number):05d} {' '.join(words)}\n")
    write_text(options.output / "voxceleb2" / "vox2_meta.csv", "".join(rows))
    write_text(options.output / "text", "".join(texts))
    (options.output / "speakers").mkdir(exist_ok=True)
    lists = {part: [names[speaker] for speaker in own] for part, own in parts.items()}
    write_lists(options.output / "speakers", lists)
    print({part: len(own) for part, own in parts.items()})


if __name__ == "__main__":
    main()
