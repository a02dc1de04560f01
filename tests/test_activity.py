"""Time base, frames, RTTM and VAD."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ume.activity import (
    FRAME_SAMPLES,
    FRAME_SHIFT,
    SAMPLING_RATE,
    detect_speech,
    frames_to_segments,
    merge_segments,
    num_frames,
    read_rttm,
    segments_to_frames,
    write_rttm,
)
from ume.errors import UmeError

times = st.integers(0, 64000).map(lambda sample: sample / SAMPLING_RATE)
segment_lists = st.lists(st.tuples(times, times).map(lambda pair: tuple(sorted(pair))), max_size=6)


def test_the_frame_is_20_ms() -> None:
    assert (FRAME_SHIFT, FRAME_SAMPLES) == (0.02, 320)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, FRAME_SAMPLES))
def test_frames_survive_the_way_through_segments(active: list, tail: int) -> None:
    samples = (len(active) - 1) * FRAME_SAMPLES + tail
    assert num_frames(samples) == len(active)
    segments = frames_to_segments(active, samples)
    assert segments_to_frames(segments, samples).tolist() == active
    assert all(0 <= start < end <= samples / SAMPLING_RATE for start, end in segments)


@given(segment_lists, st.integers(0, 70000))
def test_a_frame_is_active_when_half_of_its_samples_are(segments: list, samples: int) -> None:
    mask = np.zeros(samples, dtype=bool)
    for start, end in segments:
        mask[round(start * SAMPLING_RATE) : round(end * SAMPLING_RATE)] = True
    expected = [mask[i : i + FRAME_SAMPLES].mean() >= 0.5 for i in range(0, samples, FRAME_SAMPLES)]
    assert segments_to_frames(segments, samples).tolist() == expected


@given(segment_lists)
def test_merging_keeps_the_time_and_leaves_gaps(segments: list) -> None:
    merged = merge_segments(segments)
    assert merge_segments(merged) == merged
    assert all(a[1] < b[0] for a, b in zip(merged, merged[1:]))
    assert np.array_equal(segments_to_frames(merged, 64000), segments_to_frames(segments, 64000))


def test_frames_of_the_wrong_number_are_refused() -> None:
    with pytest.raises(ValueError, match="frames"):
        frames_to_segments([True], 321)


def test_rttm_round_trip(tmp_path) -> None:
    two = {"x": [(0.5, 1.25), (2.0, 3.0)], "y": [(0.0, 4.0)]}
    annotation = {"b": two, "a": {"x": [(1.0, 2.0)]}}
    write_rttm(tmp_path / "ref.rttm", annotation)
    assert read_rttm(tmp_path / "ref.rttm") == annotation
    assert (tmp_path / "ref.rttm").read_text().startswith("SPEAKER a 1 1.000 1.000 <NA> <NA> x ")


@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(1, 999)), min_size=1, max_size=5))
def test_rttm_keeps_what_it_can_say(tmp_path_factory, pairs: list) -> None:
    path = tmp_path_factory.getbasetemp() / "property.rttm"
    segments = merge_segments((start / 1000, (start + length) / 1000) for start, length in pairs)
    write_rttm(path, {"r": {"s": segments}})
    assert np.allclose(read_rttm(path)["r"]["s"], segments, atol=1e-6)


@pytest.mark.parametrize("name", ["Jane Doe", " ", ""])
def test_names_that_rttm_cannot_hold_are_refused(tmp_path, name: str) -> None:
    for annotation in ({"a": {name: [(0.0, 1.0)]}}, {name: {"x": [(0.0, 1.0)]}}):
        with pytest.raises(UmeError, match=f"x.rttm: RTTM cannot hold the name '{name}'; rename"):
            write_rttm(tmp_path / "x.rttm", annotation)
    assert not (tmp_path / "x.rttm").exists()


def test_rttm_that_is_not_utf8_is_named(tmp_path) -> None:
    line = "SPEAKER a 1 0.0 1.0 <NA> <NA> Ren\xe9e <NA> <NA>\n"
    (tmp_path / "ref.rttm").write_bytes(line.encode("latin1"))
    with pytest.raises(UmeError, match="ref.rttm is not UTF-8"):
        read_rttm(tmp_path / "ref.rttm")


def test_a_line_that_is_not_rttm_is_named(tmp_path) -> None:
    good = "SPEAKER a 1 0.0 1.0 <NA> <NA> x <NA> <NA>\n"
    (tmp_path / "bad.rttm").write_text(good + "SPEAKER a 1 zero\n")
    with pytest.raises(UmeError, match=r"bad\.rttm:2: not an RTTM line"):
        read_rttm(tmp_path / "bad.rttm")


def bursts(*segments, seconds: float = 4.0) -> np.ndarray:
    """Noise in ``segments``, silence elsewhere."""
    rng = np.random.default_rng(0)
    audio = np.zeros(round(seconds * SAMPLING_RATE))
    for start, end in segments:
        first, last = round(start * SAMPLING_RATE), round(end * SAMPLING_RATE)
        audio[first:last] = 0.1 * rng.standard_normal(last - first)
    return audio


@pytest.mark.parametrize("level", [1.0, 0.01])
@pytest.mark.parametrize("floor", [0.0, 1e-3])
def test_vad_finds_speech_at_any_level_over_any_floor(level: float, floor: float) -> None:
    audio = bursts((0.5, 1.5), (2.2, 3.6))
    noisy = level * (audio + floor * np.random.default_rng(1).standard_normal(len(audio)))
    found = detect_speech(noisy)
    assert np.allclose(found, [(0.5, 1.5), (2.2, 3.6)], atol=0.07)


def test_vad_fills_short_pauses_only() -> None:
    assert len(detect_speech(bursts((0.5, 1.5), (1.7, 3.0)))) == 1
    assert len(detect_speech(bursts((0.5, 1.5), (2.0, 3.0)))) == 2


def test_vad_drops_bursts_that_are_too_short_wherever_they_are() -> None:
    for hop in range(5, 60):  # levels are of two hops: a burst of four has five of them, 50 ms
        found = [
            detect_speech(bursts((hop / 100, (hop + hops) / 100), (2.0, 4.0))) for hops in (3, 4)
        ]
        assert [len(segments) for segments in found] == [1, 2], hop


def test_vad_without_a_pause_finds_all_and_in_silence_nothing() -> None:
    assert detect_speech(bursts((0.0, 4.0))) == [(0.0, 4.0)]
    assert detect_speech(np.zeros(16000)) == []
    assert detect_speech(np.zeros(0)) == []


def test_vad_agrees_with_forced_alignment_on_real_speech(shared) -> None:
    """Errors (missed and false frames) below 10 % of the speech of 24 real utterances."""
    aligned = read_rttm(shared / "data/librimix_metadata/LibriSpeech/train_clean_100.rttm")
    paths = sorted((shared / "data/librispeech/train-clean-100").glob("*/*/*.flac"))[::9]
    assert len(paths) >= 20
    wrong = speech = 0
    for path in paths:
        audio, _ = soundfile.read(path)
        speaker, _, name = path.stem.partition("-")
        reference = segments_to_frames(aligned[name][speaker], len(audio))
        found = segments_to_frames(detect_speech(audio), len(audio))
        wrong += int((reference != found).sum())
        speech += int(reference.sum())
    assert wrong / speech < 0.10
