"""The cascade: jobs, gates and inputs with a stand-in for Whisper; then Whisper on real speech."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List

import ume.compat  # noqa: F401  (before lhotse)

# isort: split
import kaldialign
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.cut import MixedCut, MixTrack

from ume.errors import UmeError
from ume.files import read_json, write_json
from ume.inference import cascade
from ume.inference.cascade import Config, main
from ume.inference.transcribe import Transcriber, split
from ume.pretrained.whisper import find_whisper

RATE = 16000
NUM_CUTS = 19  # more than two groups
batches: List[int] = []


class Echo:
    """Says how loud each voice is at its start, middle and end, in units of 0.1."""

    path, sha256 = Path("echo"), "0"
    encode_seconds = decode_seconds = 0.0
    num_windows = 0

    def __init__(self, source: str) -> None:
        self.source = source

    def __call__(self, voices: List[np.ndarray]) -> List[str]:
        batches.append(len(voices))
        places = [[10, len(voice) // 2 - 10, -10] for voice in voices]
        return [
            " ".join(str(round(10 * float(voice[i]))) for i in place)
            for voice, place in zip(voices, places)
        ]


def source(folder: Path, name: str, level: float, seconds: float) -> MonoCut:
    """A cut of constant ``level``."""
    path = folder / f"{name}.wav"
    soundfile.write(path, np.full(round(seconds * RATE), level), RATE)
    cut = Recording.from_file(path, recording_id=name).to_cut()
    cut.supervisions = [SupervisionSegment(name, name, 0.0, cut.duration, speaker=name)]
    return cut


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mixtures of a voice of level 0.1 and a longer one of 0.3, and a hypothesis of them."""
    folder = tmp_path_factory.mktemp("cascade")
    tracks = [source(folder, "a", 0.1, 1.0), source(folder, "b", 0.3, 2.0)]
    cuts, turns = [], []
    for index in range(NUM_CUTS):
        name = f"mix-{index:02d}"
        cuts.append(MixedCut(id=name, tracks=[MixTrack(cut) for cut in tracks]))
        for k, level in ((1, 0.2), (2, 0.5)):
            path = folder / "hyp" / "audio" / f"{name}_{k}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.full(2 * RATE, level), RATE, "PCM_16")
        turns.append(f"SPEAKER {name} 1 0.500 1.500 <NA> <NA> 2 <NA> <NA>\n")
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    (folder / "hyp" / "hyp.rttm").write_text("".join(turns))
    write_json(
        folder / "hyp" / "meta.json", {"num_speakers": 2, "tasks": ["diarization", "separation"]}
    )
    return folder


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(cascade, "Transcriber", Echo)
    batches.clear()
    return Config(hyp=str(folder / "hyp"), cuts=str(folder / "cuts.jsonl.gz"))


def words(config: Config, method: str = "whisper") -> List[Dict[str, Any]]:
    return read_json(Path(config.hyp) / "words" / f"{method}.json")


def test_separated_voices_with_and_without_the_gate(config: Config) -> None:
    main(config)
    plain, gated = words(config), words(config, "whisper-gated")
    names = [(f"mix-{i:02d}", k) for i in range(NUM_CUTS) for k in ("1", "2")]
    assert [(entry["session_id"], entry["speaker"]) for entry in plain] == names
    assert plain[0] == {
        "session_id": "mix-00",
        "speaker": "1",
        "start_time": 0.0,
        "end_time": 2.0,
        "words": "2 2 2",
    }
    assert [entry["words"] for entry in plain[:2]] == ["2 2 2", "5 5 5"]
    assert [entry["words"] for entry in gated[:2]] == ["0 0 0", "0 5 5"]
    assert read_json(Path(config.hyp) / "cascade.json")["sha256"] == "0"


@pytest.mark.parametrize(
    "kind, expected", [("sources", ["1 1 0", "3 3 3"]), ("mixture", ["4 4 3"])]
)
def test_controls(config: Config, tmp_path: Path, kind: Any, expected: List[str]) -> None:
    config = replace(config, hyp=str(tmp_path), input=kind)
    main(config)
    assert [entry["words"] for entry in words(config)[: len(expected)]] == expected
    assert len(words(config)) == NUM_CUTS * len(expected)
    assert not (tmp_path / "words" / "whisper-gated.json").exists()


