"""VoxCeleb2, as it lies on disk: converted whole whatever happens, and what is broken is listed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest
import soundfile
from lhotse import SupervisionSet

from ume.corpora import speakers, speech, voxceleb2
from ume.corpora.voxceleb2 import Config, main
from ume.dataset import validate
from ume.errors import UmeError
from ume.files import PART, read_json

pytestmark = pytest.mark.skipif(
    not shutil.which("ffmpeg"), reason="no ffmpeg; install your system's package ffmpeg"
)


def make_voxceleb2(folder: Path, sources: Dict[str, List[Path]], sexes: Dict[str, str]) -> None:
    """Lay ``sources`` (speaker -> audio files) out as VoxCeleb2, the last third as its test set."""
    command = ["ffmpeg", "-nostdin", "-v", "error"]
    paths = [path for speaker in sorted(sources) for path in sources[speaker]]
    for path in paths:
        command += ["-i", str(path)]
    rows = ["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \n"]
    number = 0
    for k, speaker in enumerate(sorted(sources)):
        subset = "test" if 3 * k >= 2 * len(sources) else "dev"
        name = f"id{k:05d}"
        rows.append(f"{name} ,n{k:06d} ,{sexes[speaker].lower()} ,{subset} \n")
        for index in range(len(sources[speaker])):
            video = folder / subset / "aac" / name / f"-x_{index // 2}"  # as YouTube names them
            video.mkdir(parents=True, exist_ok=True)
            target = video / f"{index % 2 + 1:05d}.m4a"
            command += ["-map", f"{number}:a", "-c:a", "aac", "-b:a", "64k", str(target)]
            number += 1
    subprocess.run(command, check=True)
    (folder / "vox2_meta.csv").write_text("".join(rows))


@pytest.fixture(scope="session")
def voxceleb2_corpus(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 speakers, 2 of them of the test set, with 3 files in 2 videos each."""
    folder = tmp_path_factory.mktemp("vox") / "Vox Celeb2"
    folders = sorted((corpus / "dev-clean").iterdir())[:6]
    sources = {path.name: sorted(path.rglob("*.flac")) for path in folders}
    make_voxceleb2(folder, sources, {speaker: "FM"[int(speaker) % 2] for speaker in sources})
    return folder


@pytest.fixture
def copy(voxceleb2_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus that a test may break."""
    return Path(shutil.copytree(voxceleb2_corpus, tmp_path / "Vox Celeb2"))


def convert(corpus: Path, output: Path, num_jobs: int = 1, **options) -> None:
    """Run all jobs, then join."""
    for job in (*range(1, num_jobs + 1), 0):
        main(Config(str(corpus), str(output), job=job, num_jobs=num_jobs, **options))


@pytest.fixture(scope="session")
def converted(voxceleb2_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("flac") / "voxceleb2"
    convert(voxceleb2_corpus, output)
    return output


def content(folder: Path) -> Dict[str, bytes]:
    """The audio below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.flac")
            if PART not in str(p)}  # fmt: skip


def test_audio_is_that_of_the_sources(corpus: Path, converted: Path) -> None:
    assert len(content(converted)) == 18
    paths = sorted((corpus / "dev-clean/101").rglob("*.flac"))
    for path, name in zip(paths, ["-x_0/00001", "-x_0/00002", "-x_1/00001"], strict=True):
        found = converted / f"dev/id00000/{name}.flac"
        info = soundfile.info(found)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        source, audio = soundfile.read(path)[0], soundfile.read(found)[0]
        assert len(source) <= len(audio) < len(source) + 1024  # AAC has blocks of 1024 samples
        assert np.corrcoef(source, audio[: len(source)])[0, 1] > 0.98
    assert read_json(converted / "conversion.json")["num_converted"] == 18
    assert (converted / "broken.txt").read_text() == ""


def test_jobs_change_nothing(voxceleb2_corpus: Path, converted: Path, tmp_path: Path) -> None:
    convert(voxceleb2_corpus, tmp_path / "flac", num_jobs=5)
    assert content(tmp_path / "flac") == content(converted)


