"""Convert VoxCeleb2 as it lies on disk (m4a) to FLAC of 16 kHz by ffmpeg; what is done is skipped.

    <corpus>/dev/aac/<speaker>/<video>/*.m4a  ->  <output>/dev/<speaker>/<video>/*.flac

A FLAC file bears the modification time of its source: so it is known whether it is up to date.
"""

import errno
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

import soundfile

from ume.activity import SAMPLING_RATE
from ume.corpora.shares import read_shares, write_share
from ume.errors import UmeError
from ume.files import PART, existing, write_bytes, write_json, write_text
from ume.jobs import of_job
from ume.orphans import die_with_parent

METADATA = "vox2_meta.csv"
TOGETHER = 32  # files per ffmpeg, whose start costs several times what a file does
MADE_BY = "local/prepare_voxceleb2.sh"


@dataclass
class Config:
    """Options of ``ume convert-voxceleb2``."""

    corpus: str
    """VoxCeleb2: dev/aac/<speaker>/<video>/*.m4a, test/aac/... and vox2_meta.csv."""
    output: str
    """Folder for <subset>/<speaker>/<video>/*.flac; broken files are listed in its broken.txt."""
    max_broken: float = 1.0
    """Per cent of all files that may be broken; joining fails if more are."""
    job: int = 1
    """This job, from 1; 0 joins what all jobs have found."""
    num_jobs: int = 1
    """Jobs in all; job j converts every num_jobs-th file."""


@dataclass(frozen=True)
class File:
    """A file of the corpus and what it is converted to."""

    name: str  # <subset>/<speaker>/<video>/<file>, without suffix
    source: Path
    target: Path

    def is_done(self) -> bool:
        """Whether the target was made of the source as it is now."""
        try:  # whole seconds: not every file system keeps more
            return int(self.target.stat().st_mtime) == int(self.source.stat().st_mtime)
        except FileNotFoundError:
            return False


def main(config: Config) -> None:
    """Convert one job's share of the files, or join: list what is broken, and count."""
    files = find_files(existing(config.corpus), Path(config.output))
    if config.job == 0:
        join(config, files)
        return
    if not shutil.which("ffmpeg"):
        raise UmeError("ffmpeg is missing; install your system's package ffmpeg")
    own = of_job(files, config.job, config.num_jobs)
    left = [file for file in own if not file.is_done()]
    broken: Dict[str, str] = {}
    for first in range(0, len(left), TOGETHER):
        broken.update(convert(left[first : first + TOGETHER], Path(config.output)))
    write_share(Path(config.output) / "conversion", config.job, config.num_jobs, broken)
    print(f"{len(own)} files: {len(left) - len(broken)} converted, {len(broken)} broken")


def find_files(corpus: Path, output: Path) -> List[File]:
    """All ``<subset>/aac/<speaker>/<video>/*.m4a`` of a corpus, sorted."""
    found = []
    for source in sorted(corpus.glob("*/aac/*/*/*.m4a")):
        subset, _, speaker, video, name = source.relative_to(corpus).with_suffix("").parts
        target = output / subset / speaker / video / f"{name}.flac"
        found.append(File(f"{subset}/{speaker}/{video}/{name}", source, target))
    if not found:
        raise UmeError(
            f"{corpus} holds no <subset>/aac/<speaker>/<video>/*.m4a; unpack VoxCeleb2 there, "
            "its archives of both sets into dev/ and test/"
        )
    return found


def convert(files: List[File], output: Path) -> Dict[str, str]:
    """Convert ``files`` by one ffmpeg, aside, then rename; return what is broken: name -> why.

    One broken file spoils the whole run: then each half is converted on its own.
    """
    output.mkdir(parents=True, exist_ok=True)
    states = [file.source.stat() for file in files]  # before: a source may change meanwhile
    with tempfile.TemporaryDirectory(prefix=PART, dir=output) as folder:
        made = [Path(folder) / f"{number}.flac" for number in range(len(files))]
        fault = run_ffmpeg([file.source for file in files], made)
        if not fault:
            for file, path, state in zip(files, made, states):
                os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
                file.target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, file.target)
            return {}
    if len(files) == 1:
        files[0].target.unlink(missing_ok=True)  # what an earlier, sound source gave
        return {files[0].name: fault}
    half = len(files) // 2
    return {**convert(files[:half], output), **convert(files[half:], output)}


def run_ffmpeg(sources: List[Path], targets: List[Path]) -> str:
    """Convert ``sources`` to mono FLAC of 16 bits and 16 kHz; return the first fault, if any.

    Raises:
        OSError: the disk, or the quota, is full.
        UmeError: ffmpeg was killed.
    """
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-y"]
    for source in sources:
        command += ["-threads", "1", "-i", str(source)]
    for number, target in enumerate(targets):
        command += ["-map", f"{number}:a:0", "-map_metadata", "-1", "-bitexact", "-ac", "1"]
        command += ["-ar", str(SAMPLING_RATE), "-sample_fmt", "s16", "-c:a", "flac", str(target)]
    done = subprocess.run(command, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
    said = done.stderr.decode(errors="replace")
    for number in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(number) in said:
            raise OSError(number, os.strerror(number), str(targets[0].parent.parent))
    if done.returncode < 0:
        raise UmeError(f"ffmpeg was killed by signal {-done.returncode}; run {MADE_BY} again")
    if done.returncode > 0:
        return (said.strip().splitlines() or ["ffmpeg failed"])[0]
    if any(soundfile.info(target).frames == 0 for target in targets):
        return "it holds no audio"
    return ""


def join(config: Config, files: List[File]) -> None:
    """Write ``broken.txt``, ``conversion.json`` and a copy of the speakers' metadata.

    Raises:
        UmeError: a file is neither converted nor broken, one has lost its source, or too many are
            broken.
    """
    output = Path(config.output)
    metadata = existing(Path(config.corpus) / METADATA)
    broken = read_shares(output / "conversion", MADE_BY)
    targets = {file.target for file in files}
    orphans = [path for path in sorted(output.glob("*/*/*/*.flac")) if path not in targets]
    if orphans:
        raise UmeError(
            f"{len(orphans)} files have no source in {config.corpus} ({orphans[0]}); remove them, "
            "or give another folder for the FLAC"
        )
    lost = [file for file in files if file.name not in broken and not file.is_done()]
    if lost:
        raise UmeError(f"{len(lost)} files are not converted ({lost[0].source}); run {MADE_BY}")
    listing = output / "broken.txt"
    write_text(listing, "".join(f"{name}\t{why}\n" for name, why in broken.items()))
    share_broken = 100 * len(broken) / len(files)
    counts = f"{len(broken)} of {len(files)} files are broken, see {listing}"
    if share_broken > config.max_broken:
        raise UmeError(f"{counts}; restore them, or give a --max-broken above {share_broken:.2g}")
    write_bytes(output / METADATA, metadata.read_bytes())
    write_json(output / "conversion.json", {
        "corpus": config.corpus,
        "num_files": len(files),
        "num_converted": len(files) - len(broken),
        "num_broken": len(broken),
    })  # fmt: skip
    print(counts)
