"""Mixtures: the arithmetic of LibriMix, its rules, and the same result for any number of jobs."""

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import List

import numpy as np
import pytest
import soundfile
from lhotse import Recording, load_manifest

from ume.activity import read_rttm
from ume.audio import load_audio
from ume.corpora import librispeech
from ume.dataset import validate
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing import simulate
from ume.mixing.cuts import cut_activity
from ume.mixing.metadata import LOUDNESS, Source, draw_groups, draw_mixture, measure
from ume.mixing.simulate import Config, main


def rows(folder: Path, part: str) -> list:
    with open(folder / "metadata" / f"{part}.csv", newline="") as file:
        return list(csv.DictReader(file))


def librimix(row: dict, root: Path, mode: str) -> np.ndarray:
    """create_librimix_from_metadata.py in a few lines: the mixture of one row, PCM_16 steps."""
    sources, k = [], 1
    while f"source_{k}_path" in row:
        audio, _ = soundfile.read(root / row[f"source_{k}_path"], dtype="float32")
        start = round(float(row[f"source_{k}_start"]) * 16000) if mode == "part" else 0
        sources.append(np.pad(audio * float(row[f"source_{k}_gain"]), (start, 0)))
        k += 1
    ends = [len(source) for source in sources]
    length = min(ends) if mode == "min" else max(ends)
    return sum(np.pad(s, (0, max(0, length - len(s))))[:length] for s in sources) * 32768


@pytest.mark.parametrize("mode", ["max", "min", "part"])
def test_cuts_are_librimix_arithmetic(mixtures: Path, data: Path, mode: str) -> None:
    root = Path(read_json(data / "about.json")["root"])
    cuts = {cut.id: cut for cut in load_manifest(mixtures / f"cuts_train_{mode}.jsonl.gz")}
    assert list(cuts) == [row["mixture_ID"] for row in rows(mixtures, "train")]
    for row in rows(mixtures, "train"):
        expected = librimix(row, root, mode)
        audio = cuts[row["mixture_ID"]].load_audio()[0] * 32768
        assert len(audio) == len(expected) == round(cuts[row["mixture_ID"]].duration * 16000)
        assert np.abs(audio - expected).max() <= 1
        assert np.abs(audio).max() <= 0.9 * 32768 + 1


def test_everything_is_valid_and_rttm_agrees(mixtures: Path) -> None:
    validate.main(validate.Config(str(mixtures), audio=True))
    for mode in ("max", "min", "part"):
        reference = read_rttm(mixtures / f"ref_test_{mode}.rttm")
        for cut in load_manifest(mixtures / f"cuts_test_{mode}.jsonl.gz"):
            for speaker, segments in cut_activity(cut).items():
                assert np.allclose(reference[cut.id][speaker], segments, atol=2e-3)


def test_part_mode_overlaps_an_earlier_source(mixtures: Path) -> None:
    for cut in load_manifest(mixtures / "cuts_train_part.jsonl.gz"):
        first = cut.tracks[0]
        assert first.offset == 0
        for track in cut.tracks[1:]:
            share = track.offset / first.cut.duration
            assert 0.0999 <= share <= 0.9001


def test_min_mode_drops_words_that_are_cut(mixtures: Path) -> None:
    cuts = list(load_manifest(mixtures / "cuts_train_min.jsonl.gz"))
    for cut in cuts:
        assert len({track.cut.num_samples for track in cut.tracks}) == 1
    texts = [supervision.text for cut in cuts for supervision in cut.supervisions]
    assert None in texts and any(texts)


def test_jobs_change_nothing_and_the_seed_does(data: Path, mixtures: Path, tmp_path: Path) -> None:
    size = len(next(iter(load_manifest(mixtures / "cuts_test_max.jsonl.gz"))).tracks)
    main(Config(str(data), str(tmp_path / "four"), size, "train=12 test=4", num_jobs=4))
    main(Config(str(data), str(tmp_path / "other"), size, "train=12 test=4", seed=1))
    files = sorted(p.relative_to(mixtures) for p in mixtures.rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(tmp_path / "four") for p in (tmp_path / "four").rglob("*") if p.is_file()
    )
    for path in files:
        assert (mixtures / path).read_bytes() == (tmp_path / "four" / path).read_bytes()
    assert rows(mixtures, "train") != rows(tmp_path / "other", "train")


def test_about_tells_what_is_in_it(mixtures: Path) -> None:
    about = read_json(mixtures / "about.json")
    assert sum(about["parts"]["train"]["sexes"].values()) == 12
    part, whole = about["parts"]["train"]["part"], about["parts"]["train"]["max"]
    assert part["overlap_ratio"] < whole["overlap_ratio"]
    assert part["all_speak_der"] > whole["all_speak_der"] > 0


def test_mixtures_of_several_numbers_of_speakers_come_by_turns(data: Path, tmp_path: Path) -> None:
    main(Config(str(data), str(tmp_path / "both"), "2,3", "train=7"))
    cuts = list(load_manifest(tmp_path / "both" / "cuts_train_max.jsonl.gz"))
    assert [len(cut.tracks) for cut in cuts] == [2, 3, 2, 3, 2, 3, 2]
    assert read_json(tmp_path / "both" / "about.json")["num_speakers"] == [2, 3]
    validate.main(validate.Config(str(tmp_path / "both")))
    for number, count in ((2, 4), (3, 3)):
        alone = tmp_path / str(number)
        main(Config(str(data), str(alone), number, f"train={count}"))
        assert [cut.id for cut in cuts if len(cut.tracks) == number] == [
            cut.id for cut in load_manifest(alone / "cuts_train_max.jsonl.gz")
        ]
        assert rows(tmp_path / "both", f"train_{number}mix") == rows(alone, "train")


