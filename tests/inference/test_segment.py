"""Posteriors to segments, and the jobs' shares to one folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ume.activity import read_rttm
from ume.errors import UmeError
from ume.files import read_json, write_json
from ume.inference.segment import Config, Rule, binarise, main, seglst
from ume.inference.shard import Shard

ACTIVE = {"a": [[1, 0], [1, 1], [0, 1]], "b": [[0, 0], [0, 1]]}  # frames by speakers
SAMPLES = {"a": 800, "b": 640}


def write_job(
    hyp: Path, job: int, names: List[str], shift: float = 0.02, **changes: object
) -> None:
    """What ``ume infer`` writes for its share ``names``, without voices and words."""
    write_json(
        hyp / "meta" / f"{job}.json",
        {
            "model": "exp",
            "model_sha256": "0",
            "cuts": "cuts",
            "cuts_sha256": "1",
            "input": "separated",
            "num_jobs": 2,
            "tasks": ["diarization", "separation", "asr"],
            "num_speakers": 2,
            "num_samples": {name: SAMPLES[name] for name in names},
            "audio_seconds": sum(SAMPLES[name] for name in names) / 16000,
            "cpu_seconds": 1.5,
            **changes,
        },
    )
    for kind in ("posteriors", "ctc"):
        (hyp / kind).mkdir(exist_ok=True)
        shard = {name: 0.8 * np.array(ACTIVE[name], np.float16) for name in names}
        save_file(shard, str(hyp / kind / f"{job}.safetensors"), {"frame_shift": str(shift)})


@pytest.fixture
def hyp(tmp_path: Path) -> Path:
    """A hypothesis folder of two jobs."""
    hyp = tmp_path / "a hypothesis"
    write_job(hyp, 1, ["b"])
    write_job(hyp, 2, ["a"])
    return hyp


@pytest.fixture
def tuned(tmp_path: Path) -> str:
    path = tmp_path / "tuned.json"
    write_json(path, {**asdict(Rule(0.5)), "frame_der": 1.0})
    return str(path)


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float16)[:, None]


def test_only_above_the_threshold_is_speech() -> None:
    assert binarise(column(0.25, 0.5, 0.75), 0.5, 1)[:, 0].tolist() == [False, False, True]


def test_the_median_fills_short_gaps_and_drops_short_bursts() -> None:
    found = binarise(column(0, 1, 0, 0, 0, 1, 1, 0, 1, 1), 0.5, 3)[:, 0]
    assert found.tolist() == [False] * 5 + [True] * 5


def test_the_median_repeats_the_edges() -> None:
    assert binarise(column(1, 1, 0, 0, 1), 0.5, 3)[:, 0].tolist() == [1, 1, 0, 0, 1]
    assert binarise(column(1), 0.5, 25).tolist() == [[True]]


def test_no_speaker_smooths_another() -> None:
    posteriors = np.tile(np.array([0.0, 1.0, 0.0], np.float16), (9, 1))
    assert np.array_equal(binarise(posteriors, 0.5, 5), posteriors > 0.5)


@given(
    frames=st.lists(st.lists(st.floats(0, 1, width=16), min_size=2, max_size=2), min_size=1),
    median=st.sampled_from([1, 3, 7]),
    thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_higher_threshold_never_finds_more(
    frames: List[List[float]], median: int, thresholds: tuple
) -> None:
    low, high = sorted(thresholds)
    posteriors = np.array(frames, np.float16)  # (F, S)
    more, less = binarise(posteriors, low, median), binarise(posteriors, high, median)
    assert more.shape == less.shape == posteriors.shape
    assert not (less & ~more).any()


def test_segments_of_known_posteriors(hyp: Path, tuned: str) -> None:
    main(Config(str(hyp), tuned))
    assert read_rttm(hyp / "hyp.rttm") == {
        "a": {"1": [(0.0, 0.04)], "2": [(0.02, 0.05)]},  # the last frame is a partial one
        "b": {"2": [(0.02, 0.04)]},
    }
    segments = read_json(hyp / "segments.json")
    assert [(s["session_id"], s["speaker"]) for s in segments] == [
        ("a", "1"),
        ("a", "2"),
        ("b", "2"),
    ]
    assert segments[1] == {
        "session_id": "a",
        "speaker": "2",
        "start_time": 0.02,
        "end_time": 0.05,
        "words": "",
    }


def test_segments_of_another_frame_shift(tmp_path: Path, tuned: str) -> None:
    write_job(tmp_path, 1, ["b"], shift=0.04, num_jobs=1, num_samples={"b": 1024})
    main(Config(str(tmp_path), tuned))
    assert read_rttm(tmp_path / "hyp.rttm") == {"b": {"2": [(0.04, 0.064)]}}
    assert read_json(tmp_path / "meta.json")["frame_shift"] == 0.04


def test_short_pauses_are_filled_and_then_short_bursts_dropped() -> None:
    posteriors = column(1, 1, 0, 1, 0, 0, 0, 1, 0)
    rule = Rule(0.5, min_silence=0.02, min_speech=0.04)
    assert rule.segments(posteriors, 9 * 320, 0.02) == [[(0.0, 0.08)]]
    assert Rule(0.5, min_silence=0.06).segments(posteriors, 9 * 320, 0.02) == [[(0.0, 0.16)]]
    assert Rule(0.5, min_speech=0.04).segments(posteriors, 9 * 320, 0.02) == [[(0.0, 0.04)]]
    assert Rule(0.5).segments(posteriors[:4], 4 * 320, 0.02) == [[(0.0, 0.04), (0.06, 0.08)]]


def test_a_shard_without_its_frame_shift_is_refused(hyp: Path, tuned: str) -> None:
    save_file({"b": np.zeros((2, 2), np.float16)}, str(hyp / "posteriors" / "1.safetensors"))
    with pytest.raises(UmeError, match="does not say its frame_shift; run steps/infer.sh again"):
        main(Config(str(hyp), tuned))


def test_one_meta_of_all_jobs(hyp: Path, tuned: str) -> None:
    main(Config(str(hyp), tuned))
    meta = read_json(hyp / "meta.json")
    assert meta["recordings"] == ["a", "b"] and meta["num_recordings"] == 2
    assert meta["num_samples"] == SAMPLES
    assert meta["audio_seconds"] == pytest.approx(1440 / 16000) and meta["cpu_seconds"] == 3
    assert (meta["threshold"], meta["median"], meta["num_speakers"]) == (0.5, 1, 2)


def test_shards_of_an_earlier_run_with_more_jobs_go_when_the_first_job_writes(
    hyp: Path, tuned: str
) -> None:
    for job in (3, 11):
        write_job(hyp, job, ["a"], num_jobs=job, model_sha256="another")
    Shard(0.02, {}).write(hyp, 2, 2)
    assert (hyp / "meta" / "11.json").exists()
    write_job(hyp, 2, ["a"])
    Shard(0.02, {}).write(hyp, 1, 2)
    write_job(hyp, 1, ["b"])
    for kind in ("meta", "posteriors", "ctc"):
        assert sorted(path.stem for path in (hyp / kind).iterdir()) == ["1", "2"]
    main(Config(str(hyp), tuned))


@pytest.mark.parametrize("changed", [{}, {"model_sha256": "2"}, {"cuts_sha256": "3"}])
def test_words_of_another_model_go(hyp: Path, tuned: str, changed: Dict[str, str]) -> None:
    main(Config(str(hyp), tuned))
    write_json(hyp / "words" / "1best.json", [])
    write_json(hyp / "words" / "1best" / "1.json", {})
    for job, names in ((1, ["b"]), (2, ["a"])):
        write_job(hyp, job, names, **changed)
    main(Config(str(hyp), tuned))
    assert (hyp / "words" / "1best.json").exists() == (not changed)


def test_what_a_killed_run_had_begun_to_write_is_not_read(hyp: Path, tuned: str) -> None:
    for kind, name in (("meta", "1.json"), ("posteriors", "1.safetensors")):
        half = hyp / kind / ".part-x" / name
        half.parent.mkdir()
        half.write_bytes(b"hal")
    main(Config(str(hyp), tuned))
    assert read_json(hyp / "meta.json")["num_recordings"] == 2


@pytest.mark.parametrize("name", ["model_sha256", "cuts_sha256", "num_jobs", "input"])
def test_jobs_that_disagree_are_refused(hyp: Path, tuned: str, name: str) -> None:
    write_job(hyp, 2, ["a"], **{name: 2 if name != "num_jobs" else 3})
    with pytest.raises(UmeError, match=f"do not agree on {name}; run steps/infer.sh again"):
        main(Config(str(hyp), tuned))
    assert not (hyp / "meta.json").exists()


def test_what_is_missing_is_named(hyp: Path, tuned: str, tmp_path: Path) -> None:
    with pytest.raises(UmeError, match="none does not exist; steps/infer.sh makes it"):
        main(Config(str(tmp_path / "none"), tuned))
    with pytest.raises(UmeError, match="none.json does not exist; ume tune makes it"):
        main(Config(str(hyp), str(tmp_path / "none.json")))
    (hyp / "posteriors" / "2.safetensors").unlink()
    with pytest.raises(UmeError, match="no posteriors of a; run steps/infer.sh again"):
        main(Config(str(hyp), tuned))
    (hyp / "meta" / "2.json").unlink()
    with pytest.raises(UmeError, match="2.json does not exist; steps/infer.sh makes it"):
        main(Config(str(hyp), tuned))
    assert not (hyp / "meta.json").exists()


def test_answers_of_a_model_of_other_tasks_go(hyp: Path, tuned: str) -> None:
    main(Config(str(hyp), tuned))
    (hyp / "audio").mkdir()
    (hyp / "audio" / "a_1.flac").touch()
    for job, names in ((1, ["b"]), (2, ["a"])):
        write_job(hyp, job, names, tasks=["asr"], model_sha256="2")
    main(Config(str(hyp), tuned))
    assert not any((hyp / name).exists() for name in ("audio", "hyp.rttm", "segments.json"))


@pytest.mark.parametrize("kind", ["sources", "mixture"])
def test_controls_have_no_activity(tmp_path: Path, tuned: str, kind: str) -> None:
    write_job(tmp_path, 1, ["a", "b"], input=kind, num_jobs=1, tasks=["asr"])
    main(Config(str(tmp_path), tuned))
    assert read_json(tmp_path / "meta.json")["input"] == kind
    assert not (tmp_path / "hyp.rttm").exists() and not (tmp_path / "segments.json").exists()


def test_silence_has_no_entries() -> None:
    annotation: Dict[str, Dict[str, list]] = {"a": {"1": [], "2": []}}
    assert seglst(annotation) == []
