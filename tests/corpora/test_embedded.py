"""The embedded corpus: grammar, voices, and what espeak-ng makes of them."""

import dataclasses
import gzip
import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ume.activity import SAMPLING_RATE
from ume.corpora import embedded
from ume.corpora.embedded import Config, choose, main, speak
from ume.corpora.espeak_worker import change_timbre
from ume.corpora.grammar import sentences, transcript, vocabulary
from ume.corpora.voices import PARTS, PITCH, VARIANTS, Timbre, make_voices
from ume.dataset import validate
from ume.errors import UmeError

SIZES = {"train": 160, "dev": 8, "test": 12}


def test_the_grammar_knows_at_least_250_words_and_says_them() -> None:
    assert len(vocabulary()) >= 250
    spoken = sentences(3000, seed=0)
    assert len(set(map(transcript, spoken))) == 3000
    assert {word for text in spoken for word in transcript(text).split()} == set(vocabulary())


def test_sentences_depend_on_the_seed_alone() -> None:
    assert sentences(20, 1) == sentences(40, 1)[:20] != sentences(20, 2)


def test_parts_share_no_variant_and_are_balanced() -> None:
    used = {part: {name for names in VARIANTS[part].values() for name in names} for part in PARTS}
    for a, b in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not used[a] & used[b]
    for part, size in SIZES.items():
        voices = make_voices(part, size, seed=0)
        assert [voice.gender for voice in voices].count("F") == size // 2
        assert len({voice.speaker for voice in voices}) == size
        assert len({(voice.voice, voice.pitch) for voice in voices}) == size
        assert voices == make_voices(part, size, seed=0) != make_voices(part, size, seed=1)