def test_what_is_done_is_skipped(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(copy, tmp_path / "flac")
    runs: List[Path] = []
    original = voxceleb2.run_ffmpeg
    monkeypatch.setattr(voxceleb2, "run_ffmpeg", lambda s, t: runs.extend(s) or original(s, t))
    convert(copy, tmp_path / "flac")
    assert runs == []
    changed = copy / "dev/aac/id00002/-x_0/00002.m4a"
    shutil.copy(copy / "dev/aac/id00003/-x_0/00001.m4a", changed)
    os.utime(changed, (1e9, 1e9))  # another file, and an older one
    convert(copy, tmp_path / "flac")
    assert runs == [changed]
    assert (tmp_path / "flac/dev/id00002/-x_0/00002.flac").read_bytes() == (
        tmp_path / "flac/dev/id00003/-x_0/00001.flac"
    ).read_bytes()


SLOWLY = """
import sys
from ume.corpora import voxceleb2
voxceleb2.TOGETHER = 3
voxceleb2.main(voxceleb2.Config(sys.argv[1], sys.argv[2]))
"""


def test_a_killed_conversion_goes_on_without_loss(
    voxceleb2_corpus: Path, converted: Path, tmp_path: Path, root: Path
) -> None:
    output, whole = tmp_path / "flac", content(converted)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", SLOWLY, str(voxceleb2_corpus), str(output)]
    rng = np.random.default_rng(0)
    seen: List[int] = []
    while len(seen) < 4:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        left_behind = begun = set(output.glob(PART + "*"))
        batches = rng.integers(1, 4)
        while process.poll() is None and len(begun - left_behind) < batches:
            begun = begun | set(output.glob(PART + "*"))
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = content(output)
        assert left.items() <= whole.items()  # every file is a whole one
        seen.append(len(left))
    assert seen == sorted(seen) and 0 < seen[-1] and seen[0] < len(whole)
    assert not (output / "conversion").exists() or seen[-1] == len(whole)
    convert(voxceleb2_corpus, output)
    assert content(output) == whole


def test_broken_files_are_listed_skipped_and_counted(
    copy: Path, converted: Path, tmp_path: Path
) -> None:
    output = tmp_path / "flac"
    shutil.rmtree(copy / "test")
    first, second, third, fourth = broken = sorted((copy / "dev").rglob("*.m4a"))[3:7]
    sound = first.read_bytes()
    first.write_bytes(sound[: len(sound) // 2])
    second.write_text("not audio")
    third.write_bytes(b"")
    noise = np.random.default_rng(0).bytes(4000)
    fourth.write_bytes(fourth.read_bytes()[:6000] + noise + fourth.read_bytes()[10000:])
    with pytest.raises(UmeError, match="4 of 12 files are broken, see .*broken.txt; restore them"):
        convert(copy, output, num_jobs=2)
    assert not (output / "conversion.json").exists()
    main(Config(str(copy), str(output), max_broken=34, job=0))
    lines = [line.split("\t") for line in (output / "broken.txt").read_text().splitlines()]
    names = [str(path.relative_to(copy).with_suffix("")).replace("/aac", "") for path in broken]
    assert [name for name, _ in lines] == names and all(why for _, why in lines)
    about = read_json(output / "conversion.json")
    assert (about["num_files"], about["num_converted"], about["num_broken"]) == (12, 8, 4)
    expected = {name: audio for name, audio in content(converted).items()
                if name.startswith("dev") and name[:-5] not in names}  # fmt: skip
    assert content(output) == expected
    first.write_bytes(sound)
    convert(copy, output, max_broken=34)
    assert content(output) == {
        **expected, f"{names[0]}.flac": content(converted)[f"{names[0]}.flac"]
    }  # fmt: skip
    assert read_json(output / "conversion.json")["num_broken"] == 3


def test_a_source_that_breaks_takes_its_audio_away(copy: Path, tmp_path: Path) -> None:
    convert(copy, tmp_path / "flac")
    (copy / "dev/aac/id00001/-x_0/00001.m4a").write_text("not audio")
    os.utime(copy / "dev/aac/id00001/-x_0/00001.m4a", (1e9, 1e9))
    convert(copy, tmp_path / "flac", max_broken=6)
    assert len(content(tmp_path / "flac")) == 17


def test_audio_whose_source_is_gone_is_no_part_of_the_corpus(copy: Path, tmp_path: Path) -> None:
    convert(copy, tmp_path / "flac")
    (copy / "dev/aac/id00001/-x_0/00001.m4a").unlink()
    with pytest.raises(UmeError, match=r"1 files have no source .*id00001/-x_0/00001.flac"):
        convert(copy, tmp_path / "flac")


def test_joining_wants_all_jobs(voxceleb2_corpus: Path, tmp_path: Path) -> None:
    options = Config(str(voxceleb2_corpus), str(tmp_path / "flac"), num_jobs=2)
    main(options)
    options.job = 0
    with pytest.raises(UmeError, match="2.json does not exist; local/prepare_voxceleb2.sh makes"):
        main(options)
    (tmp_path / "flac/conversion/2.json").write_text('{"num_jobs": 2, "entries": {}}')
    with pytest.raises(UmeError, match="9 files are not converted .*run local/prepare_voxceleb2"):
        main(options)


@pytest.mark.parametrize("words, code, error, message", [
    ("No space left on device", 1, OSError, "No space left on device"),
    ("Disk quota exceeded", 1, OSError, "Disk quota exceeded"),
    ("", "$$", UmeError, "ffmpeg was killed by signal 9"),
])  # fmt: skip
def test_what_is_no_fault_of_the_file(
    voxceleb2_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: str, code: object, error: type, message: str,
) -> None:  # fmt: skip
    program = tmp_path / "bin/ffmpeg"
    program.parent.mkdir()
    last = f"kill -9 {code}" if code == "$$" else f"exit {code}"
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\n{last}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(error, match=message):
        convert(voxceleb2_corpus, tmp_path / "flac")
    assert not (tmp_path / "flac/conversion").exists() and content(tmp_path / "flac") == {}


def test_bad_input(voxceleb2_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UmeError, match="holds no <subset>/aac/<speaker>/<video>"):
        convert(tmp_path, tmp_path / "flac")
    with pytest.raises(UmeError, match="--job 3 is not between 1 and --num-jobs 2"):
        main(Config(str(voxceleb2_corpus), str(tmp_path / "flac"), job=3, num_jobs=2))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UmeError, match="ffmpeg is missing; install"):
        convert(voxceleb2_corpus, tmp_path / "flac")


def prepare(flac: Path, output: Path, **options) -> Path:
    """The data folder of converted files."""
    speech.main(speech.Config(str(flac), str(output.parent / "speech")))
    speakers.main(speakers.Config(str(flac), str(output.parent / "speech"), str(output), **options))
    return output


def test_manifests_keep_the_test_set(converted: Path, tmp_path: Path) -> None:
    data = prepare(converted, tmp_path / "data", dev_speakers=2, min_speech=1.0)
    validate.main(validate.Config(str(data), audio=True))
    lists = {part: (data / f"speakers_{part}").read_text().split() for part in
             ("train", "dev", "test")}  # fmt: skip
    assert lists["test"] == ["id00004", "id00005"]
    assert sorted(lists["train"] + lists["dev"]) == [f"id{k:05d}" for k in range(4)]
    genders = {}
    for part, names in lists.items():
        found = list(SupervisionSet.from_file(data / f"supervisions_{part}.jsonl.gz"))
        assert sorted({s.speaker for s in found}) == names and len(found) == 3 * len(names)
        assert {s.text for s in found} == {None}
        genders[part] = {s.speaker: s.gender for s in found}
        assert {s.custom["session"] for s in found} == {"-x_0", "-x_1"}
    assert sorted(genders["dev"].values()) == ["F", "M"] and genders["test"]["id00004"] == "M"


def test_real_speech(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/librispeech/test-other"
    sources = {path.name: sorted(path.rglob("*.flac"))[:2] for path in source.iterdir()}
    sexes = speakers.read_sexes(shared / "data/librispeech/SPEAKERS.TXT")
    make_voxceleb2(tmp_path / "vox", sources, sexes)
    convert(tmp_path / "vox", tmp_path / "flac", num_jobs=2)
    data = prepare(tmp_path / "flac", tmp_path / "data", dev_speakers=2, min_speech=1.0)
    validate.main(validate.Config(str(data), audio=True))
    for part in ("train", "dev", "test"):
        for supervision in SupervisionSet.from_file(data / f"supervisions_{part}.jsonl.gz"):
            items = supervision.alignment["speech"]
            assert supervision.start == items[0].start
            assert supervision.end == pytest.approx(items[-1].end, abs=1e-6)
            share = sum(item.duration for item in items) / supervision.duration
            assert 0.6 < share <= 1.0


def test_the_script_goes_from_m4a_to_manifests_and_skips_what_is_done(
    voxceleb2_corpus: Path, tmp_path: Path, root: Path
) -> None:
    folder = tmp_path / "a b"
    command = [root / "local/prepare_voxceleb2.sh", "--dev-speakers", "2", "--min-speech", "1",
               "--nj", "1", voxceleb2_corpus, folder / "flac", folder / "corpus"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    assert read_json(folder / "corpus/about.json")["parts"]["test"]["num_utterances"] == 6
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    stages = again.stdout.splitlines()
    assert len(stages) == 5 and all("done already" in line for line in stages)


def test_the_script_takes_a_set_without_audio(copy: Path, tmp_path: Path, root: Path) -> None:
    shutil.rmtree(copy / "test/aac")
    (copy / "test/aac/id00004").mkdir(parents=True)
    command = [root / "local/prepare_voxceleb2.sh", "--dev-speakers", "1", "--test-speakers", "1",
               "--min-speech", "1", "--nj", "1",
               copy, tmp_path / "flac", tmp_path / "corpus"]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert not (tmp_path / "flac/test").exists()
