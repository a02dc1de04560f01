"""Folders of speakers and sessions: speech found by jobs, speakers split, every bad input."""

import json
import shutil
from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest
import soundfile
from lhotse import SupervisionSet

from ume.activity import detect_speech, read_rttm
from ume.corpora import speech
from ume.corpora.speaker_lists import draw_lists, read_lists
from ume.corpora.speakers import Config, main, read_metadata
from ume.dataset import validate
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing import conversations

PARTS = ("train", "dev", "test")


def prepare(corpus: Path, output: Path, num_jobs: int = 1, **options) -> Path:
    """Find the speech by jobs, then write the data folder ``output``."""
    found = output.parent / "speech"
    for job in range(1, num_jobs + 1):
        speech.main(speech.Config(str(corpus), str(found), job, num_jobs))
    options = {"dev_speakers": 2, "test_speakers": 2, **options}
    main(Config(str(corpus), str(found), str(output), **options))
    return output


def lists(folder: Path) -> Dict[str, List[str]]:
    return {part: (folder / f"speakers_{part}").read_text().split() for part in PARTS}


def supervisions(folder: Path, part: str) -> list:
    return list(SupervisionSet.from_file(folder / f"supervisions_{part}.jsonl.gz"))


@pytest.fixture
def copy(corpus: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(corpus, tmp_path / "Libri Speech"))


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a corpus in LibriSpeech's layout."""
    return prepare(corpus, tmp_path_factory.mktemp("speakers") / "data", min_speech=1.0)


def test_librispeechs_layout_is_split_by_seed(corpus: Path, prepared: Path, tmp_path: Path) -> None:
    validate.main(validate.Config(str(prepared), audio=True))
    drawn = lists(prepared)
    assert [len(drawn[part]) for part in PARTS] == [8, 2, 2]
    assert sorted(sum(drawn.values(), [])) == [str(s) for s in range(101, 113)]
    for part in PARTS:
        found = supervisions(prepared, part)
        assert sorted({s.speaker for s in found}) == drawn[part]
        genders = list({s.speaker: s.gender for s in found}.values())
        assert genders.count("F") == genders.count("M")
        assert all(s.id.startswith(f"{s.speaker}-7-0") and s.language is None for s in found)
        assert (prepared / f"text_{part}").read_text() == ""
    assert read_json(prepared / "about.json")["parts"]["train"]["activity"] == {"vad": 24}
    other = prepare(corpus, tmp_path / "other", min_speech=1.0, seed=1)
    assert lists(other) != drawn


def test_utterances_are_trimmed_to_their_speech(corpus: Path, prepared: Path) -> None:
    for supervision in supervisions(prepared, "test"):
        path = corpus / f"dev-clean/{supervision.speaker}/7/{supervision.id}.flac"
        segments = detect_speech(soundfile.read(path, dtype="float32")[0])
        assert supervision.start == segments[0][0] > 0.1
        assert supervision.end == pytest.approx(segments[-1][1], abs=1e-6)
        assert len(supervision.alignment["speech"]) == len(segments) == 2


