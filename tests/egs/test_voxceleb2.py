"""The recipe of Echo end to end: a corpus laid out as VoxCeleb2, a model that learns nothing."""

import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import List, Tuple

import numpy as np
import pytest
import soundfile
import yaml
from lhotse import Recording, RecordingSet

from tests.corpora.test_voxceleb2 import make_voxceleb2
from tests.egs.recipe import environment
from ume.__main__ import main as ume
from ume.corpora.librispeech import read_sexes
from ume.corpora.speakers import read_texts
from ume.files import read_json
from ume.models.echo import Echo
from ume.training import train_echo

ROOT = Path(__file__).resolve().parents[2]
EXP = "exp of this & that"
STAGES = ("jepa", "content", "factors", "speakers", "slots")
TINY = {
    "encoder": {"kind": "vit", "vit": {"num_layers": 1, "width": 16, "num_heads": 2}},
    "embedding": 8,
    "factors": {"width": 8, "codebooks": 2, "entries": 8, "residual": 2},
    "slots": {"width": 16, "num_layers": 1, "voice_layers": 1, "num_heads": 2},
}
COMMON = {
    "steps": 2, "max_duration": 20.0, "valid_every": 2, "valid_cuts": 4, "save_every": 1,
    "average_every": 1, "warmup": 1, "num_workers": 0, "log_every": 1,
}  # fmt: skip

pytestmark = pytest.mark.skipif(
    not shutil.which("ffmpeg"), reason="no ffmpeg; install your system's package ffmpeg"
)