def median_f0(audio: np.ndarray) -> float:
    """Median pitch (Hz) of the loud 40 ms windows, by autocorrelation."""
    size = round(0.04 * SAMPLING_RATE)
    windows = audio[: len(audio) // size * size].reshape(-1, size) * np.hanning(size)
    windows = windows[(windows**2).sum(axis=1) > 0.05 * (windows**2).sum(axis=1).max()]
    spectra = np.abs(np.fft.rfft(windows, 4 * size)) ** 2
    taper = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size), 4 * size)) ** 2)[:size]
    values = []
    for row in np.fft.irfft(spectra)[:, :size]:
        peaks = (row / row[0] / (taper / taper[0] + 1e-3))[SAMPLING_RATE // 400 : 290]
        if peaks.max() > 0.5:
            first = np.flatnonzero(peaks > 0.88 * peaks.max())[0]
            while first + 1 < len(peaks) and peaks[first + 1] > peaks[first]:
                first += 1
            values.append(SAMPLING_RATE / (SAMPLING_RATE // 400 + first))
    return float(np.median(values))


@pytest.mark.parametrize("part", PARTS)
def test_variants_sound_as_their_sex_says_at_the_worst_pitch(part: str) -> None:
    voice = make_voices("dev", 2, seed=0)[0]
    for sex, variants in VARIANTS[part].items():
        worst = round(PITCH[sex][0] if sex == "F" else PITCH[sex][1])
        for accent, variant in itertools.product(("en", "en-029"), variants):
            spoken = dataclasses.replace(voice, voice=f"{accent}+{variant}", pitch=worst)
            (audio,) = speak(spoken, ["the old teacher bought seven green apples near the river"])
            pitch = median_f0(audio)
            assert pitch > 160 if sex == "F" else pitch < 150, (spoken, pitch)


@pytest.mark.parametrize("part", PARTS)
def test_voices_sound_as_their_sex_says(part: str) -> None:
    for voice in make_voices(part, SIZES[part], seed=0):
        (audio,) = speak(voice, ["the old teacher bought seven green apples near the river"])
        pitch = median_f0(audio) / voice.scale
        assert pitch > 160 if voice.gender == "F" else pitch < 150, (voice, pitch)


def test_a_scaled_voice_is_as_much_higher_and_faster() -> None:
    voice = make_voices("dev", 2, seed=0)[0]
    text = ["the old teacher bought seven green apples near the river"]
    (plain,), (scaled,) = (
        speak(dataclasses.replace(voice, scale=scale), text) for scale in (1.0, 1.2)
    )
    assert len(plain) / len(scaled) == pytest.approx(1.2, rel=0.01)
    assert median_f0(scaled) / median_f0(plain) == pytest.approx(1.2, rel=0.05)
    for part in PARTS:
        scales = {voice.scale for voice in make_voices(part, 8, seed=0)}
        assert len(scales) == 8 if part == "train" else scales == {1.0}


def test_a_changed_timbre_is_heard_and_leaves_the_pitch() -> None:
    voice = make_voices("dev", 2, seed=0)[0]
    text = ["the old teacher bought seven green apples near the river"]
    same = Timbre(((1.0, 1.0, 1.0),) * 9, 1.0, ())
    higher = dataclasses.replace(same, formants=((1.0, 1.0, 1.0),) + ((1.2, 1.0, 1.0),) * 8)
    bright = dataclasses.replace(same, tone=((100, 60), (2000, 255)))
    (plain,), (unchanged,), (moved,), (brighter,) = (
        speak(dataclasses.replace(voice, timbre=timbre), text)
        for timbre in (None, same, higher, bright)
    )
    assert np.array_equal(plain, unchanged)
    assert median_f0(moved) == pytest.approx(median_f0(plain), rel=0.02)
    assert centroid(moved) > 1.04 * centroid(plain)
    assert centroid(brighter) > 1.1 * centroid(plain)


def test_every_training_voice_has_a_timbre_of_its_own() -> None:
    timbres = [voice.timbre for voice in make_voices("train", 8, seed=0)]
    assert len({timbre.formants for timbre in timbres if timbre}) == 8
    assert len({timbre.tone for timbre in timbres if timbre}) > 2
    assert all(len(t.formants) == 9 and t.formants[0] == (1, 1, 1) for t in timbres if t)
    assert not any(voice.timbre for part in ("dev", "test") for voice in make_voices(part, 8, 0))


def centroid(audio: np.ndarray) -> float:
    """Mean frequency of the power spectrum below 4 kHz, in Hz."""
    power = np.abs(np.fft.rfft(audio)) ** 2
    hz = np.fft.rfftfreq(len(audio), 1 / SAMPLING_RATE)
    return float((hz * power)[hz < 4000].sum() / power[hz < 4000].sum())


def test_a_variant_is_rewritten() -> None:
    variant = (
        "pitch 80 90\nformant 1 95 90\n formant 2  110 70 150 -250 \nformant 9 1 1 1\n"
        "voicing 70\ntone 600 170"
    )
    formants = [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0), (1.1, 0.5, 1.0)]
    assert change_timbre(variant, formants, 0.5, []).splitlines() == [
        "pitch 80 90", "formant 9 1 1 1", "tone 600 170",
        "formant 0 100 100 100", "formant 1 95 90 200", "formant 2 121 35 150 -250", "voicing 35",
    ]  # fmt: skip
    assert "tone 600 100 900 80" in change_timbre(variant, [], 1.0, [(600, 100), (900, 80)])


def test_the_test_part_does_not_depend_on_the_size_of_training(corpora: list, tmp_path) -> None:
    main(Config(str(tmp_path / "larger"), 6, 2, 2, utterances=4))
    for path in (corpora[0] / "audio").glob("test-*/*.flac"):
        other = tmp_path / "larger" / path.relative_to(corpora[0])
        assert path.read_bytes() == other.read_bytes()


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> list:
    """The same small corpus made with 1 and with 4 jobs."""
    folders = [tmp_path_factory.mktemp("embedded") / "em bedded" for _ in range(2)]
    for folder, jobs in zip(folders, (1, 4)):
        main(Config(str(folder), 4, 2, 2, utterances=4, num_jobs=jobs))
    return folders


def manifest(folder: Path, name: str) -> list:
    with gzip.open(folder / name, "rt") as file:
        return [json.loads(line) for line in file]


def test_the_number_of_jobs_changes_nothing(corpora: list) -> None:
    one, four = corpora
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(four) for path in four.rglob("*") if path.is_file())
    assert len([path for path in files if path.suffix == ".flac"]) == 8 * 4
    for path in files:
        if path.name.startswith("recordings_"):  # these hold the folder's own path
            first = json.dumps(manifest(one, str(path)))
            assert first.replace(str(one), "") == json.dumps(manifest(four, str(path))).replace(
                str(four), ""
            )
        elif path.name != "about.json":
            assert (one / path).read_bytes() == (four / path).read_bytes(), path


def test_what_the_data_folder_holds(corpora: list) -> None:
    folder = corpora[0]
    validate.main(validate.Config(str(folder), audio=True))
    texts, speakers = {}, {}
    for part in PARTS:
        segments = manifest(folder, f"supervisions_{part}.jsonl.gz")
        texts[part] = {segment["text"] for segment in segments}
        speakers[part] = {segment["speaker"] for segment in segments}
        assert all(2 <= segment["duration"] <= 6 for segment in segments)
        assert all(segment["alignment"]["speech"] for segment in segments)
    for a, b in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not texts[a] & texts[b] and not speakers[a] & speakers[b]
    info = soundfile.info(next((folder / "audio").rglob("*.flac")))
    assert (info.samplerate, info.channels, info.subtype) == (SAMPLING_RATE, 1, "PCM_16")
    about = json.loads((folder / "about.json").read_text())
    assert sorted(about["parts"]["dev"]["speakers"].values()) == ["F", "M"]


def test_utterances_spread_over_2_to_6_seconds() -> None:
    durations = np.random.default_rng(0).uniform(1.0, 7.0, 300).tolist()
    chosen = choose(durations, 60, np.random.default_rng(1))
    assert len(set(chosen)) == 60
    kept = [durations[index] for index in chosen]
    assert np.abs(np.percentile(kept, [25, 50, 75]) - [3, 4, 5]).max() < 0.2


def test_an_unbalanced_number_of_voices_is_refused(tmp_path) -> None:
    with pytest.raises(UmeError, match="--dev-speakers 3: give an even number"):
        main(Config(str(tmp_path / "x"), dev_speakers=3))
    with pytest.raises(UmeError, match="--utterances"):
        main(Config(str(tmp_path / "x"), utterances=0))
    assert not list(tmp_path.iterdir())


def test_a_failing_espeak_leaves_nothing_and_says_why(tmp_path, monkeypatch) -> None:
    broken = tmp_path / "worker.py"
    broken.write_text("raise SystemExit('espeakng-loader is not installed; run utils/setup.sh')")
    monkeypatch.setattr(embedded, "WORKER", broken)
    with pytest.raises(UmeError, match="espeak-ng failed .*run utils/setup.sh"):
        main(Config(str(tmp_path / "out"), 2, 2, 2, utterances=1))
    assert not (tmp_path / "out").exists()


def test_an_unknown_variant_is_refused() -> None:
    voice = dataclasses.replace(make_voices("dev", 2, 0)[0], voice="en-us+nobody")
    with pytest.raises(UmeError, match="has no voice en-us.nobody"):
        list(speak(voice, ["hello"]))


def test_breath_does_not_depend_on_the_time_of_day() -> None:
    voice = dataclasses.replace(make_voices("dev", 2, 0)[0], voice="en+f5")
    (first,) = speak(voice, ["the old teacher bought seven green apples near the river"])
    time.sleep(1.1)  # espeak-ng counts seconds
    (second,) = speak(voice, ["the old teacher bought seven green apples near the river"])
    assert np.array_equal(first, second)