def test_jobs_change_neither_words_nor_batches(config: Config, tmp_path: Path) -> None:
    alone = replace(config, hyp=str(tmp_path / "alone"), input="sources")
    main(alone)
    together, batches[:] = sorted(batches), []
    shared = replace(alone, hyp=str(tmp_path / "shared"), num_jobs=2)
    with pytest.raises(UmeError, match="1.json does not exist"):
        main(replace(shared, job=0))
    main(replace(shared, job=2))
    main(replace(shared, job=1))
    assert not (tmp_path / "shared" / "words" / "whisper.json").exists()
    main(replace(shared, job=0, num_jobs=1))
    assert words(shared) == words(alone)
    assert sorted(batches) == together


def test_a_model_that_does_not_diarize_has_no_gated_words(
    config: Config, folder: Path, tmp_path: Path
) -> None:
    hyp = Path(shutil.copytree(folder / "hyp", tmp_path / "hyp"))
    (hyp / "hyp.rttm").unlink()
    shutil.rmtree(hyp / "words", ignore_errors=True)  # of the other tests
    write_json(hyp / "meta.json", {"num_speakers": 2, "tasks": ["separation"]})
    main(replace(config, hyp=str(hyp)))
    assert [path.name for path in (hyp / "words").glob("*.json")] == ["whisper.json"]


def test_shares_of_two_runs_are_not_joined(config: Config, tmp_path: Path) -> None:
    config = replace(config, hyp=str(tmp_path), input="sources", num_jobs=2)
    main(replace(config, job=2, num_jobs=3))
    main(replace(config, job=1))
    with pytest.raises(UmeError, match="2.json is of another run"):
        main(replace(config, job=0))


def test_bad_input_is_named(config: Config, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UmeError, match="--job 3 is not between 0 and --num-jobs 2"):
        main(replace(config, job=3, num_jobs=2))
    with pytest.raises(UmeError, match="meta.json does not exist; steps/infer.sh"):
        main(replace(config, hyp=str(tmp_path)))
    with pytest.raises(UmeError, match="nowhere.jsonl.gz does not exist"):
        main(replace(config, cuts=str(tmp_path / "nowhere.jsonl.gz")))
    write_json(tmp_path / "meta.json", {"num_speakers": 2, "tasks": ["diarization", "separation"]})
    (tmp_path / "hyp.rttm").write_text("")
    with pytest.raises(UmeError, match="_1.flac does not exist; steps/infer.sh"):
        main(replace(config, hyp=str(tmp_path)))
    (tmp_path / "audio").mkdir()
    for index in range(NUM_CUTS):
        (tmp_path / "audio" / f"mix-{index:02d}_1.flac").write_bytes(b"fLaC")
    with pytest.raises(UmeError, match="_1.flac cannot be read"):
        main(replace(config, hyp=str(tmp_path)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.integers(0, 9))
def test_windows_join_to_the_whole(seconds: int, seed: int) -> None:
    audio = np.random.default_rng([seed, seconds]).normal(size=seconds * RATE + seed)
    windows = list(split(audio))
    assert np.array_equal(np.concatenate(windows), audio)
    assert all(len(window) <= 30 * RATE for window in windows)
    assert all(len(window) >= 20 * RATE for window in windows[:-1])


def test_long_audio_is_cut_where_it_is_quiet() -> None:
    audio = np.random.default_rng(0).normal(size=40 * RATE)
    audio[26 * RATE : 27 * RATE] = 0.0
    first, _ = split(audio)
    assert 26 * RATE <= len(first) <= 27 * RATE


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    try:
        find_whisper()
    except UmeError as error:
        pytest.skip(str(error))
    return Transcriber()


def test_whisper_says_nothing_in_silence(transcriber: Transcriber) -> None:
    assert transcriber([np.zeros(RATE, np.float32), np.zeros(0, np.float32)]) == ["", ""]
    assert transcriber.num_windows == 0


def test_whisper_understands_real_speech(transcriber: Transcriber, shared: Path) -> None:
    speakers = sorted((shared / "data" / "librispeech" / "test-other").rglob("*-0003.flac"))[:3]
    texts = transcriber([soundfile.read(path, dtype="float32")[0] for path in speakers])
    errors = total = 0
    for path, text in zip(speakers, texts):
        transcript = next(path.parent.glob("*.trans.txt")).read_text().splitlines()
        reference = next(line for line in transcript if line.startswith(path.stem)).split()[1:]
        letters = "".join(c for c in text.upper() if c.isalpha() or c in " '")
        errors += kaldialign.edit_distance(reference, letters.split())["total"]
        total += len(reference)
    assert errors < 0.2 * total  # tiny.en: about 14 % on test-other
