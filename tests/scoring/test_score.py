"""``ume score`` on a synthetic set: every figure against the libraries; bad input."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import fast_bss_eval
import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet
from pyannote.core import Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from tests.scoring.synthetic import Material, annotation, make_test_set
from ume.__main__ import main as ume
from ume.activity import read_rttm, write_rttm
from ume.audio import resample, write_flac
from ume.errors import UmeError
from ume.metrics.si_sdr import si_sdr
from ume.report.tables import table
from ume.scoring.score import Config, main


def config(test_set: Material, **options: Any) -> Config:
    hyp = test_set.hyp
    return Config(str(test_set.cuts), str(hyp / "separated"), str(hyp), **options)


def scored(test_set: Material, **options: Any) -> Dict[str, Any]:
    main(config(test_set, **options))
    return json.loads((test_set.hyp / "scores.json").read_text())


def find(scores: Dict[str, Any], **keys: Any) -> Dict[str, Any]:
    keys = {"subset": "all", "reference": None, **keys}
    (entry,) = [m for m in scores["metrics"] if all(m.get(k) == v for k, v in keys.items())]
    return entry


def test_voices_of_8_khz_are_scored_at_8_khz(test_set: Material) -> None:
    low = CutSet.from_cuts(cut.resample(8000) for cut in CutSet.from_file(test_set.cuts))
    low.to_file(test_set.cuts)
    with pytest.raises(UmeError, match="at 16000 Hz, its mixture .* at 8000 Hz"):
        main(config(test_set))
    expected = []
    for cut, m in zip(low, test_set.mixtures):
        truth = np.stack([track[0] for track in cut.load_audio(mixed=False)])  # (S, T)
        for k, voice in enumerate(resample(m.voices, 16000, 8000), start=1):
            path = test_set.hyp / "separated" / "audio" / f"{m.id}_{k}.flac"
            write_flac(path, voice[: truth.shape[1]], 8000)
            read = soundfile.read(path)[0]
            expected.append(
                float(si_sdr(*map(torch.from_numpy, (read, truth[2 - k].astype(float)))))
            )
    scores = scored(test_set)
    entry = find(scores, name="SI-SDR", row="separated", region="whole")
    assert entry["value"] == pytest.approx(np.mean(expected), abs=0.01)
    assert find(scores, name="DER", row="hypothesis", collar=0.0)["value"] > 1


@pytest.mark.parametrize("collar", [0.0, 0.25])
def test_der(test_set: Material, collar: float) -> None:
    scores = scored(test_set)
    metric = DiarizationErrorRate(collar=2 * collar)
    for m in test_set.mixtures:
        uem = Timeline([Segment(0, m.duration)])
        metric(annotation(m.speech), annotation(m.hyp_speech), uem=uem)
    entry = find(scores, name="DER", row="hypothesis", collar=collar)
    assert entry["value"] == pytest.approx(100 * abs(metric), abs=0.01)
    total = metric["total"]
    assert entry["parts"]["miss"] == pytest.approx(100 * metric["missed detection"] / total)
    assert entry["parts"]["false_alarm"] == pytest.approx(100 * metric["false alarm"] / total)
    assert entry["parts"]["confusion"] == pytest.approx(100 * metric["confusion"] / total)
    assert find(scores, name="DER", row="all-silent", collar=collar)["value"] == 100


def test_all_speak_by_hand(test_set: Material) -> None:
    speech = sum(e - s for m in test_set.mixtures for x in m.speech.values() for s, e in x)
    whole = sum(2 * m.duration for m in test_set.mixtures)
    entry = find(scored(test_set), name="DER", row="all-speak", collar=0.0)
    assert entry["value"] == pytest.approx(100 * (whole - speech) / speech, abs=0.001)


def test_separation(test_set: Material) -> None:
    scores = scored(test_set)
    gains = []
    for m in test_set.mixtures:
        mixture = m.sources.sum(axis=0)
        after = fast_bss_eval.si_sdr(m.sources, m.voices, zero_mean=True)
        before = [fast_bss_eval.si_sdr(s[None], mixture[None], zero_mean=True)[0]
                  for s in m.sources]  # fmt: skip
        gains.append(after - before)
    entry = find(scores, name="SI-SDRi", row="separated", region="whole")
    assert entry["value"] == pytest.approx(np.mean(gains), abs=0.01)
    assert find(scores, name="SI-SDRi", row="gate only", region="overlap")["value"] == 0
    assert find(scores, name="SI-SDRi", row="gate only", region="whole")["value"] > 0.5
    assert find(scores, name="label agreement")["value"] == 100
    swapped = read_rttm(test_set.hyp / "separated" / "hyp.rttm")
    for streams in swapped.values():
        streams["1"], streams["2"] = streams["2"], streams["1"]
    write_rttm(test_set.hyp / "separated" / "hyp.rttm", swapped)
    assert find(scored(test_set), name="label agreement")["value"] == 0


def test_controls_of_an_earlier_model_are_none(test_set: Material) -> None:
    path = test_set.hyp / "sources" / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "model_sha256": "of another"}))
    rows = {metric["row"] for metric in scored(test_set)["metrics"] if metric["name"] == "cpWER"}
    assert rows == {"separated", "mixture"}
    other = json.loads(path.read_text())
    path.write_text(json.dumps({**other, "cuts_sha256": "of others"}))
    for words in (path.parent / "words").iterdir():
        words.unlink()
    rows = {metric["row"] for metric in scored(test_set)["metrics"] if metric["name"] == "cpWER"}
    assert rows == {"separated", "mixture"}


def test_what_somebody_else_heard_in_a_folder_of_no_model_is_no_control(test_set: Material) -> None:
    (test_set.hyp / "sources" / "meta.json").unlink()  # as Whisper leaves it
    rows = {metric["row"] for metric in scored(test_set)["metrics"] if metric["name"] == "cpWER"}
    assert rows == {"separated", "mixture"}


def test_words_of_a_method_that_is_gone_go(test_set: Material) -> None:
    scored(test_set)
    folder = test_set.hyp / "words"
    assert any("1best" in path.name for path in folder.iterdir())
    for words in test_set.hyp.glob("*/words/1best.json"):
        words.unlink()
    scored(test_set)
    assert not folder.exists() or not any("1best" in path.name for path in folder.iterdir())


def test_words(test_set: Material) -> None:
    scores = scored(test_set)
    expected = {  # of eight words: one inserted and one deleted; none; four of each; none
        ("cpWER", "separated"): 25.0, ("cpWER", "sources"): 0.0,
        ("cpWER", "mixture"): 100.0, ("ORC-WER", "mixture"): 0.0,
    }  # fmt: skip
    for (name, row), value in expected.items():
        assert find(scores, name=name, row=row, method="1best")["value"] == value
    parts = find(scores, name="cpWER", row="separated")["parts"]
    assert parts == {"insertions": 12.5, "deletions": 12.5, "substitutions": 0.0}
    for suffix in ("1best", "sources-1best", "mixture-1best"):
        assert (test_set.hyp / "words" / f"errs-test_max-{suffix}.txt").exists()
    recogs = (test_set.hyp / "words" / "recogs-test_max-1best.txt").read_text()
    assert recogs.startswith("mix-000_ann:\tref=[")


def test_subsets_and_sizes(test_set: Material) -> None:
    scores = scored(test_set)
    assert (scores["set"], scores["num_recordings"]) == ("test_max", 6)
    assert scores["subsets"]["all"] == {"num_recordings": 6, "num_speakers": 4, "num_pairs": 5}
    assert scores["subsets"]["same-sex"]["num_recordings"] == 3
    same = find(scores, name="DER", row="hypothesis", collar=0.0, subset="same-sex")
    assert same["num_pairs"] == 2 and same["interval"][0] <= same["value"] <= same["interval"][1]
    assert scores["protocol"]["normaliser"] == "ume-en-1"
    assert scores["hypothesis"]["threshold"] == 0.5


def test_per_utterance_table(test_set: Material) -> None:
    scores = scored(test_set)
    lines = (test_set.hyp / "per_utterance.csv").read_text().splitlines()
    header = lines[0].split(",")
    column = header.index("SI-SDRi_separated_whole")
    values = [float(line.split(",")[column]) for line in lines[1:]]
    entry = find(scores, name="SI-SDRi", row="separated", region="whole")
    assert len(values) == 6 and np.mean(values) == pytest.approx(entry["value"], abs=1e-3)


def test_command_line_and_jobs_change_nothing(
    test_set: Material, capsys: pytest.CaptureFixture
) -> None:
    names = ("scores.json", "per_utterance.csv", "words/errs-test_max-1best.txt")
    scored(test_set)
    first = [(test_set.hyp / name).read_bytes() for name in names]
    options = ["--cuts", test_set.cuts, "--hyp", test_set.hyp / "separated", "--out", test_set.hyp]
    subprocess.run(
        [sys.executable, "-m", "ume", "score", *map(str, options), "--num-jobs", "3"], check=True
    )
    assert [(test_set.hyp / name).read_bytes() for name in names] == first


def test_summary(test_set: Material, capsys: pytest.CaptureFixture) -> None:
    scored(test_set)
    printed = capsys.readouterr().out
    assert "%cpWER: 25.00% [ 12 / 48, 6 ins, 6 del, 0 sub ] separated 1best\n" in printed
    assert "%DER: " in printed and "SI-SDRi: " in printed


@pytest.mark.parametrize(
    "counts, origin",
    [
        ({"alignment": 9}, "alignment"),
        ({"alignment": 7, "vad": 2}, "alignment 7, vad 2"),
        (None, "unknown origin"),
    ],
)
def test_origin_of_the_reference(test_set: Material, counts: Any, origin: str) -> None:
    data = test_set.cuts.parent
    if counts:
        (data / "corpus").mkdir()
        about = {"parts": {"test": {"activity": counts}}}
        (data / "corpus" / "about.json").write_text(json.dumps(about))
        (data / "about.json").write_text(json.dumps({"data": str(data / "corpus")}))
    assert scored(test_set)["protocol"]["reference"] == f"speech activity from {origin}"
    if counts:  # paths of recipes begin in their folder
        (data / "about.json").write_text(json.dumps({"data": f"{data.name}/corpus"}))
        assert scored(test_set)["protocol"]["reference"] == f"speech activity from {origin}"


def test_min_mode_has_no_words(tmp_path: Path) -> None:
    scores = scored(make_test_set(tmp_path, size=2, name="test_min"))
    assert not [m for m in scores["metrics"] if "WER" in m["name"]]
    assert scores["protocol"]["words"].startswith("not scored")


def test_without_controls_and_sexes(tmp_path: Path) -> None:
    test_set = make_test_set(tmp_path, size=2)
    for name in ("sources", "mixture"):
        (test_set.hyp / name).rename(tmp_path / name)
    cuts = [cut.map_supervisions(without_gender) for cut in CutSet.from_file(test_set.cuts)]
    CutSet.from_cuts(cuts).to_file(test_set.cuts)
    scores = scored(test_set)
    assert {m["subset"] for m in scores["metrics"]} == {"all"}
    assert {m["row"] for m in scores["metrics"] if "WER" in m["name"]} == {"separated"}


def without_gender(supervision: Any) -> Any:
    supervision.gender = None
    return supervision


def edit_json(path: Path, change: Any) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def lose_a_recording(hyp: Path) -> None:
    edit_json(hyp / "separated/meta.json", lambda meta: meta["recordings"].remove("mix-001"))


def add_a_recording(hyp: Path) -> None:
    edit_json(hyp / "sources/meta.json", lambda meta: meta["recordings"].append("mix-xyz"))


def lose_words(hyp: Path) -> None:
    path = hyp / "separated/words/1best.json"
    edit_json(path, lambda words: words.__delitem__(slice(0, 2)))


def words_twice(hyp: Path) -> None:
    edit_json(hyp / "separated/words/1best.json", lambda words: words.append(words[0]))


def lose_audio(hyp: Path) -> None:
    (hyp / "separated/audio/mix-001_2.flac").unlink()


def cut_audio(hyp: Path) -> None:
    soundfile.write(hyp / "separated/audio/mix-001_2.flac", np.zeros(100), 16000)


def break_audio(hyp: Path) -> None:
    (hyp / "separated/audio/mix-001_2.flac").write_bytes(b"junk")


def lose_rttm(hyp: Path) -> None:
    (hyp / "separated/hyp.rttm").unlink()


def foreign_rttm(hyp: Path) -> None:
    with open(hyp / "separated/hyp.rttm", "a") as file:
        file.write("SPEAKER other 1 0.0 1.0 <NA> <NA> 1 <NA> <NA>\n")


def lose_meta(hyp: Path) -> None:
    (hyp / "separated/meta.json").unlink()


def one_stream(hyp: Path) -> None:
    edit_json(hyp / "separated/meta.json", lambda meta: meta.update(num_speakers=1))


def add_a_stream(material: Material, speech: list) -> None:
    """A third voice of noise in every recording, with a word, in which ``speech`` was found."""
    separated = material.hyp / "separated"
    edit_json(separated / "meta.json", lambda meta: meta.update(num_speakers=3))
    words = json.loads((separated / "words" / "1best.json").read_text())
    rng = np.random.default_rng(5)
    for mixture in material.mixtures:
        noise = 0.05 * rng.standard_normal(mixture.sources.shape[1])
        soundfile.write(separated / "audio" / f"{mixture.id}_3.flac", noise, 16000)
        words.append({**words[0], "session_id": mixture.id, "speaker": "3", "words": "SIX"})
    (separated / "words" / "1best.json").write_text(json.dumps(words))
    found = {m.id: {**m.hyp_speech, **({"3": speech} if speech else {})} for m in material.mixtures}
    write_rttm(separated / "hyp.rttm", found)


def test_a_stream_in_which_nobody_speaks_is_none(tmp_path: Path) -> None:
    before = scored(make_test_set(tmp_path / "two", size=3))
    assert find(before, name="speakers counted right")["value"] == 100
    material = make_test_set(tmp_path / "three", size=3)
    add_a_stream(material, [])
    silent = scored(material)
    # but for the rate that is told only of as many streams as speakers
    left_out = ("permutation WER", "separated")
    kept = [m for m in before["metrics"] if (m["name"], m["row"]) != left_out]
    assert silent["metrics"] == kept
    other = make_test_set(tmp_path / "heard", size=3)
    add_a_stream(other, [(0.2, 0.4)])
    heard = scored(other)
    assert find(heard, name="speakers counted right")["value"] == 0
    assert find(heard, name="cpWER", row="separated")["parts"]["insertions"] == 25.0
    whole = {"name": "SI-SDRi", "row": "separated", "region": "whole"}
    assert find(heard, **whole) == find(before, **whole)
    der = {"name": "DER", "row": "hypothesis", "collar": 0.0}
    assert find(heard, **der)["value"] > find(before, **der)["value"]


@pytest.mark.parametrize(
    "task, names",
    [
        (
            "diarization",
            {"DER", "confusion-only DER", "overlap-only DER", "JER", "speakers counted right"},
        ),
        ("separation", {"SI-SDRi", "SI-SDR"}),
        ("asr", {"cpWER", "ORC-WER", "permutation WER"}),
    ],
)
def test_a_model_of_one_task_is_scored_in_it_alone(tmp_path: Path, task: str, names: set) -> None:
    test_set = make_test_set(tmp_path, size=3)
    separated = test_set.hyp / "separated"
    edit_json(separated / "meta.json", lambda meta: meta.update(tasks=[task]))
    for other, files in (("diarization", "hyp.rttm"), ("separation", "audio"), ("asr", "words")):
        if other != task:
            path = separated / files
            path.unlink() if path.is_file() else shutil.rmtree(path)
    if task != "asr":
        shutil.rmtree(test_set.hyp / "sources")
        shutil.rmtree(test_set.hyp / "mixture")
    options = ["--cuts", str(test_set.cuts), "--hyp", str(separated)]
    assert ume(["score", *options, "--out", str(test_set.hyp)]) == 0
    scores = json.loads((test_set.hyp / "scores.json").read_text())
    assert {metric["name"] for metric in scores["metrics"]} == names
    assert "not run" in table(scores)


@pytest.mark.parametrize(
    "harm, message",
    [
        (lose_a_recording, "separated lacks recording mix-001"),
        (add_a_recording, "sources has, unlike the cuts, recording mix-xyz"),
        (lose_words, "1best.json lacks recording mix-000"),
        (words_twice, "has stream 1 of mix-000 twice"),
        (lose_audio, "mix-001_2.flac does not exist"),
        (cut_audio, "mix-001_2.flac has"),
        (break_audio, "mix-001_2.flac cannot be read"),
        (lose_rttm, "hyp.rttm does not exist"),
        (foreign_rttm, "hyp.rttm has other"),
        (lose_meta, "meta.json does not exist"),
        (one_stream, "1 streams, cut mix-000 2 speakers"),
    ],
)
def test_bad_hypothesis_is_one_line(
    tmp_path: Path, harm: Any, message: str, capsys: pytest.CaptureFixture
) -> None:
    test_set = make_test_set(tmp_path, size=2)
    harm(test_set.hyp)
    options = ["--cuts", str(test_set.cuts), "--hyp", str(test_set.hyp / "separated")]
    assert ume(["score", *options, "--out", str(test_set.hyp)]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (test_set.hyp / "scores.json").exists()


def without_activity(supervision: Any) -> Any:
    supervision.alignment = None
    return supervision


def one_speaker(supervision: Any) -> Any:
    supervision.speaker = "ann"
    return supervision


@pytest.mark.parametrize(
    "change, message",
    [
        (without_activity, "no speech activity"),
        (one_speaker, "different speakers"),
    ],
)
def test_bad_cuts_are_one_line(
    tmp_path: Path, change: Any, message: str, capsys: pytest.CaptureFixture
) -> None:
    test_set = make_test_set(tmp_path, size=2)
    cuts = [cut.map_supervisions(change) for cut in CutSet.from_file(test_set.cuts)]
    CutSet.from_cuts(cuts).to_file(test_set.cuts)
    options = ["--cuts", str(test_set.cuts), "--hyp", str(test_set.hyp / "separated")]
    assert ume(["score", *options, "--out", str(test_set.hyp)]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("without", [{"mix-000"}, {"mix-000", "mix-001"}])
def test_words_are_scored_where_it_is_known_what_all_say(tmp_path: Path, without: set) -> None:
    test_set = make_test_set(tmp_path, size=2)
    cuts = list(CutSet.from_file(test_set.cuts))
    for cut in cuts:
        if cut.id in without:
            cut.supervisions[0].text = None
    CutSet.from_cuts(cuts).to_file(test_set.cuts)
    options = ["--cuts", str(test_set.cuts), "--hyp", str(test_set.hyp / "separated")]
    assert ume(["score", *options, "--out", str(test_set.hyp)]) == 0
    scores = json.loads((test_set.hyp / "scores.json").read_text())
    numbers = {m["num_recordings"] for m in scores["metrics"]
               if m["name"] == "cpWER" and m["subset"] == "all"}  # fmt: skip
    assert numbers == ({1} if len(without) == 1 else set())
    stated = "1 of 2" if len(without) == 1 else "not scored"
    assert stated in scores["protocol"]["words"] and table(scores)


def test_no_cuts(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert ume(["score", "--cuts", str(tmp_path / "none"), "--hyp", "x", "--out", "y"]) == 1
    assert "does not exist; the stage of mixtures makes it" in capsys.readouterr().err


def test_no_jobs(test_set: Material, capsys: pytest.CaptureFixture) -> None:
    options = ["--cuts", str(test_set.cuts), "--hyp", str(test_set.hyp / "separated")]
    assert ume(["score", *options, "--out", str(test_set.hyp), "--num-jobs", "0"]) == 1
    assert "--num-jobs must be at least 1" in capsys.readouterr().err
