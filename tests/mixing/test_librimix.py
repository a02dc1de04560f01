"""LibriMix's mixtures are those of its scripts, sample by sample, and for any number of jobs."""

from functools import lru_cache
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import soundfile
from lhotse import load_manifest

from tests.mixing.conftest import read_rows, write_rows
from tests.mixing.reference_librimix import fitted, signals
from ume.activity import merge_segments, read_rttm
from ume.corpora import check_librimix
from ume.dataset import validate
from ume.dataset.mixtures import load_example
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing import librimix
from ume.mixing.librimix import MODES
from ume.mixing.remix import Remixer

LSB = 2**-15


def prepare(
    folder: Path, librispeech: Path, metadata: Path, wham: Path, num_jobs: int = 1, **options
) -> Path:
    """A mixture folder: checked, made by jobs, joined."""
    ours = {name: options.pop(name) for name in ("num_speakers", "type") if name in options}
    check_librimix.main(check_librimix.Config(
        str(librispeech), str(metadata), str(folder), str(wham), **ours
    ))  # fmt: skip
    for job in [1] if num_jobs == 1 else [*range(1, num_jobs + 1), 0]:
        librimix.main(librimix.Config(str(folder), job=job, num_jobs=num_jobs, **options))
    return folder


@lru_cache(maxsize=64)
def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def reader(librispeech: Path, wham: Path) -> Callable[[str], np.ndarray]:
    return lambda path: read((wham if path.endswith(".wav") else librispeech) / path)


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lhotse reads each file once, since four cuts and the reference want it."""

    def read_audio(path, offset=0.0, duration=None, **_):
        audio = np.atleast_2d(read(Path(path)).T)
        first = round(offset * 16000)
        last = None if duration is None else first + round(duration * 16000)
        return audio[:, first:last], 16000

    monkeypatch.setattr("lhotse.audio.source.read_audio", read_audio)


@pytest.mark.parametrize(
    "size, rate, kind",
    [
        (2, 16000, "mix_both"),
        (2, 8000, "mix_clean"),
        (3, 16000, "mix_both"),
        (3, 8000, "mix_both"),
    ],
)
def test_every_row_is_the_scripts(
    size: int, rate: int, kind: str, librispeech: Path, official: Path, wham: Path,
    tmp_path: Path, cached: None,
) -> None:  # fmt: skip
    folder = prepare(tmp_path / "mix", librispeech, official, wham, num_speakers=size, type=kind,
                     sampling_rate=rate)  # fmt: skip
    rows = read_rows(official / f"Libri{size}Mix/libri{size}mix_dev-clean.csv")
    cuts = {mode: list(load_manifest(folder / f"cuts_dev_{mode}.jsonl.gz")) for mode in MODES}
    assert len(rows) == len(cuts["max"]) == len(cuts["min"]) == {2: 428, 3: 158}[size]
    for number, row in enumerate(rows):
        parts = signals(row, reader(librispeech, wham), rate, kind == "mix_both")
        for mode in MODES:
            cut, expected = cuts[mode][number], fitted(parts, mode)
            tracks = np.stack([audio[0] for audio in cut.load_audio(mixed=False)])
            assert cut.id == row["mixture_ID"] and cut.num_samples == expected.shape[1]
            assert tracks.shape == expected.shape
            assert np.abs(tracks - expected).max() <= LSB, (cut.id, mode)
            if number % 20 == 0:  # the sum is Lhotse's
                assert np.abs(cut.load_audio()[0] - expected.sum(axis=0)).max() <= LSB


@pytest.fixture(scope="module")
def few(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Metadata of the first rows."""
    folder = tmp_path_factory.mktemp("few")
    for path in official.glob("*/*.csv"):
        write_rows(folder / path.relative_to(official), read_rows(path)[:9])
    return folder