@pytest.mark.parametrize(
    "num_speakers, utterances, spread",
    [(12, 24, 2), (6, 10, 6)],  # the recipe's test part; a fifth of all pairs there are
)
@pytest.mark.parametrize("seed", range(5))
def test_utterances_are_used_about_equally_often(
    num_speakers: int, utterances: int, spread: int, seed: int
) -> None:
    speakers = [str(k) for k in range(num_speakers) for _ in range(utterances)]
    groups = draw_groups(speakers, 300, 2, np.random.default_rng(seed))
    assert len({frozenset(group) for group in groups}) == 300
    assert all(len({speakers[index] for index in group}) == 2 for group in groups)
    uses = Counter(index for group in groups for index in group)
    assert len(uses) == len(speakers) and max(uses.values()) - min(uses.values()) <= spread


def test_a_part_has_a_mixture_of_every_number_of_speakers(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UmeError, match="part test has 1 and --num-speakers 2 kinds"):
        main(Config(str(data), str(tmp_path / "mix"), "2,3", "test=1"))


def test_loudness_and_peak_follow_the_rules() -> None:
    rng = np.random.default_rng(0)
    audio = {name: 0.05 * rng.standard_normal(40000) for name in "ab"}
    audio["b"][20000] = audio["a"][20000] = 1.0  # a click: loud peak, low loudness
    sources = [Source(name, name, 40000, *measure(audio[name])) for name in "ab"]
    for index in range(20):
        mixture = draw_mixture(sources, np.random.default_rng(index), lambda s: audio[s.id])
        mixed = sum(gain * audio[name] for gain, name in zip(mixture.gains, "ab"))
        assert np.abs(mixed).max() <= 0.9 + 1e-9
        louder = [measure(gain * audio[name])[0] for gain, name in zip(mixture.gains, "ab")]
        assert max(louder) <= LOUDNESS[1] + 1e-6
        if np.abs(mixed).max() < 0.899:
            assert min(louder) >= LOUDNESS[0] - 1e-6


@pytest.fixture
def quiet(corpus: Path, data: Path, tmp_path: Path) -> Path:
    """``corpus`` with one training speaker at a peak of -60 dBFS, all below the meter's gate."""
    copy = Path(shutil.copytree(corpus, tmp_path / "quiet" / corpus.name))
    speaker = next(iter(load_manifest(data / "supervisions_train.jsonl.gz"))).speaker
    for path in copy.glob(f"*/{speaker}/*/*.flac"):
        audio, rate = soundfile.read(path)
        soundfile.write(path, 1e-3 * audio / np.abs(audio).max(), rate)
    return copy


def test_a_quiet_speaker_is_made_as_loud_as_others(quiet: Path, tmp_path: Path) -> None:
    librispeech.main(librispeech.Config(str(quiet), str(tmp_path / "data")))
    main(Config(str(tmp_path / "data"), str(tmp_path / "mix"), 2, "train=20", "max"))
    validate.main(validate.Config(str(tmp_path / "mix"), audio=True))
    cuts = load_manifest(tmp_path / "mix" / "cuts_train_max.jsonl.gz")
    tracks = [track.cut for cut in cuts for track in cut.tracks]
    assert max(track.custom["gain"] for track in tracks) > 100
    levels = [measure(track.load_audio()[0])[0] for track in tracks]
    assert LOUDNESS[0] - 0.1 <= min(levels) and max(levels) <= LOUDNESS[1] + 0.1


def test_a_silent_file_is_named(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "recordings_test.jsonl.gz"
    recordings = load_manifest(path).to_eager()
    first = next(iter(recordings))
    first.sources[0].source = str(tmp_path / "none.wav")
    soundfile.write(tmp_path / "none.wav", np.zeros(first.num_samples), 16000)
    recordings.to_file(path)
    with pytest.raises(UmeError, match="none.wav is silent; take it out$"):
        main(Config(str(tmp_path / "data"), str(tmp_path / "mix"), 2, "test=1"))


def test_every_recording_is_measured_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: List[str] = []

    def load(recording: Recording) -> np.ndarray:
        loaded.append(recording.id)
        return load_audio(recording)

    monkeypatch.setattr(simulate, "load_audio", load)
    monkeypatch.setattr(simulate, "MAX_PEAK", 1.0)
    main(Config(str(data), str(tmp_path / "mix"), "2,3", "train=2"))
    assert sorted(loaded) == [recording.id for recording in load_manifest(
        data / "recordings_train.jsonl.gz")]  # fmt: skip


def test_a_file_shorter_than_the_meters_block_can_be_measured() -> None:
    loudness, peak = measure(0.1 * np.random.default_rng(0).standard_normal(3200))
    assert np.isfinite(loudness) and peak > 0.1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_speakers": 4}, "--num-speakers 4: give 2, 3 or 2,3"),
        ({"num_speakers": "2,2"}, "--num-speakers 2,2: give 2, 3 or 2,3"),
        ({"num_speakers": 3, "mixtures": "dev=1"}, "part dev: 2 speakers are fewer than"),
        ({"mixtures": "dev=1000"}, "different mixtures can be made of 6 utterances"),
        ({"mixtures": "train"}, "write PART=NUMBER"),
        ({"mixtures": ""}, "--mixtures is empty"),
        ({"mixtures": "eval=3"}, "has no part eval"),
        ({"modes": "max all"}, "--modes 'max all': give some of max min part"),
        ({"data": "/nowhere"}, "local/prepare_embedded.sh or .* makes it"),
    ],
)
def test_bad_input(data: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UmeError, match=message):
        main(Config(**{"data": str(data), "output": str(tmp_path / "out"), **options}))
    assert not (tmp_path / "out").exists()