@pytest.fixture(scope="module")
def corpus(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``voxceleb2/``, lists of speakers, what those of test-other say; a real recording."""
    folder = tmp_path_factory.mktemp("the corpus")
    source = shared / "data" / "librispeech"
    sexes = read_sexes(source / "SPEAKERS.TXT")
    worded = sorted(path for path in (source / "test-other").iterdir() if path.is_dir())
    others = sorted((source / "train-clean-100").iterdir())[:9]
    order = [*others[:4], *worded[:2], *others[4:7], *worded[2:4], *worded[4:], *others[7:]][:18]
    files = {f"{k:02d}": sorted(path.rglob("*.flac"))[:3] for k, path in enumerate(order)}
    make_voxceleb2(
        folder / "voxceleb2", files, {f"{k:02d}": sexes[p.name] for k, p in enumerate(order)}
    )
    texts = {}
    for path in worded:
        for listing in path.rglob("*.trans.txt"):
            texts.update(line.split(" ", 1) for line in listing.read_text().splitlines())
    lines = []
    for k, own in enumerate(files.values()):
        for index, path in enumerate(own):
            if path.stem in texts:
                name = f"id{k:05d}--x_{index // 2}-{index % 2 + 1:05d}"
                lines.append(f"{name} {texts[path.stem]}\n")
    (folder / "text").write_text("".join(lines))
    broken = folder / "voxceleb2/dev/aac/id00000/x_9/00009.m4a"
    broken.parent.mkdir()
    broken.write_bytes(b"no sound")
    noises = []
    for k in range(3):
        sound = 0.1 * np.random.default_rng(k).standard_normal(32000)
        soundfile.write(folder / f"noise-{k}.wav", sound, 16000)
        noises.append(Recording.from_file(folder / f"noise-{k}.wav"))
    RecordingSet.from_recordings(noises).to_file(folder / "noise.jsonl.gz")
    names = [f"id{k:05d}" for k in range(len(order))]
    test = [name for k, name in enumerate(names) if 3 * k >= 2 * len(names)]
    rest = [name for name in names if name not in test]
    ami, chosen = shared / "data" / "ami", "dev00"
    (folder / "recordings").mkdir()
    shutil.copy(ami / f"{chosen}.flac", folder / "recordings")
    rttm = [line for line in (ami / "ref.rttm").read_text().splitlines() if chosen in line]
    (folder / "recordings" / "ref.rttm").write_text("\n".join(rttm) + "\n")
    (folder / "speakers").mkdir()
    for part, own in (("train", rest[:6]), ("dev", rest[6:]), ("test", test)):
        (folder / "speakers" / f"speakers_{part}").write_text("\n".join(own) + "\n")
    return folder


@pytest.fixture(scope="module")
def made(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuple[Path, List[str]]:
    """The folder in which all stages have run, with one comparison, and the command."""
    tmp_path = tmp_path_factory.mktemp("recipe")
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "model.yaml").write_text(yaml.safe_dump({"model": TINY}))
    own = {
        "jepa": {"crop": 2, "learn": {"predictor_width": 16, "predictor_layers": 1}},
        "speakers": {"crop": 2, "best_by": "accuracy", "large_margin_share": 0.5},
        "slots": {"crop": 3},
    }
    for stage in STAGES:
        (conf / f"{stage}.yaml").write_text(yaml.safe_dump({**COMMON, **own.get(stage, {})}))
    rules = tmp_path / "rules.yaml"
    rules.write_text("duration: 8\nsnr: [20, 30]\n")
    options = [
        *("--voxceleb2", corpus / "voxceleb2", "--speakers", corpus / "speakers"),
        *("--texts", f"{corpus / 'text'},whisper", "--conversations", "train=4 dev=4 test=4"),
        *("--recordings", corpus / "recordings", "--conversation-conf", rules),
        *("--noise", corpus / "noise.jsonl.gz", "--max-broken", "5"),
        *("--min-speech", "1", "--conf", conf, "--nj", "1"),
        *("--compare", "no-anchor", "--data", tmp_path / "data", "--exp", tmp_path / EXP),
        *("--title", "Plumbing: nothing was learned", "--stage", "1"),
    ]
    command = [str(ROOT / "egs/voxceleb2/run.sh"), *map(str, options)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stdout + run.stderr
    return tmp_path, command


def test_all_stages_one_comparison_and_one_table(
    corpus: Path, made: Tuple[Path, List[str]]
) -> None:
    tmp_path, command = made
    exp = tmp_path / EXP
    known = read_texts(str(corpus / "text"))
    texts = read_texts(str(tmp_path / "data" / "pseudo_labels" / "text"))
    heard = {name.split("--")[0] for name in texts.keys() - known.keys()}
    train = (corpus / "speakers" / "speakers_train").read_text().split()
    assert heard and heard <= set(train) and texts.items() >= known.items()

    assert (tmp_path / "data/flac/broken.txt").read_text().startswith("dev/id00000/x_9/00009\t")
    parts = read_json(tmp_path / "data/conversations/about.json")["parts"]
    assert [parts[name]["noises"] for name in ("train", "dev", "test")] == [1, 1, 1]

    text = (exp / "RESULTS.md").read_text()
    assert "Plumbing: nothing was learned" in text
    assert "| measure | unit | chance | jepa | content | factors | speakers | slots |" in text
    for name in (
        "rank", "speaker probe, halves", "content probe", "token error rate, content",
        "token error rate, residual, 2", "factorisation gap, speaker subspace",
        "identification, halves", "overlap probe", "speaker probe, pieces", "routing accuracy",
        "PIT separation accuracy",
        "latent SI-SDR", "predicted K", "DER of slots", "SI-SDRi of voices",
    ):  # fmt: skip
        assert f"| {name} |" in text, name
    assert "| slots, test | oracle-count, test | vbx, test | slots, real |" in text
    for system, name in product(("slots", "oracle-count", "vbx"), ("test_part", "real_part")):
        scores = read_json(exp / "diarization" / system / name / "scores.json")
        rows = {m["row"] for m in scores["metrics"] if m["name"] == "DER"}
        assert {"hypothesis", "one speaker", "all-speak"} <= rows
    (pairs,) = re.findall(r"### With and without (.*)\n\n\| measure \| unit \| (.*) \|", text)
    assert pairs == ("the anchor", "content | no-anchor/content | difference")
    timed = text.split("### Time, without the comparisons")[1].split("###")[0]
    folders = re.findall(r"(?m)^\| ([^ ]*(?: [^|]*[^ |])?) +\| \d+ \|", timed)
    assert {name.rsplit("/", 1)[-1] for name in folders} >= {*STAGES, "data", "diarization", "vbx"}
    assert (exp / "plots" / "bits.png").exists()
    assert yaml.safe_load((exp / "jepa" / "config.yaml").read_text())["num_workers"] == 0
    before = {path: path.stat().st_mtime_ns for path in exp.rglob("model.safetensors")}
    again = [*command, "--stop-stage", "6"]
    run = subprocess.run(again, capture_output=True, text=True, env=environment())
    assert run.returncode == 0 and "starting" not in run.stdout, run.stdout + run.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_stack_on_an_encoder_that_is_not_trained(made: Tuple[Path, List[str]]) -> None:
    tmp_path, command = made
    start = command.index("--compare")
    command = [*command[:start], "--compare", "log-mel", *command[start + 2 :], "--stage", "9"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stdout + run.stderr
    text = (tmp_path / EXP / "RESULTS.md").read_text()
    assert "| slots, test | oracle-count, test | vbx, test | log-mel/slots, test |" in text
    assert "| factors | speakers | slots | log-mel/slots |" in text


@pytest.mark.parametrize("conf, low, high", [("conf", 24e6, 26e6), ("conf/small", 3e6, 4e6)])
def test_every_configuration_is_one(
    conf: str, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: List[train_echo.Config] = []
    monkeypatch.setattr(train_echo, "main", configs.append)
    recipe = ROOT / "egs/voxceleb2"
    overlays = sorted((recipe / "conf/overlays").glob("*.yaml"))
    for stage, overlay in product(STAGES, [None, *overlays]):
        files = [recipe / conf / "model.yaml", recipe / conf / f"{stage}.yaml"]
        files += [] if overlay is None else [overlay]
        options = [word for file in files for word in ("--config", str(file))]
        assert ume(["train-echo", *options, "--data+", "d", "--stage", stage, "--exp", "e"]) == 0
    assert [config.model.encoder.kind for config in configs[:5]].count("log-mel") == 1
    encoder = Echo(configs[0].model).encoder
    assert low < sum(parameter.numel() for parameter in encoder.parameters()) < high


@pytest.mark.parametrize("conf", ["conf", "conf/small"])
def test_slots_are_trained_on_windows_as_long_as_those_they_will_hear(conf: str) -> None:
    crop = yaml.safe_load((ROOT / "egs/voxceleb2" / conf / "slots.yaml").read_text())["crop"]
    for script in ("stack", "measure_echo"):
        (window,) = re.findall(r"(?m)^window=(\d+)$", (ROOT / f"steps/{script}.sh").read_text())
        assert float(window) == crop


def test_comparisons_that_need_words_are_refused_without_them(tmp_path: Path) -> None:
    command = [
        str(ROOT / "egs/voxceleb2/run.sh"),
        "--flac",
        str(tmp_path),
        "--compare",
        "no-anchor",
    ]
    run = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert run.returncode == 1 and "stage content, which needs --texts" in run.stderr


def test_whispers_words_go_on_when_an_utterance_has_left_the_corpus(
    shared: Path, tmp_path: Path
) -> None:
    source, flac = shared / "data" / "librispeech", tmp_path / "flac"
    sexes = read_sexes(source / "SPEAKERS.TXT")
    for sex in "FM":
        own = [p for p in sorted((source / "test-other").iterdir()) if sexes[p.name] == sex]
        for speaker in own[:3]:
            for path in sorted(speaker.rglob("*.flac"))[:2]:
                target = flac / path.relative_to(source / "test-other")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    shutil.copy(source / "SPEAKERS.TXT", flac)
    command = [
        str(ROOT / "egs/voxceleb2/run.sh"),
        *("--stage", "1", "--stop-stage", "1", "--flac", str(flac), "--texts", "whisper"),
        *("--dev-speakers", "2", "--test-speakers", "2", "--min-speech", "1", "--nj", "1"),
        *("--data", str(tmp_path / "data"), "--exp", str(tmp_path / "exp")),
    ]

    def run() -> str:
        done = subprocess.run(command, capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run()
    labels = tmp_path / "data/pseudo_labels/text"
    before = read_texts(str(labels))
    gone = next(path for path in sorted(flac.rglob("*.flac")) if path.stem in before)
    gone.unlink()
    run()
    assert read_texts(str(labels)) == {k: v for k, v in before.items() if k != gone.stem}
    assert "starting" not in run()