@pytest.fixture(scope="module")
def alignments(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of dev-clean's alignment."""
    folder = tmp_path_factory.mktemp("alignments")
    rttm = "data/librimix_metadata/LibriSpeech/dev_clean.rttm"
    (folder / "dev_clean.rttm").symlink_to(shared / rttm)
    return str(folder)


@pytest.fixture(scope="module")
def noisy(few: Path, librispeech: Path, wham: Path, alignments: str, tmp_path_factory) -> Path:
    """Mixtures of 2 with noise at 16 kHz, with alignments."""
    return prepare(tmp_path_factory.mktemp("noisy") / "mix", librispeech, few, wham,
                   type="mix_both", alignments=alignments)  # fmt: skip


def test_folder_is_valid_and_gives_examples(noisy: Path) -> None:
    validate.main(validate.Config(str(noisy), audio=True))
    cut = load_manifest(noisy / "cuts_dev_max.jsonl.gz")[0]
    example = load_example(cut)
    assert example.sources.shape[0] == 2
    assert np.abs(example.sources.sum(axis=0) - example.audio).max() > 0.01  # noise is no source
    window = load_example(cut, 20000, 30000)
    assert np.array_equal(window.audio, example.audio[20000:30000])


def test_folder_is_valid_at_8_khz(few: Path, librispeech: Path, wham: Path, tmp_path: Path) -> None:
    folder = prepare(tmp_path / "mix", librispeech, few, wham, type="mix_both", sampling_rate=8000)
    validate.main(validate.Config(str(folder), audio=True))
    cut = load_manifest(folder / "cuts_dev_min.jsonl.gz")[3]
    whole = np.stack([audio[0] for audio in cut.load_audio(mixed=False)])  # (3, T)
    window = cut.truncate(offset=1001 / 8000, duration=9000 / 8000)
    parts = np.stack([audio[0] for audio in window.load_audio(mixed=False)])
    assert np.abs(parts - whole[:, 1001:10001]).max() < 1e-6


def test_jobs_change_nothing(
    noisy: Path, few: Path, librispeech: Path, wham: Path, alignments: str, tmp_path: Path
) -> None:
    folder = prepare(tmp_path / "mix", librispeech, few, wham, 4, type="mix_both",
                     alignments=alignments)  # fmt: skip
    names = sorted(path.name for path in noisy.iterdir() if path.is_file())
    assert names == sorted(path.name for path in folder.iterdir() if path.is_file())
    for name in set(names) - {"about.json"}:
        assert (folder / name).read_bytes() == (noisy / name).read_bytes(), name
    about, other = (read_json(each / "about.json") for each in (noisy, folder))
    assert {**about, "data": ""} == {**other, "data": ""}
    (folder / "jobs/3/share.json").unlink()
    with pytest.raises(UmeError, match="jobs/3/share.json does not exist"):
        librimix.main(librimix.Config(str(folder), job=0, alignments=alignments))


def test_references(noisy: Path, alignments: str, librispeech: Path) -> None:
    from meeteval.io import STM, UEM, SegLST

    aligned = read_rttm(Path(alignments) / "dev_clean.rttm")
    texts = {}
    for path in librispeech.glob("dev-clean/*/*/*.trans.txt"):
        texts.update(line.split(" ", 1) for line in path.read_text().splitlines())
    for mode in MODES:
        speech = read_rttm(noisy / f"ref_dev_{mode}.rttm")
        whole = read_rttm(noisy / f"utterance_dev_{mode}.rttm")
        words = SegLST(read_json(noisy / f"ref_dev_{mode}.json"))
        said = {(s["session_id"], s["speaker"]): s["words"] for s in words}
        stm = STM.load(noisy / f"ref_dev_{mode}.stm")
        assert {(s.filename, s.speaker_id): s.transcript for s in stm} == said
        uem = UEM.load(noisy / f"ref_dev_{mode}.uem")
        ends = {line.filename: float(line.end_time) for line in uem}
        for cut in load_manifest(noisy / f"cuts_dev_{mode}.jsonl.gz"):
            utterances = cut.id.split("_")
            assert ends[cut.id] == pytest.approx(cut.duration, abs=6e-4)
            kept = []
            for utterance in utterances:
                speaker, name = utterance.split("-", 1)
                expected = merge_segments(
                    (start, min(end, cut.duration)) for start, end in aligned[name][speaker]
                )
                assert np.allclose(speech[cut.id][speaker], expected, atol=2e-3)
                frames = soundfile.info(next(librispeech.glob(f"*/*/*/{utterance}.flac"))).frames
                end = min(frames / 16000, cut.duration)
                assert np.allclose(whole[cut.id][speaker], [(0, end)], atol=2e-3)
                kept.append(aligned[name][speaker][-1][1] <= cut.duration)
            for utterance in utterances:
                key = (cut.id, utterance.split("-")[0])
                assert said.get(key) == (texts[utterance] if all(kept) else None)
        assert bool(said) or mode == "min"


def test_single_speaker_types(few: Path, librispeech: Path, wham: Path, tmp_path: Path) -> None:
    """mix_single, and Libri1Mix, whose sources are as long as the mixture."""
    rows = read_rows(few / "Libri2Mix/libri2mix_dev-clean.csv")
    single = prepare(tmp_path / "single", librispeech, few, wham, type="mix_single")
    names = [name for name in rows[0] if not name.startswith("source_2")]
    ones = [{name: row[name] for name in names} for row in rows]
    write_rows(tmp_path / "one/Libri1Mix/libri1mix_dev-clean.csv", ones)
    libri1 = prepare(tmp_path / "libri1", librispeech, tmp_path / "one", wham, num_speakers=1)
    for mode in MODES:
        cuts = load_manifest(single / f"cuts_dev_{mode}.jsonl.gz")
        for row, cut, alone in zip(rows, cuts, load_manifest(libri1 / f"cuts_dev_{mode}.jsonl.gz")):
            parts = fitted(signals(row, reader(librispeech, wham), 16000), mode)
            assert np.abs(cut.load_audio()[0] - parts[0] - parts[2]).max() <= LSB
            assert len(cut.supervisions) == 1
            source = read(librispeech / row["source_1_path"]) * float(row["source_1_gain"])
            assert np.abs(alone.load_audio()[0] - source).max() <= LSB
    validate.main(validate.Config(str(libri1), audio=True))


def test_without_alignments_an_utterance_is_speech(
    few: Path, librispeech: Path, tmp_path: Path
) -> None:
    prepare(tmp_path / "mix", librispeech, few, Path(), modes="max")
    folder = prepare(
        tmp_path / "mix", librispeech, few, Path(), modes="min"
    )  # nothing else is left
    speech, utterances = (folder / f"{kind}_dev_min.rttm" for kind in ("ref", "utterance"))
    assert speech.read_text() == utterances.read_text()
    part = read_json(folder / "about.json")["parts"]["dev"]
    assert not list(folder.glob("*_max.*"))
    assert part["activity"] == {"utterance": 18}
    assert part["min"]["all_speak_der"] == 0 and part["min"]["overlap_ratio"] == 100
    assert sum(part["sexes"].values()) == part["min"]["num_mixtures"] == 9


@pytest.mark.parametrize("rate", [16000, 8000])
def test_new_mixtures_have_noise_at_its_level(
    rate: int, few: Path, librispeech: Path, wham: Path, tmp_path: Path
) -> None:
    folder = prepare(tmp_path / "mix", librispeech, few, wham, type="mix_both", modes="max",
                     sampling_rate=rate)  # fmt: skip
    cuts = list(load_manifest(folder / "cuts_dev_max.jsonl.gz"))
    remixer = Remixer(cuts, ["max", "min"], seed=0)
    plans = remixer.plans(0)
    assert len({plan.noise for plan in plans[:9]}) == 9 and remixer.sizes == [2] * 9
    for mode, number in (("max", 2), ("min", 11)):
        plan = plans[number]
        made = remixer.cut(plan)
        sources = [remixer.supervisions[source].id for source in plan.sources]
        lengths = [
            soundfile.info(next(librispeech.glob(f"*/*/*/{s}.flac"))).frames for s in sources
        ]
        assert plan.mode == mode and made.sampling_rate == rate
        longest = (max if mode == "max" else min)(lengths)
        assert abs(made.num_samples - longest * rate / 16000) <= 1
        example = load_example(made, rate=rate)
        noise = example.audio - example.sources.sum(axis=0)
        track = remixer.noises[plan.noise]
        path = track.recording.sources[0].source
        noise_file = read(Path(path))[: len(noise) * 16000 // rate, 0] * track.custom["gain"]
        if rate == 16000:
            count = min(len(noise_file) - 8001, len(noise))  # up to the first crossfade
            assert np.abs(noise[:count] - noise_file[:count]).max() < 1e-6
        assert np.std(noise) == pytest.approx(np.std(noise_file) * (rate / 16000) ** 0.5, rel=0.2)
