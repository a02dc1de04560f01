"""Speed, rooms and noise: what changes, what stays, and that it can be repeated."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import Recording, RecordingSet

from ume.activity import num_frames
from ume.dataset.augment import (
    AugmentConfig,
    Augmenter,
    add_noise,
    change_speed,
    reverberate,
)
from ume.dataset.batch import Example
from ume.dataset.loader import load_planned, plan_batches
from ume.dataset.mixtures import read_cuts
from ume.errors import UmeError
from ume.metrics.si_sdr import si_sdr


def example(samples: int = 16000) -> Example:
    rng = np.random.default_rng(0)
    sources = (0.1 * rng.standard_normal((2, samples))).astype(np.float32)
    sources[0, : samples // 2] = 0
    activity = np.ones((num_frames(samples), 2), dtype=bool)
    activity[: len(activity) // 2, 0] = False
    return Example("a", sources.sum(axis=0), sources, activity, ["A", "B"], ["x", "y"])


def manifest(folder: Path, name: str, *audio: np.ndarray, rate: int = 16000) -> str:
    recordings = []
    for number, samples in enumerate(audio):
        path = folder / f"{name}{number}.wav"
        soundfile.write(path, samples.T, rate, subtype="FLOAT")
        recordings.append(Recording.from_file(path))
    RecordingSet.from_recordings(recordings).to_file(folder / f"{name}.jsonl.gz")
    return str(folder / f"{name}.jsonl.gz")


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_length_pitch_and_activity_together(speed):
    tone = np.sin(2 * np.pi * 400 * np.arange(16000) / 16000).astype(np.float32)
    before = example()
    before.sources[1] = tone
    after = change_speed(before, speed)
    assert len(after.audio) == pytest.approx(16000 / speed, abs=1)
    assert after.sources.shape[1] == len(after.audio) and after.audio.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(after.sources[1] * np.hanning(len(after.audio))))
    peak = np.argmax(spectrum) * 16000 / len(after.audio)
    assert peak == pytest.approx(400 * speed, abs=2)
    assert len(after.activity) == num_frames(len(after.audio))
    share = after.activity.mean(axis=0)
    assert share == pytest.approx(before.activity.mean(axis=0), abs=0.03)
    assert after.texts == before.texts


def test_a_room_of_one_reflection_is_in_the_mixture_and_not_in_the_sources():
    before = example()
    late = np.zeros(4000, dtype=np.float32)
    late[100], late[100 + 1600] = 0.5, 0.25  # 100 ms after the direct sound
    after = reverberate(before, [late, late])
    np.testing.assert_allclose(after.sources, before.sources, atol=1e-6)
    echo = after.audio - before.audio
    np.testing.assert_allclose(echo[1600:], 0.5 * before.audio[:-1600], atol=1e-5)
    assert np.abs(echo[:1600]).max() < 1e-6


def test_early_reflections_belong_to_the_source():
    before = example()
    early = np.zeros(800, dtype=np.float32)
    early[0], early[160] = 1.0, 0.5
    after = reverberate(before, [early, early])
    np.testing.assert_allclose(after.sources.sum(axis=0), after.audio, atol=1e-6)
    power = np.square(after.sources).sum(axis=1)
    np.testing.assert_allclose(power, np.square(before.sources).sum(axis=1), rtol=1e-4)


def test_noise_is_at_its_ratio_and_in_the_mixture_only():
    before = example()
    noise = np.random.default_rng(1).standard_normal(16000)
    after = add_noise(before, noise, 6.0)
    added = after.audio - before.audio
    ratio = 10 * np.log10(np.square(before.audio).mean() / np.square(added).mean())
    assert ratio == pytest.approx(6.0, abs=0.01)
    assert after.sources is before.sources
    assert add_noise(before, np.zeros(16000), 6.0) is before


def test_draws_depend_on_seed_epoch_and_cut_alone(tmp_path):
    rng = np.random.default_rng(2)
    config = AugmentConfig(
        speeds=[0.9, 1.0, 1.1],
        rirs=manifest(
            tmp_path, "rir", rng.standard_normal((2, 500)), rng.standard_normal((1, 500))
        ),
        rir_share=0.5,
        noise=manifest(tmp_path, "noise", rng.standard_normal(8000), rng.standard_normal(40000)),
        noise_snr=[5.0, 5.0],
    )
    first, again = Augmenter(config, 0), Augmenter(config, 0)
    heard = [first(example(), epoch).audio for epoch in range(12)]
    for epoch in (11, 3):
        assert np.array_equal(again(example(), epoch).audio, heard[epoch])
    assert len({len(audio) for audio in heard}) == 3
    assert len({audio.tobytes() for audio in heard}) > 6
    assert not np.array_equal(Augmenter(config, 1)(example(), 3).audio, heard[3])


def test_where_a_window_lies_says_nothing_of_what_is_done_to_it():
    augmenter = Augmenter(AugmentConfig(speeds=[0.5, 1.0]), seed=0)
    early, slow = [], []
    for k in range(400):
        audio = np.zeros(320, np.float32)
        example = Example(f"cut-{k}", audio, audio[None], np.zeros((1, 1), bool), [None], ["a"])
        window = np.random.default_rng([0, 3, zlib.crc32(example.id.encode())])
        early.append(window.choice(100) < 50)
        slow.append(len(augmenter(example, 3).audio) == 640)
    assert 0.3 < np.mean(slow) < 0.7 and 0.4 < np.mean(np.equal(early, slow)) < 0.6


def test_by_default_nothing_is_done():
    before = example()
    assert Augmenter(AugmentConfig(), 0)(before, 0) is before


def test_a_loader_augments_the_same_in_any_number_of_workers(mixtures, tmp_path):
    noise = manifest(tmp_path, "noise", np.random.default_rng(3).standard_normal(50000))
    config = AugmentConfig([0.9, 1.1], noise=noise, noise_share=1.0)
    cuts = read_cuts(mixtures / "cuts_train_max.jsonl.gz")[:6]
    plan = plan_batches(cuts, 12.0, augment=Augmenter(config, 0))
    order = ["x"] * len(plan.batches(0))
    here = list(load_planned({"x": plan}, order))
    there = load_planned({"x": plan_batches(cuts, 12.0, augment=Augmenter(config, 0))}, order, 1)
    for ours, theirs in zip(here, there, strict=True):
        assert np.array_equal(ours.audio, theirs.audio)
        mixed = ours.sources.sum(dim=1)
        assert (si_sdr(ours.audio, mixed) < 25).all()  # there is noise


def test_what_cannot_be_used_is_named(tmp_path):
    slow = manifest(tmp_path, "slow", np.zeros(800), rate=8000)
    with pytest.raises(UmeError, match="augment.noise: slow0 .* is at 8000 Hz"):
        Augmenter(AugmentConfig(noise=slow), 0)
    with pytest.raises(UmeError, match="does not exist|no such|missing"):
        Augmenter(AugmentConfig(rirs=str(tmp_path / "none.jsonl.gz")), 0)
    with pytest.raises(UmeError, match="factors above 0"):
        Augmenter(AugmentConfig(speeds=[]), 0)
    for snr in ([10.0], [20.0, 0.0], [0.0, float("nan")]):
        with pytest.raises(UmeError, match="augment.noise_snr is .*; give the lowest and the high"):
            Augmenter(AugmentConfig(noise_snr=snr), 0)
    for share in (50.0, -0.1):
        with pytest.raises(UmeError, match=f"augment.rir_share is {share}; give it from 0 to 1"):
            Augmenter(AugmentConfig(rir_share=share), 0)
        with pytest.raises(UmeError, match=f"augment.noise_share is {share}; give it from 0 to 1"):
            Augmenter(AugmentConfig(noise_share=share), 0)
