"""Corpora in LibriSpeech's layout: what is read, and every bad input."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import SupervisionSet

from ume.activity import read_rttm
from ume.corpora.librispeech import Config, main
from ume.dataset import validate
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate

PARTS = ("train", "dev", "test")


def supervisions(folder: Path, part: str) -> list:
    return list(SupervisionSet.from_file(folder / f"supervisions_{part}.jsonl.gz"))


@pytest.fixture
def copy(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus that a test may break."""
    return Path(shutil.copytree(corpus, tmp_path / "Libri Speech"))


def refused(copy: Path, tmp_path: Path, message: str, **options) -> None:
    """Preparing ``copy`` fails in one line that matches, and leaves nothing."""
    with pytest.raises(UmeError, match=message) as caught:
        main(Config(str(copy), str(tmp_path / "out"), **options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_speakers_are_split_by_seed_and_balanced(data: Path) -> None:
    validate.main(validate.Config(str(data), audio=True))
    speakers = {part: {s.speaker: s.gender for s in supervisions(data, part)} for part in PARTS}
    assert sum(map(len, speakers.values())) == len(set().union(*speakers.values())) == 12
    for part in PARTS:
        genders = list(speakers[part].values())
        assert genders.count("F") == genders.count("M") >= 1
        assert len((data / f"text_{part}").read_text().splitlines()) == 3 * len(genders)
    assert read_json(data / "about.json")["parts"]["train"]["activity"].keys() == {"vad"}


def test_jobs_and_runs_change_nothing(corpus: Path, data: Path, tmp_path: Path) -> None:
    main(Config(str(corpus), str(tmp_path / "again"), num_jobs=4))
    for path in data.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_other_audio_under_the_same_names_shows(copy: Path, tmp_path: Path) -> None:
    about = []
    path = copy / "dev-clean/104/7/104-7-0001.flac"
    for scale in (1.0, 0.3):
        audio = soundfile.read(path)[0]
        soundfile.write(path, scale * audio, 16000)
        main(Config(str(copy), str(tmp_path / "out")))
        about.append(read_json(tmp_path / "out" / "about.json"))
    assert about[0].pop("bytes") > about[1].pop("bytes") > 0 and about[0] == about[1]


def test_alignments_win_over_the_vad_and_split_files_choose(copy: Path, tmp_path: Path) -> None:
    (copy / "train-clean-100").mkdir()
    shutil.move(copy / "dev-clean/101", copy / "train-clean-100/101")
    for path in (copy / "train-clean-100").rglob("*.trans.txt"):
        path.unlink()
    (tmp_path / "rttm").mkdir()
    (tmp_path / "rttm/x.rttm").write_text("SPEAKER 7-0000 1 0.5 0.75 <NA> <NA> 102 <NA> <NA>\n")
    (tmp_path / "split.yaml").write_text(
        "train:\n  - {subset: dev-clean, speakers: [102, 103]}\n"
        "  - {subset: train-clean-100, text: false}\n"
        "dev: [{subset: dev-clean, speakers: [104, 105]}]\n"
        "test: [{subset: dev-clean, speakers: [106, 107], max_duration: 2.5}]\n"
    )
    main(Config(str(copy), str(tmp_path / "out"), str(tmp_path / "rttm"),
                str(tmp_path / "split.yaml")))  # fmt: skip
    train = {s.id: s for s in supervisions(tmp_path / "out", "train")}
    assert {s.speaker for s in train.values()} == {"101", "102", "103"}
    assert train["101-7-0000"].text is None and train["102-7-0001"].text == "WORDB SAID"
    (item,) = train["102-7-0000"].alignment["speech"]
    assert (item.start, item.duration) == (0.5, 0.75)
    assert all(s.duration <= 2.5 for s in supervisions(tmp_path / "out", "test"))
    about = read_json(tmp_path / "out/about.json")["parts"]["train"]
    assert about["activity"] == {"alignment": 1, "vad": 8} and about["num_with_text"] == 6


def test_blanks_in_names_are_underscores_wherever_names_are_written(
    copy: Path, tmp_path: Path
) -> None:
    for old, new in (("101", "Jane Doe"), ("102", "John Doe")):
        (copy / "dev-clean" / old).rename(copy / "dev-clean" / new)
        for path in (copy / "dev-clean" / new / "7").iterdir():
            if path.suffix == ".flac":
                path.rename(path.with_name(path.name.replace(old, new)))
            else:
                path.write_text(path.read_text().replace(old, new.replace(" ", "_")))
        table = (copy / "SPEAKERS.TXT").read_text()
        (copy / "SPEAKERS.TXT").write_text(table.replace(f"{old} ", f"{new} "))
    (tmp_path / "split.yaml").write_text(
        "train: [{subset: dev-clean, speakers: [Jane Doe, John_Doe]}]\n"
        "dev: [{subset: dev-clean, speakers: [104, 105]}]\n"
        "test: [{subset: dev-clean, speakers: [106, 107]}]\n"
    )
    out, mix = tmp_path / "out", tmp_path / "mix"
    main(Config(str(copy), str(out), split=str(tmp_path / "split.yaml")))
    found = {s.id: s for s in supervisions(out, "train")}
    assert {s.speaker for s in found.values()} == {"Jane_Doe", "John_Doe"}
    assert found["Jane_Doe-7-0000"].text == "WORDA SAID"
    simulate(SimulateConfig(str(out), str(mix), 2, "train=2", "max"))
    validate.main(validate.Config(str(mix)))
    reference = read_rttm(mix / "ref_train_max.rttm")
    assert all(own.keys() == {"Jane_Doe", "John_Doe"} for own in reference.values())


def test_names_that_cannot_be_kept_apart_or_written(copy: Path, tmp_path: Path) -> None:
    (copy / "dev-clean/101").rename(copy / "dev-clean/1 1")
    (copy / "dev-clean/102").rename(copy / "dev-clean/1_1")
    refused(copy, tmp_path, "speakers '1 1' and '1_1' are both called 1_1; rename one")
    (copy / "dev-clean/1_1").rename(copy / "dev-clean/Ren\udce9")
    refused(copy, tmp_path, r"Ren\\udce9/7/.*flac' has a name that is not UTF-8; rename it")
    shutil.rmtree(copy / "dev-clean/Ren\udce9")
    with open(copy / "SPEAKERS.TXT", "ab") as table:
        table.write("1 1 | F | Ren\xe9e\n".encode("latin1"))
    refused(copy, tmp_path, "SPEAKERS.TXT is not UTF-8")


def test_alignments_of_other_names_are_refused(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "rttm").mkdir()
    line = "SPEAKER 102-7-0000 1 0.5 0.75 <NA> <NA> 102 <NA> <NA>\n"
    (tmp_path / "rttm/x.rttm").write_text(line)
    with pytest.raises(UmeError, match="recording 102-7-0000 .* name them <chapter>-<utterance>"):
        main(Config(str(copy), str(tmp_path / "out"), str(tmp_path / "rttm")))


def test_folders_that_are_no_corpus(copy: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", tmp_path, "nowhere does not exist")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", tmp_path, "empty holds no <subset>/<speaker>/<chapter>")
    (copy / "SPEAKERS.TXT").unlink()
    refused(copy, tmp_path, "SPEAKERS.TXT does not exist")


def test_missing_transcripts(copy: Path, tmp_path: Path) -> None:
    path = copy / "dev-clean/101/7/101-7.trans.txt"
    path.write_text("101-7-0000 ONE\n")
    refused(copy, tmp_path, "0001.flac has no line '101-7-0001 WORDS' in its .trans.txt")
    for path in copy.rglob("*.trans.txt"):
        path.unlink()
    refused(copy, tmp_path, "dev-clean has no .trans.txt files; restore them, or say .* --split")


def damage_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_rate(path: Path) -> None:
    soundfile.write(path, np.full(24000, 0.1), 8000)


def damage_stereo(path: Path) -> None:
    soundfile.write(path, np.full((48000, 2), 0.1), 16000)


def damage_silent(path: Path) -> None:
    soundfile.write(path, np.zeros(48000), 16000)


def damage_nan(path: Path) -> None:
    with soundfile.SoundFile(path, "w", 16000, 1, "FLOAT", format="WAV") as file:
        file.write(np.full(48000, np.nan, dtype=np.float32))


def damage_text(path: Path) -> None:
    path.write_text("not audio")


@pytest.mark.parametrize(
    "damage, message",
    [
        (damage_truncated, "is truncated"),
        (damage_rate, "has 8000 Hz, not 16000; resample it"),
        (damage_stereo, "has 2 channels, not 1; make it mono"),
        (damage_silent, "is silent; remove it"),
        (damage_nan, "holds NaN or infinite samples"),
        (damage_text, "is not readable audio"),
    ],
)
def test_bad_audio_is_named(copy: Path, tmp_path: Path, damage, message: str) -> None:
    path = copy / "dev-clean/104/7/104-7-0001.flac"
    damage(path)
    refused(copy, tmp_path, "104-7-0001.flac " + message, num_jobs=2)


@pytest.mark.parametrize(
    "text, message",
    [
        ("train: [", "is not valid YAML"),
        ("train: []", "must give the parts train, dev and test"),
        ("{train: [dev-clean], dev: [], test: []}", "part train: write a list of"),
        ("{train: dev-clean, dev: [], test: []}", "part train: write a list of"),
        ("{train: 5, dev: [], test: []}", "part train: write a list of .*, not 5"),
        ("{train: {subset: dev-clean}, dev: [], test: []}", "part train: write a list of"),
        ("{train: [{subset: dev-clean, speaker: [101]}], dev: [], test: []}", "write a list of"),
        ("{train: [{subset: dev-other}], dev: [], test: []}", "subset dev-other is not in"),
        ("{train: [{subset: dev-clean, speakers: 101}], dev: [], test: []}", "speakers cannot be"),
        ("{train: [{subset: dev-clean, text: 'no'}], dev: [], test: []}", "text cannot be 'no'"),
        ("{train: [{subset: dev-clean, max_duration: '9'}], dev: [], test: []}", "cannot be '9'"),
        ("{train: [{subset: dev-clean, speakers: [9]}], dev: [], test: []}", "speaker 9 is not in"),
        ("{train: [{subset: dev-clean, speakers: [101]}], dev: [{subset: dev-clean}], test: []}",
         "speaker 101 is in train and dev"),
        ("{train: [{subset: dev-clean}, {subset: dev-clean, speakers: [103]}], dev: [], test: []}",
         "part train selects speaker 103 of dev-clean twice; remove one"),
        ("{train: [{subset: dev-clean}], dev: [], test: []}", "part dev has no utterance"),
    ],
)  # fmt: skip
def test_bad_split_files(copy: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.yaml").write_text(text)
    refused(copy, tmp_path, message, split=str(tmp_path / "split.yaml"))


def test_bad_options(copy: Path, tmp_path: Path) -> None:
    refused(copy, tmp_path, "--min-duration", min_duration=5.0, max_duration=4.0)
    refused(copy, tmp_path, "--min-duration or --max-duration", min_duration=50, max_duration=60)
    (tmp_path / "none").mkdir()
    refused(copy, tmp_path, "none holds no .rttm files", alignments=str(tmp_path / "none"))
    shutil.rmtree(copy / "dev-clean")
    shutil.copytree(tmp_path / "none", copy / "dev-clean")
    refused(copy, tmp_path, "holds no <subset>")


def test_too_few_speakers(copy: Path, tmp_path: Path) -> None:
    for speaker in range(104, 113):
        shutil.rmtree(copy / f"dev-clean/{speaker}")
    refused(copy, tmp_path, "3 speakers in the corpus are too few")
