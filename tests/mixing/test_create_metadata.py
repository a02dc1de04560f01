"""LibriMix's metadata made anew: the published draws, the reference's gains, the files."""

import csv
import random
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
import pyloudnorm
import pytest
import soundfile

from ume.corpora.tables import Row
from ume.errors import UmeError
from ume.mixing import create_metadata
from ume.mixing.create_metadata import Config, Task, gains_of, main, mix_subset
from ume.mixing.metadata import measure
from ume.mixing.official_draws import Noises, draw_mixtures, group_utterances


def read(path: Path) -> List[Dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "size, subset, count",
    [(2, "train-clean-100", 13900), (2, "test-clean", 48), (3, "test-clean", 31)],
)
def test_groups_are_the_published_ones(size: int, subset: str, count: int, shared: Path) -> None:
    # test-clean's agree up to here only; a group that no noise was long enough for would be dropped
    # there, which may be why, but the noises' lengths are not at hand to show it
    metadata = shared / "data" / "librimix_metadata"
    table = read(metadata / "LibriSpeech" / f"{subset}.csv")
    groups = group_utterances(random.Random(72), [row["speaker_ID"] for row in table], size)
    names = ["_".join(Path(table[row]["origin_path"]).stem for row in group) for group in groups]
    published = read(metadata / f"Libri{size}Mix" / f"libri{size}mix_{subset}.csv")
    assert names[:count] == [row["mixture_ID"] for row in published[:count]]
    if subset == "train-clean-100":
        assert len(published) == len(names) // 100 * 100 == count


class Reference:
    """create_librimix_metadata.py, as it was when LibriMix was published, line by line."""

    def __init__(self, speakers: list, lengths: list, noises: List[Tuple[int, bool]]) -> None:
        self.speakers, self.lengths, self.noises = speakers, lengths, noises
        random.seed(72)

    def draws(self, size: int, train: bool, count: int) -> list:
        pairs: list = []
        noise_pairs: list = []
        if train:
            self.set_pairs(pairs, size)
            self.set_noises(pairs, noise_pairs, train)
        else:
            for _ in range(200):  # there without end
                if len(pairs) >= count:
                    break
                self.set_pairs(pairs, size)
                self.set_noises(pairs, noise_pairs, train)
                for i, (pair, _) in enumerate(zip(pairs, noise_pairs)):
                    for j, (other, noise) in enumerate(zip(pairs, noise_pairs)):
                        if sorted(pair) == sorted(other) and i != j:
                            pairs.remove(other)
                            noise_pairs.remove(noise)
            pairs, noise_pairs = pairs[:count], noise_pairs[:count]
        return [(tuple(p), n, self.loudness(size)) for p, n in zip(pairs, noise_pairs)]

    def set_pairs(self, pairs: list, size: int) -> None:
        failures, index = 0, list(range(len(self.speakers)))
        while len(index) >= size and failures < 200:
            couple = random.sample(index, size)
            if len({self.speakers[row] for row in couple}) != size:
                failures += 1
            else:
                for row in couple:
                    index.remove(row)
                pairs.append(couple)
                failures = 0

    def set_noises(self, pairs: list, noise_pairs: list, train: bool) -> None:
        md = [row for row, (_, augmented) in enumerate(self.noises) if not augmented]
        if len(pairs) > len(md):
            md = list(range(len(self.noises)))
        for pair in pairs.copy():
            longest = max(self.lengths[row] for row in pair)
            possible = [row for row in md if self.noises[row][0] >= longest]
            if possible:
                noise = random.sample(possible, 1)[0]
            elif train:
                noise = md[-1]
            else:
                pairs.remove(pair)
                continue
            noise_pairs.append(noise)
            md.remove(noise)

    def loudness(self, size: int) -> tuple:
        targets = []
        for k in range(size + 1):
            target = random.uniform(-33, -25)
            targets.append(random.uniform(-38, -30) if k == size else target)
        return tuple(targets)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_draws_are_the_reference_scripts(seed: int, size: int, train: bool) -> None:
    # few utterances and little long noise: groups repeat, and groups and noises run out
    rng = np.random.default_rng(seed)
    speakers = rng.integers(4 + seed, size=18 + seed).tolist()
    lengths = sorted(rng.integers(48000, 300000, len(speakers)).tolist())
    number, count = (60, 0) if train else (200, 25)
    longest = 290000 if train else 600000
    noise_lengths = sorted(rng.integers(48000, longest, number).tolist())
    augmented = (rng.uniform(size=number) < 0.9).tolist()
    expected = Reference(speakers, lengths, list(zip(noise_lengths, augmented))).draws(
        size, train, count
    )
    draws = draw_mixtures(speakers, lengths, Noises(noise_lengths, augmented), size, train, count)
    assert [(d.utterances, d.noise, d.loudness) for d in draws] == expected
    assert len(expected) == count or train and expected


