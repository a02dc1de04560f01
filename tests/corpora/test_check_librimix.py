"""LibriMix's metadata and the files it needs: what is wrong is named, by line, file and part."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ume.corpora.check_librimix import Config, main
from ume.corpora.librimix import Metadata
from ume.errors import UmeError

COLUMNS = "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """LibriSpeech, WHAM! and metadata of two parts, two mixtures each."""
    metadata, rng = tmp_path / "LibriMix/metadata", np.random.default_rng(0)
    (metadata / "Libri2Mix").mkdir(parents=True)
    (metadata / "LibriSpeech").mkdir()
    (metadata / "Wham_noise").mkdir()
    for subset, noises in (("dev-clean", "cv"), ("test-clean", "tt")):
        rows, lengths = [], [["speaker_ID", "sex", "subset", "length", "origin_path"]]
        sounds = [["noise_ID", "subset", "length", "augmented", "origin_path"]]
        for number in range(2):
            sources = [f"{subset}/{s}/7/{s}-7-{number:04d}.flac" for s in (11, 12)]
            noise = f"{noises}/{number}.wav"
            for path, channels in ((tmp_path / "LibriSpeech" / sources[0], 1),
                                   (tmp_path / "LibriSpeech" / sources[1], 1),
                                   (tmp_path / "wham" / noise, 2)):  # fmt: skip
                path.parent.mkdir(parents=True, exist_ok=True)
                audio = 0.1 * rng.standard_normal((20000, channels))
                soundfile.write(path, audio, 16000, "PCM_16")
            lengths += [["11", "F", subset, "20000", sources[0]]]
            lengths += [["12", "M", subset, "20000", sources[1]]]
            sounds += [[f"{number}.wav", noises, "20000", "False", noise]]
            rows.append(f"m{number},{sources[0]},0.5,{sources[1]},0.25,{noise},0.1")
        table = metadata / f"Libri2Mix/libri2mix_{subset}.csv"
        table.write_text("\n".join([COLUMNS, *rows]) + "\n")
        for name, lines in (("LibriSpeech", lengths), ("Wham_noise", sounds)):
            with open(metadata / name / f"{subset}.csv", "w", newline="") as file:
                csv.writer(file).writerows(lines)
    return tmp_path


def config(files: Path, **options) -> Config:
    return Config(
        librispeech=str(files / "LibriSpeech"),
        metadata=str(files / "LibriMix"),
        mixtures=str(files / "data/mix"),
        wham=str(files / "wham"),
        type="mix_both",
        **options,
    )


def test_all_files_there(files: Path, capsys: pytest.CaptureFixture) -> None:
    main(config(files, num_jobs=2))
    assert capsys.readouterr().out == "dev: complete\ntest: complete\n"
    looked = json.loads((files / "data/mix/sources.json").read_text())
    assert looked["parts"] == ["dev", "test"]
    assert looked["noises"]["cv/0.wav"] == {"num_samples": 20000, "channels": 2}
    main(config(files, check_files=False))  # the metadata says the same
    assert json.loads((files / "data/mix/sources.json").read_text()) == looked


def test_missing_and_truncated_by_part(files: Path, capsys: pytest.CaptureFixture) -> None:
    flac = files / "LibriSpeech/dev-clean/11/7/11-7-0001.flac"
    flac.write_bytes(flac.read_bytes()[:-200])
    wav = files / "wham/cv/1.wav"
    wav.write_bytes(wav.read_bytes()[:30000])
    (files / "LibriSpeech/dev-clean/12/7/12-7-0000.flac").unlink()
    with pytest.raises(UmeError) as error:
        main(config(files))
    told = str(error.value)
    assert "1 of 4 files of LibriSpeech missing (dev-clean/12/7/12-7-0000.flac)" in told
    assert "1 of 4 files of LibriSpeech truncated (dev-clean/11/7/11-7-0001.flac)" in told
    assert "1 of 2 files of WHAM! truncated (cv/1.wav)" in told
    assert "give --parts 'test', which can be made" in told and "\n" not in told
    assert "test: complete" in capsys.readouterr().out
    assert not (files / "data").exists()
    main(config(files, parts="test"))
    assert json.loads((files / "data/mix/sources.json").read_text())["parts"] == ["test"]


def test_a_file_shorter_than_the_metadata_tells(files: Path) -> None:
    """What is whole in itself, and not all of it."""
    path = files / "wham/tt/0.wav"
    soundfile.write(path, np.zeros((19000, 2)), 16000, "PCM_16")
    with pytest.raises(UmeError, match=r"test: 1 of 2 files of WHAM! truncated \(tt/0.wav\)"):
        main(config(files))


def test_noises_at_another_speed_are_explained(files: Path) -> None:
    table = files / "LibriMix/metadata/Libri2Mix/libri2mix_dev-clean.csv"
    table.write_text(table.read_text().replace("cv/0.wav", "tr/0sp08.wav"))
    with pytest.raises(UmeError, match=r"missing \(tr/0sp08.wav\).*augment_train_noise.py"):
        main(config(files))


@pytest.mark.parametrize(
    "old, new, fault",
    [
        ("0.25", "loud", ":2: 'loud' is not a number"),
        ("m1", "m0", ":3: mixture m0 is there twice"),
        ("noise_gain", "noise", ":1: there is no column noise_gain"),
        ("cv/1.wav", "", ":3: noise_path is empty"),
        ("dev-clean/12/7/12-7-0000", "dev-clean/11/7/11-7-0001", ":2: a speaker is mixed with"),
    ],
)
def test_wrong_lines_are_named(files: Path, old: str, new: str, fault: str) -> None:
    table = files / "LibriMix/metadata/Libri2Mix/libri2mix_dev-clean.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(UmeError) as error:
        Metadata(files / "LibriMix").rows(2, "dev", noisy=True)
    assert f"{table}{fault}" in str(error.value)


def test_metadata_without_noise_do_for_clean_mixtures(files: Path) -> None:
    table = files / "LibriMix/metadata/Libri2Mix/libri2mix_dev-clean.csv"
    lines = [line.rsplit(",", 2)[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(lines) + "\n")
    rows = Metadata(files / "LibriMix").rows(2, "dev", noisy=False)
    assert [(row.gains, row.noise) for row in rows] == [((0.5, 0.25), "")] * 2
    clean = config(files, parts="dev")
    clean.type = "mix_clean"
    main(clean)
    with pytest.raises(UmeError, match="there is no column noise_path"):
        main(config(files, parts="dev"))


def test_wrong_options(files: Path) -> None:
    with pytest.raises(UmeError, match="there is no train-100; the metadata has dev test"):
        main(config(files, parts="train-100"))
    with pytest.raises(UmeError, match="libri3mix_dev-clean.csv does not exist, nor that of"):
        main(config(files, num_speakers=3))
