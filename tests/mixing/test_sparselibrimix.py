"""SparseLibriMix on real speech: samples as its script mixes them, several utterances a speaker."""

import json
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pyloudnorm
import pytest
import soundfile
from lhotse import load_manifest
from lhotse.cut import Cut

from ume.activity import num_frames, read_rttm
from ume.dataset import validate
from ume.dataset.mixtures import load_example, reference_activity
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing.sparselibrimix import Config, Piece, main, measure_piece
from ume.scoring.reference import Reference

SETS = {"sparse_2_0.4": 2, "sparse_3_0": 3}
UTTERANCES = 3  # of the first speaker of a mixture


@pytest.fixture(scope="module")
def librispeech(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """test-other as if it were test-clean."""
    folder = tmp_path_factory.mktemp("LibriSpeech")
    (folder / "test-clean").symlink_to(shared / "data" / "librispeech" / "test-other")
    (folder / "SPEAKERS.TXT").symlink_to(shared / "data" / "librispeech" / "SPEAKERS.TXT")
    return folder


@pytest.fixture(scope="module")
def wham(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of two channels that differ, with a mean."""
    folder = tmp_path_factory.mktemp("wham_noise")
    (folder / "tt").mkdir()
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        noise = 0.02 * rng.standard_normal((16000 * 16, 2)) + 0.01
        soundfile.write(folder / "tt" / f"{name}.wav", noise, 16000, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def checkout(librispeech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Metadata as it is published; of each set two mixtures."""
    folder = tmp_path_factory.mktemp("SparseLibriMix")
    rng = np.random.default_rng(0)
    speakers = sorted(path.name for path in (librispeech / "test-clean").iterdir())
    for name, size in SETS.items():
        mixtures = [mixture(f"mix_{n:07d}", size, librispeech, speakers, rng) for n in (1, 2)]
        path = folder / "metadata" / name / "metadata.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(mixtures, indent=4))
    return folder


def mixture(
    name: str, size: int, librispeech: Path, speakers: List[str], rng: np.random.Generator
) -> Dict[str, Any]:
    """One mixture: utterances in turns, the last one up to the end of its file."""
    chosen = rng.choice(speakers, size, replace=False).tolist()
    order = [size - 1 - turn % size for turn in range(size * UTTERANCES)]  # s2, s1, s2, ...
    made: Dict[str, Any] = {"mixture_name": name}
    time = 0.3
    for number, who in enumerate(order):
        path = sorted((librispeech / "test-clean" / chosen[who]).rglob("*.flac"))[0]
        first = round(rng.uniform(0.1, 1.0), 2)
        last = round(first + rng.uniform(0.5, 1.2), 2)
        if number == len(order) - 1:
            last = round(soundfile.info(path).duration + 0.004, 3)  # the aligner's grid
            first = round(last - 0.8, 3)
        speaker, chapter, _ = path.stem.split("-")
        made.setdefault(f"s{who + 1}", []).append({
            "file": f"{speaker}/{chapter}/{path.name}",
            "words": ["and", "so"],
            "spk_id": speaker,
            "chapter_id": chapter,
            "utt_id": path.stem,
            "start": round(time, 3),
            "stop": round(time + last - first, 3),
            "orig_start": first,
            "orig_stop": last,
            "lvl": rng.uniform(-33, -25),
            "source": f"s{who + 1}",
            "sub_utt_num": number,
        })  # fmt: skip
        time += 0.6 * (last - first) if number % size < size - 1 else last - first + 0.05
    stop = time + rng.uniform(0.2, 0.5)
    made["noise"] = [{
        "file": str(rng.choice(["a.wav", "b.wav"])),
        "start": 0,
        "stop": stop,
        "orig_start": 1.234,
        "orig_stop": 1.234 + stop,
        "lvl": rng.uniform(-38, -30),
        "source": "noise",
        "channel": int(rng.integers(2)),
    }]  # fmt: skip
    return made


@pytest.fixture(scope="module")
def made(
    checkout: Path, librispeech: Path, wham: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("made") / "sparselibrimix"
    main(Config(str(checkout), str(librispeech), str(folder), str(wham), num_jobs=2))
    return folder


def reference_tracks(entry: Dict[str, Any], speech: Path, noise: Path) -> Dict[str, np.ndarray]:
    """make_mixtures.py of SparseLibriMix in a few lines: each source, and noise, at 16 kHz."""
    placed: Dict[str, List[np.ndarray]] = {}
    for key in (key for key in entry if key != "mixture_name"):
        for one in entry[key]:
            path = (noise if key == "noise" else speech) / one["file"]
            audio, rate = soundfile.read(
                path, start=int(one["orig_start"] * 16000), stop=int(one["orig_stop"] * 16000)
            )
            audio = audio if audio.ndim == 1 else audio[:, one["channel"]]
            audio = audio - np.mean(audio)
            loudness = pyloudnorm.Meter(rate, block_size=0.1).integrated_loudness(audio)
            audio = audio * 10 ** ((one["lvl"] - loudness) / 20)
            placed.setdefault(key, []).append(np.pad(audio, (int(one["start"] * 16000), 0)))
    longest = max(len(audio) for own in placed.values() for audio in own)
    return {
        key: sum(np.pad(audio, (0, longest - len(audio))) for audio in own)
        for key, own in placed.items()
    }


def entries(checkout: Path, name: str) -> List[Dict[str, Any]]:
    return json.loads((checkout / "metadata" / name / "metadata.json").read_text())


def cuts_of(folder: Path, part: str) -> List[Cut]:
    return list(load_manifest(folder / f"cuts_{part}_part.jsonl.gz"))


@pytest.mark.parametrize("kind", ["clean", "noisy"])
@pytest.mark.parametrize("name, part", [("sparse_2_0.4", "sparse-2mix-40"),
                                        ("sparse_3_0", "sparse-3mix-0")])  # fmt: skip
def test_samples_are_the_reference_scripts(
    name: str, part: str, kind: str, made: Path, checkout: Path, librispeech: Path, wham: Path
) -> None:
    cuts = cuts_of(made, f"{part}-{kind}")
    assert len(cuts) == 2
    for cut, entry in zip(cuts, entries(checkout, name)):
        expected = reference_tracks(entry, librispeech / "test-clean", wham / "tt")
        noise = expected.pop("noise")
        sources = [expected[key] for key in sorted(expected)]
        total = sum(sources) + (noise if kind == "noisy" else 0)
        example = load_example(cut)
        assert example.sources.shape == (len(sources), len(noise))
        for audio, wanted in [
            (cut.load_audio()[0], total),
            (example.audio, total),
            *zip(example.sources, sources),
        ]:
            assert audio.shape == wanted.shape
            assert np.abs(audio - wanted).max() <= 2**-15
        assert example.speakers == [entry[key][0]["spk_id"] for key in sorted(expected)]
        assert example.texts == [" ".join(["AND SO"] * UTTERANCES)] * len(sources)


def test_a_speakers_utterances_are_one_source(made: Path, checkout: Path) -> None:
    validate.main(validate.Config(str(made), audio=True))
    part = "sparse-2mix-40-noisy"
    rttm = read_rttm(made / f"ref_{part}_part.rttm")
    frames = reference_activity(made / f"cuts_{part}_part.jsonl.gz")
    for cut, entry in zip(cuts_of(made, part), entries(checkout, "sparse_2_0.4")):
        reference = Reference.of(cut)
        assert len(cut.tracks) == 2 * UTTERANCES + 1
        assert reference.speakers == tuple(entry[key][0]["spk_id"] for key in ("s1", "s2"))
        activity = load_example(cut).activity
        assert activity.shape == (num_frames(reference.num_samples), 2)
        assert np.array_equal(activity, frames[cut.id])
        for key, speaker in zip(("s1", "s2"), reference.speakers):
            turns = [(one["start"], one["stop"]) for one in entry[key]]
            assert np.allclose(reference.speech[speaker], turns, atol=5e-3)
            assert np.allclose(rttm[cut.id][speaker], turns, atol=5e-3)


def test_a_window_of_a_mixture_is_the_same_window_of_all(made: Path) -> None:
    cut = cuts_of(made, "sparse-3mix-0-noisy")[0]
    whole = load_example(cut)
    start, stop = 16000 + 7, 16000 + 7 + 320 * 150
    window = load_example(cut, start, stop)
    assert np.allclose(window.audio, whole.audio[start:stop], atol=1e-6)
    assert np.allclose(window.sources, whole.sources[:, start:stop], atol=1e-6)
    assert window.speakers == whole.speakers and window.texts == [None] * 3
    aligned = load_example(cut, 320 * 50, 320 * 150)
    assert np.array_equal(aligned.activity, whole.activity[50:150])


def test_clean_sets_need_no_noise_and_jobs_change_nothing(
    made: Path, checkout: Path, librispeech: Path, tmp_path: Path
) -> None:
    main(Config(str(checkout), str(librispeech), str(tmp_path / "out"), num_jobs=3))
    files = sorted(path.name for path in (tmp_path / "out").glob("*-clean*"))
    assert files == sorted(path.name for path in made.glob("*-clean*")) and files
    for name in files:
        assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes()
    parts = read_json(made / "about.json")["parts"]
    assert parts["sparse-3mix-0-clean"]["part"]["overlap_ratio"] > 0
    assert set(read_json(tmp_path / "out" / "about.json")["parts"]) == {
        "sparse-2mix-40-clean", "sparse-3mix-0-clean"
    }  # fmt: skip


def test_words_unknown_to_the_aligner_are_the_transcripts(
    checkout: Path, librispeech: Path, tmp_path: Path
) -> None:
    entry = entries(checkout, "sparse_2_0.4")[0]
    one = entry["s1"][0]
    path = next((librispeech / "test-clean").glob(f"{one['spk_id']}/*/*.trans.txt"))
    words = path.read_text().splitlines()[0].split()[1:]
    entry["s1"][0]["words"] = [words[0].lower(), "<unk>", words[2].lower()]
    entry["s1"][1]["words"] = ["<unk>"]  # any word of the transcript
    published = tmp_path / "metadata" / "sparse_2_0.4" / "metadata.json"
    published.parent.mkdir(parents=True)
    published.write_text(json.dumps([entry]))
    main(Config(str(tmp_path), str(librispeech), str(tmp_path / "out")))
    cut = cuts_of(tmp_path / "out", "sparse-2mix-40-clean")[0]
    texts = [s.text for s in cut.supervisions if s.speaker == one["spk_id"]]
    assert texts == [" ".join(words[:3]), None, "AND SO"]
    assert load_example(cut).texts[0] is None and load_example(cut).texts[1] is not None


def test_a_quiet_piece_has_a_loudness_and_a_silent_one_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(16000)
    for name, level in (("loud", 0.1), ("quiet", 1e-4), ("none", 0.0)):
        soundfile.write(tmp_path / f"{name}.wav", level * noise, 16000, "FLOAT")
    loud, quiet, none = (
        Piece(tmp_path / f"{n}.wav", 800, 9600, 0) for n in ("loud", "quiet", "none")
    )
    difference = measure_piece(loud).loudness - measure_piece(quiet).loudness
    assert difference == pytest.approx(60, abs=0.01)
    with pytest.raises(UmeError, match="none.wav, samples 800 to 9600, is silent; take it out$"):
        measure_piece(none)


def test_bad_input(checkout: Path, librispeech: Path, wham: Path, tmp_path: Path) -> None:
    config = Config(str(checkout), str(librispeech), str(tmp_path / "out"), str(tmp_path))
    with pytest.raises(UmeError, match="noisy lacks .*tt/.*wav.*--parts 'sparse-2mix-40-clean spa"):
        main(config)
    config.wham, config.parts = str(wham), "sparse-2mix-50-clean"
    with pytest.raises(UmeError, match="no part sparse-2mix-50-clean; it has: sparse-2mix-40-cl"):
        main(config)
    published = tmp_path / "metadata" / "sparse_2_1" / "metadata.json"
    published.parent.mkdir(parents=True)
    published.write_text('[{"mixture_name": "mix_0000001"}]')
    config = Config(str(tmp_path), str(librispeech), str(tmp_path / "out"))
    with pytest.raises(UmeError, match="a mixture is not as in SparseLibriMix .*noise"):
        main(config)
    config.librispeech = str(tmp_path)
    (tmp_path / "SPEAKERS.TXT").touch()
    with pytest.raises(UmeError, match="test-clean has no .trans.txt files; restore them$"):
        main(config)
    assert not (tmp_path / "out").exists()