def test_more_mixtures_than_can_be_made_is_an_error() -> None:
    with pytest.raises(UmeError, match="different mixtures, not 9; ask for fewer"):
        draw_mixtures(["a", "b"], [1] * 2, None, 2, False, 9)
    with pytest.raises(UmeError, match="2 mixtures need as many noises and there are 1"):
        draw_mixtures(["a", "a", "b", "b"], [1] * 4, Noises([1], [False]), 2, True, 9)


@pytest.fixture(scope="module")
def librispeech(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real speech: test-other, and some of train-clean-100."""
    real, folder = shared / "data" / "librispeech", tmp_path_factory.mktemp("LibriSpeech")
    (folder / "test-other").symlink_to(real / "test-other")
    (folder / "train-clean-100").mkdir()
    for path in sorted((real / "train-clean-100").iterdir())[:6]:
        (folder / "train-clean-100" / path.name).symlink_to(path)
    (folder / "SPEAKERS.TXT").symlink_to(real / "SPEAKERS.TXT")
    return folder


@pytest.fixture(scope="module")
def wham(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wham_noise")
    rng = np.random.default_rng(0)
    for name, count in (("tt", 30), ("tr", 5)):
        (folder / name).mkdir()
        for number in range(count):
            noise = 0.03 * rng.standard_normal((int(rng.integers(60000, 280000)), 2))
            noise[1000, 0] = 0.9 if number % 2 else 0.0  # a click: loud peak, low loudness
            soundfile.write(folder / name / f"n{number}.wav", noise, 16000, subtype="PCM_16")
    soundfile.write(folder / "tr" / "n0sp08.wav", noise, 16000, subtype="PCM_16")
    soundfile.write(folder / "tr" / "short.wav", noise[:47999], 16000, subtype="PCM_16")
    return folder


def config(librispeech: Path, output: Path, wham: Optional[Path], jobs: int) -> Config:
    return Config(
        str(librispeech), str(output), str(wham) if wham else None, num_mixtures=3, num_jobs=jobs
    )


@pytest.fixture(scope="module")
def made(librispeech: Path, wham: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "metadata"
    main(config(librispeech, folder, wham, 1))
    return folder


def reference_gains(row: Dict[str, str], librispeech: Path, wham: Path, draw) -> List[float]:
    """read_sources, add_noise, set_loudness, mix, check_for_cliping and compute_gain."""
    count = len(draw.utterances)
    sources = [
        soundfile.read(librispeech / row[f"source_{k}_path"], dtype="float32")[0]
        for k in range(1, count + 1)
    ]
    length = max(map(len, sources))
    noise = soundfile.read(wham / row["noise_path"], dtype="float32")[0][:length, 0]
    signals = [np.pad(signal, (0, length - len(signal))) for signal in [*sources, noise]]
    meter = pyloudnorm.Meter(16000)
    loudness = [meter.integrated_loudness(signal) for signal in signals]
    scaled = []
    for signal, old, new in zip(signals, loudness, draw.loudness):
        louder = signal * np.power(10.0, (new - old) / 20.0)
        if np.max(np.abs(louder)) >= 1:
            louder = signal * 0.9 / np.max(np.abs(signal))
        scaled.append(louder)
    peak = np.max(np.abs(sum(scaled)))
    weight = 0.9 / peak if peak > 0.9 else 1
    after = [meter.integrated_loudness(signal * weight) for signal in scaled]
    return [float(np.power(10.0, (b - a) / 20.0)) for a, b in zip(loudness, after)]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("subset", ["test-other", "train-clean-100"])
def test_mixtures_are_the_reference_scripts(
    size: int, subset: str, made: Path, librispeech: Path, wham: Path
) -> None:
    table = read(made / "LibriSpeech" / f"{subset}.csv")
    noise = read(made / "Wham_noise" / f"{subset.split('-')[0]}.csv")
    draws = draw_mixtures(
        [row["speaker_ID"] for row in table],
        [int(row["length"]) for row in table],
        Noises([int(r["length"]) for r in noise], [r["augmented"] == "True" for r in noise]),
        size,
        subset.startswith("train"),
        3,
    )
    stem = made / f"Libri{size}Mix" / f"libri{size}mix_{subset}"
    rows, info = read(Path(f"{stem}.csv")), read(Path(f"{stem}_info.csv"))
    assert len(rows) == len(info) == len(draws) == (3 if subset == "test-other" else 6 // size)
    for row, about, draw in zip(rows, info, draws):
        sources = [table[index] for index in draw.utterances]
        assert [row[f"source_{k}_path"] for k in range(1, size + 1)] == [
            source["origin_path"] for source in sources
        ]
        assert row["noise_path"] == noise[draw.noise]["origin_path"]
        assert row["mixture_ID"] == about["mixture_ID"]
        assert [about[f"speaker_{k}_ID"] for k in range(1, size + 1)] == [
            source["speaker_ID"] for source in sources
        ]
        assert about["speaker_1_sex"] == sources[0]["sex"]
        names = [*(f"source_{k}" for k in range(1, size + 1)), "noise"]
        gains = [float(row[f"{name}_gain"]) for name in names]
        assert gains == pytest.approx(reference_gains(row, librispeech, wham, draw), rel=1e-5)


def test_files_have_the_published_columns(made: Path, shared: Path) -> None:
    official = shared / "data" / "librimix_metadata"
    for size in (2, 3):
        for end in ("", "_info"):
            ours = read(made / f"Libri{size}Mix" / f"libri{size}mix_test-other{end}.csv")[0]
            theirs = read(official / f"Libri{size}Mix" / f"libri{size}mix_test-clean{end}.csv")[0]
            assert list(ours) == list(theirs)
    ours = read(made / "LibriSpeech" / "test-other.csv")
    assert list(ours[0]) == list(read(official / "LibriSpeech" / "test-clean.csv")[0])
    lengths = [int(row["length"]) for row in ours]
    assert lengths == sorted(lengths) and min(lengths) >= 48000
    noise = read(made / "Wham_noise" / "train.csv")
    assert list(noise[0]) == ["noise_ID", "subset", "length", "augmented", "origin_path"]
    assert {row["noise_ID"] for row in noise if row["augmented"] == "True"} == {"n0sp08.wav"}
    assert {row["subset"] for row in noise} == {"tr"} and len(noise) == 6


def test_jobs_change_nothing_and_noise_may_be_missing(
    made: Path, librispeech: Path, wham: Path, tmp_path: Path
) -> None:
    two = config(librispeech, tmp_path / "two", wham, 2)
    two.num_speakers, two.subsets = 2, "test-other"
    main(two)
    files = sorted(path.relative_to(tmp_path / "two") for path in tmp_path.rglob("*.csv"))
    assert len(files) == 4
    for path in files:
        assert (tmp_path / "two" / path).read_bytes() == (made / path).read_bytes()
    clean = config(librispeech, tmp_path / "clean", None, 1)
    clean.num_speakers, clean.subsets = "1,2", "train-clean-100"
    main(clean)
    rows = read(tmp_path / "clean" / "Libri2Mix" / "libri2mix_train-clean-100.csv")
    assert len(rows) == 3 and "noise_path" not in rows[0]
    single = read(tmp_path / "clean" / "Libri1Mix" / "libri1mix_train-clean-100.csv")
    table = read(tmp_path / "clean" / "LibriSpeech" / "train-clean-100.csv")
    assert len({row["mixture_ID"] for row in single}) == len(single) == len(table)
    assert not (tmp_path / "clean" / "Wham_noise").exists()


def table(utterances: int, speakers: int) -> List[Row]:
    return [
        {"speaker_ID": str(k % speakers), "sex": "F", "length": 48000, "origin_path": f"{k}.flac"}
        for k in range(utterances)
    ]


@pytest.mark.parametrize(
    "subset, size, count",
    [("dev-clean", 2, 150), ("dev-clean", 1, 200), ("train-clean-100", 2, 100)],
)
def test_only_a_number_that_was_not_asked_for_is_rounded(
    subset: str, size: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        create_metadata, "measure_all", lambda tasks, *_: [[1.0] * size for _ in tasks]
    )
    rows, info = mix_subset(
        Config("LibriSpeech", "out", num_mixtures=150), subset, size, table(250, 25), None
    )
    assert len(rows) == len(info) == count


def test_a_subset_without_a_mixture_is_named() -> None:
    message = "LibriSpeech/train-clean-100: its 8 utterances of 1 speaker.* no mixture of 2; leave"
    with pytest.raises(UmeError, match=message):
        mix_subset(Config("LibriSpeech", "out"), "train-clean-100", 2, table(8, 1), None)


def test_quiet_sources_get_their_loudness_and_silence_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, level in (("quiet", 1e-4), ("loud", 0.1), ("none", 0.0)):
        audio = level * rng.standard_normal(64000)
        soundfile.write(tmp_path / f"{name}.wav", audio, 16000, "FLOAT")
    paths = [tmp_path / "quiet.wav", tmp_path / "loud.wav"]
    for path, gain, wanted in zip(paths, gains_of(Task(paths, None, [-26, -32])), [-26, -32]):
        audio = gain * soundfile.read(path)[0]
        assert measure(audio)[0] == pytest.approx(wanted, abs=0.05)
    with pytest.raises(UmeError, match="none.wav is silent; take it out$"):
        gains_of(Task(paths, tmp_path / "none.wav", [-26, -32, -35]))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_speakers": "2,4"}, "--num-speakers 2,4: give some of 1,2,3"),
        ({"subsets": "dev-clean"}, "holds no dev-clean; it has: test-other, train-clean-100"),
        ({"num_mixtures": 0}, "--num-mixtures must be at least 1"),
        ({"wham": "/nowhere"}, "/nowhere does not exist"),
    ],
)
def test_bad_input(librispeech: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UmeError, match=message):
        main(
            Config(**{"librispeech": str(librispeech), "output": str(tmp_path / "out"), **options})
        )
    assert not (tmp_path / "out").exists()
