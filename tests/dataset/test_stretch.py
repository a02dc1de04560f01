"""Stretches of cuts read directly: the very samples that Lhotse loads, on real speech."""

from pathlib import Path
from typing import Optional

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording
from lhotse.augmentation import Volume
from lhotse.utils import fastcopy

from ume.dataset import stretch
from ume.dataset.stretch import load_stretch, read_directly
from ume.errors import UmeError
from ume.mixing.offset import Offset


def cut_of(recording: Recording, start: int, samples: int, channel: int = 0) -> MonoCut:
    return MonoCut("cut", start / 16000, samples / 16000, channel, recording=recording)


def direct(cut: MonoCut, first: int, count: int) -> Optional[np.ndarray]:
    audio = np.empty(count, dtype=np.float32)
    return audio if read_directly(cut, first, audio) else None


@pytest.fixture(scope="module")
def speech(shared: Path) -> Recording:
    path = min((shared / "data" / "librispeech" / "test-other").rglob("*.flac"))
    return Recording.from_file(path, recording_id="speech")


@pytest.mark.parametrize(
    "transforms",
    [[], [Volume(0.731)], [Offset(-0.0123), Volume(1.7)]],
    ids=["plain", "gain", "offset-and-gain"],
)
def test_samples_are_those_of_lhotse(speech: Recording, transforms: list) -> None:
    recording = fastcopy(speech, transforms=transforms)
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, stop = np.sort(rng.integers(speech.num_samples + 1, size=2)).tolist()
        if stop - start < 3:
            continue
        cut = cut_of(recording, start, stop - start)
        first = int(rng.integers(stop - start - 1))
        count = int(rng.integers(1, stop - start - first + 1))
        expected = cut.truncate(offset=first / 16000, duration=count / 16000).load_audio()[0]
        audio = direct(cut, first, count)
        assert audio is not None and audio.dtype == expected.dtype == np.float32
        assert np.array_equal(audio, expected)


def test_one_channel_of_two(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 2))
    soundfile.write(tmp_path / "noise.wav", noise, 16000)
    recording = Recording.from_file(tmp_path / "noise.wav").perturb_volume(0.3)
    for channel in (0, 1):
        cut = cut_of(recording, 100, 3000, channel)
        audio = direct(cut, 50, 2000)
        assert audio is not None and np.array_equal(audio, cut.load_audio()[0, 50:2050])


def test_what_is_not_plain_goes_through_lhotse(
    speech: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = cut_of(speech.perturb_speed(1.1), 0, 16000)
    assert direct(cut, 10, 8000) is None
    part = cut.truncate(offset=10 / 16000, duration=0.5).load_audio()[0]
    assert np.array_equal(load_stretch(cut, 10, 8000), part)
    monkeypatch.setattr(stretch, "load_audio", None)  # plain files do without
    assert load_stretch(cut_of(speech, 0, 16000), 10, 8000).shape == (8000,)


def test_a_truncated_file_is_named(speech: Recording, tmp_path: Path) -> None:
    path = tmp_path / "cut short.flac"
    audio, _ = soundfile.read(speech.sources[0].source, dtype="int16")
    soundfile.write(path, audio, 16000)
    recording = Recording.from_file(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UmeError, match="cut short.flac is missing or damaged"):
        load_stretch(cut_of(recording, 0, recording.num_samples), 0, recording.num_samples)