def test_jobs_change_nothing(corpus: Path, prepared: Path, tmp_path: Path) -> None:
    again = prepare(corpus, tmp_path / "data", num_jobs=5, min_speech=1.0)
    for path in prepared.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_lists_decide_and_are_written(corpus: Path, prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    for part, names in {"train": "101 102", "dev": "103", "test": "104", "other": "105"}.items():
        (folder / f"speakers_{part}").write_text(names.replace(" ", "\n") + "\n")
    data = prepare(corpus, tmp_path / "data", speakers=str(folder))
    assert lists(data) == {"train": ["101", "102"], "dev": ["103"], "test": ["104"]}
    assert {s.speaker for s in supervisions(data, "other")} == {"105"}
    again = prepare(corpus, tmp_path / "again", speakers=str(prepared), min_speech=1.0)
    for part in PARTS:
        name = f"supervisions_{part}.jsonl.gz"
        assert (again / name).read_bytes() == (prepared / name).read_bytes()


def test_a_folder_without_subsets(corpus: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for path in sorted(corpus.rglob("*.flac")):
        target = tree / path.parts[-3] / "session 1" / f"{path.stem[-4:]}.flac"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    shutil.copy(corpus / "SPEAKERS.TXT", tree)
    texts = tmp_path / "text"
    texts.write_text("".join(f"{s}-session_1-0000 WORDS\n" for s in range(101, 113)))
    data = prepare(tree, tmp_path / "data", min_speech=1.0, texts=str(texts))
    found = supervisions(data, "train")
    assert found[0].id == f"{found[0].speaker}-session_1-0000" and found[0].text == "WORDS"
    assert found[0].custom["session"] == "session 1"


def test_blanks_in_speakers_names_are_underscores(copy: Path, tmp_path: Path) -> None:
    for old, new in (("101", "Jane  Doe"), ("102", "John Doe ")):
        (copy / "dev-clean" / old).rename(copy / "dev-clean" / new)
        table = (copy / "SPEAKERS.TXT").read_text()
        (copy / "SPEAKERS.TXT").write_text(table.replace(f"{old} ", f"{new} "))
    given = tmp_path / "lists"
    given.mkdir()
    for part, names in {"train": "Jane  Doe\nJohn_Doe\n", "dev": "103", "test": "104"}.items():
        (given / f"speakers_{part}").write_text(names)
    data = prepare(copy, tmp_path / "data", min_speech=1.0, speakers=str(given))
    assert lists(data) == {"train": ["Jane_Doe", "John_Doe"], "dev": ["103"], "test": ["104"]}
    found = supervisions(data, "train")
    assert {s.speaker for s in found} == {"Jane_Doe", "John_Doe"}
    assert "Jane_Doe-7-101-7-0000" in {s.id for s in found}
    again = prepare(copy, tmp_path / "again", min_speech=1.0, speakers=str(data))
    assert lists(again) == lists(data)
    mix = tmp_path / "mix"
    conversations.main(
        conversations.Config(data=str(data), output=str(mix), mixtures="train=1", num_speakers="2")
    )
    (reference,) = read_rttm(mix / "ref_train_part.rttm").values()
    assert reference.keys() == {"Jane_Doe", "John_Doe"}


def test_speakers_of_one_name_are_both_named(copy: Path, tmp_path: Path) -> None:
    (copy / "dev-clean/101").rename(copy / "dev-clean/1 1")
    (copy / "dev-clean/102").rename(copy / "dev-clean/1_1")
    with pytest.raises(UmeError, match="speakers '1 1' and '1_1' are both called 1_1; rename one"):
        prepare(copy, tmp_path / "data")
    shutil.rmtree(copy / "dev-clean/1_1")
    with open(copy / "SPEAKERS.TXT", "a") as table:
        table.write("1 1 | F\n1_1 | M\n")
    with pytest.raises(UmeError, match="SPEAKERS.TXT: speakers '1 1' and '1_1' are both called"):
        prepare(copy, tmp_path / "data")


def test_a_name_that_is_not_utf8_is_named(copy: Path, tmp_path: Path) -> None:
    (copy / "dev-clean/101").rename(copy / "dev-clean/Ren\udce9e")
    with pytest.raises(
        UmeError, match=r"Ren\\udce9e/7/101.*' has a name that is not UTF-8"
    ) as caught:
        speech.main(speech.Config(str(copy), str(tmp_path / "speech")))
    str(caught.value).encode()


def test_utterances_with_little_speech_are_left_out(copy: Path, tmp_path: Path) -> None:
    short, silent = (copy / f"dev-clean/101/7/101-7-000{k}.flac" for k in (0, 1))
    soundfile.write(silent, np.zeros(48000), 16000)
    audio, _ = soundfile.read(short)
    soundfile.write(short, audio[:12000], 16000)
    data = prepare(copy, tmp_path / "data", min_speech=1.0)
    assert sum(read_json(data / "about.json")["too_short"].values()) == 2
    ids = {s.id for part in PARTS for s in supervisions(data, part)}
    assert len(ids) == 34 and not ids & {short.stem, silent.stem}
    data = prepare(copy, tmp_path / "all", min_speech=0.0)
    ids = {s.id for part in PARTS for s in supervisions(data, part)}
    assert len(ids) == 35 and silent.stem not in ids


def test_bad_audio_is_named(copy: Path, tmp_path: Path) -> None:
    path = copy / "dev-clean/104/7/104-7-0001.flac"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UmeError, match="104-7-0001.flac is truncated"):
        prepare(copy, tmp_path / "data")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dev_speakers": 12}, "6 speakers of sex F are too few for --dev-speakers 12"),
        ({"min_speech": 60.0}, "part train has no utterance; change its speakers or --min-speech"),
        ({"speakers": "/nowhere"}, "speakers_train does not exist"),
    ],
)
def test_bad_options(corpus: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UmeError, match=message):
        prepare(corpus, tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


def test_two_files_of_one_name_are_both_named(copy: Path, tmp_path: Path) -> None:
    first = sorted(copy.glob("dev-clean/101/7/*.flac"))[0]
    (copy / "other/101/7").mkdir(parents=True)
    again = Path(shutil.copy(first, copy / "other/101/7"))
    with pytest.raises(UmeError, match=rf"{again} and {first} are both called {first.stem}"):
        prepare(copy, tmp_path / "data")


def test_speech_of_other_files(copy: Path, tmp_path: Path) -> None:
    prepare(copy, tmp_path / "data", num_jobs=2, min_speech=1.0)
    options = Config(str(copy), str(tmp_path / "speech"), str(tmp_path / "again"), dev_speakers=2)
    (copy / "dev-clean/101/7/101-7-0000.flac").unlink()
    with pytest.raises(UmeError, match="is of other files .dev-clean/101/7/101-7-0000.flac"):
        main(Config(**{**vars(options), "test_speakers": 2}))
    share = tmp_path / "speech/2.json"
    share.write_text(json.dumps({**read_json(share), "num_jobs": 3}))
    with pytest.raises(UmeError, match="2.json is of another run"):
        main(Config(**{**vars(options), "test_speakers": 2}))


def test_tables_of_sexes(copy: Path, tmp_path: Path) -> None:
    table = tmp_path / "vox2_meta.csv"
    table.write_text("VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev \n\n")
    assert read_metadata(table) == {"id00012": "M"}
    table.write_text("VoxCeleb2 ID ,Gender \n101 ,female \n102 ,f \n")
    assert read_metadata(table) == {"102": "F"}
    shutil.copy(table, copy / "vox2_meta.csv")
    with pytest.raises(UmeError, match="no sex is known of speaker 101; write F or M into"):
        prepare(copy, tmp_path / "data")
    (copy / "vox2_meta.csv").unlink()
    table.write_bytes("VoxCeleb2 ID ,Gender ,Name \n101 ,f ,Ren\xe9e \n".encode("latin1"))
    with pytest.raises(UmeError, match="vox2_meta.csv is not UTF-8"):
        read_metadata(table)
    table.write_text("id,sex\nid00012,m\n")
    with pytest.raises(UmeError, match="is not VoxCeleb2's metadata"):
        read_metadata(table)
    (copy / "SPEAKERS.TXT").write_text("101 | F\n")
    with pytest.raises(UmeError, match="no sex is known of speaker 102"):
        prepare(copy, tmp_path / "data")
    (copy / "SPEAKERS.TXT").unlink()
    with pytest.raises(UmeError, match="has no vox2_meta.csv or SPEAKERS.TXT; write the latter"):
        prepare(copy, tmp_path / "data")
    with pytest.raises(UmeError, match="holds no .<subset>/.<speaker>/<session>"):
        prepare(tmp_path / "speech", tmp_path / "data")


def test_lists_that_are_wrong(tmp_path: Path) -> None:
    for part, names in {"train": "a\nb\n", "dev": "c", "test": "b"}.items():
        (tmp_path / f"speakers_{part}").write_text(names)
    with pytest.raises(UmeError, match="speaker b is in test and train"):
        read_lists(str(tmp_path), set("abc"))
    with pytest.raises(UmeError, match="speakers_dev: the corpus has no speaker c"):
        read_lists(str(tmp_path), set("ab"))
    (tmp_path / "speakers_dev").write_bytes(b"Ren\xe9e\n")
    with pytest.raises(UmeError, match="speakers_dev is not UTF-8"):
        read_lists(str(tmp_path), set("abc"))


def test_a_speaker_of_both_sets_is_named() -> None:
    with pytest.raises(UmeError, match="speaker a is in dev and test"):
        draw_lists({"a": {"dev", "test"}, "b": {"dev"}}, {"a": "F", "b": "F"}, 1, 0, 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dev_speakers", [1, 4, 5])
def test_draws_are_balanced_and_disjoint(seed: int, dev_speakers: int) -> None:
    sexes = {f"s{k:02d}": "FM"[k % 3 == 0] for k in range(30)}
    subsets = {name: {"dev" if int(name[1:]) < 24 else "test"} for name in sexes}
    drawn = draw_lists(subsets, sexes, dev_speakers, 7, seed)
    assert sorted(drawn["test"]) == [f"s{k}" for k in range(24, 30)]
    assert len(drawn["dev"]) == dev_speakers and len(drawn["train"]) == 24 - dev_speakers
    assert sorted(sum(drawn.values(), [])) == sorted(sexes)
    women = sum(sexes[speaker] == "F" for speaker in drawn["dev"])
    assert women == (dev_speakers + 1) // 2


def test_what_is_known_of_the_words_comes_with_its_utterances(
    corpus: Path, prepared: Path, tmp_path: Path
) -> None:
    known = supervisions(prepared, "train")[0].id
    texts = tmp_path / "text"
    texts.write_text(f"{known} some Words\n\n")
    data = prepare(corpus, tmp_path / "data", min_speech=1.0, texts=str(texts))
    found = {s.id: s.text for part in PARTS for s in supervisions(data, part)}
    assert {name for name, text in found.items() if text is not None} == {known}
    assert found[known] == "SOME WORDS"
    assert (data / "text_train").read_text() == f"{known} SOME WORDS\n"
    assert read_json(data / "about.json")["parts"]["train"]["num_with_text"] == 1
    texts.write_text(f"{known} SOME WORDS\nnobody SAYS THIS\n")
    with pytest.raises(UmeError, match=r"text, line 2: the corpus has no utterance nobody"):
        prepare(corpus, tmp_path / "data", texts=str(texts))


def test_what_was_heard_may_be_of_utterances_that_are_gone(
    corpus: Path, prepared: Path, tmp_path: Path
) -> None:
    first, second, *_ = (s.id for s in supervisions(prepared, "train"))
    texts, heard = tmp_path / "text", tmp_path / "heard"
    texts.write_text(f"{first} KNOWN\n")
    heard.write_text(f"{first} HEARD\n{second} HEARD\nnobody SAYS THIS\n")
    data = prepare(corpus, tmp_path / "data", min_speech=1.0, texts=str(texts), heard=str(heard))
    assert (data / "text_train").read_text() == f"{first} KNOWN\n{second} HEARD\n"
