"""Windows of transformed audio are the whole's samples, and manifests keep the transforms."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import Recording

from tests.mixing.reference_librimix import extended
from ume.mixing.transforms import FADE, extend, file_format, fitted, resampled


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """1.2 s of two channels."""
    path = tmp_path_factory.mktemp("noise") / "noise.wav"
    audio = 0.1 * np.random.default_rng(3).standard_normal((19201, 2))
    soundfile.write(path, audio, 16000, "PCM_16")
    return Recording.from_file(path)


def test_extension_is_overlapping_copies() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 20000))
    for length in (20001, 31999, 32000, 100001):
        assert np.allclose(extend(noise, length)[0], extended(noise[0], length), atol=1e-6)
    assert np.allclose(extend(np.ones((1, FADE + 5)), 50000), 1)  # a Hann crossfade sums to one


@given(length=st.sampled_from([9001, 19201, 60001]), rate=st.sampled_from([8000, 16000]),
       ends=st.tuples(st.floats(0, 1), st.floats(0, 1)))  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_windows_are_the_whole(noise: Recording, length: int, rate: int, ends: tuple) -> None:
    recording = resampled(fitted(noise, length).perturb_volume(0.7, affix_id=False), rate)
    recording = Recording.from_dict(recording.to_dict())
    whole = recording.load_audio(channels=0)  # (1, T)
    assert whole.shape == (1, -(-length * rate // 16000)) == (1, recording.num_samples)
    first, last = sorted(round(end * (recording.num_samples - 40)) for end in ends)
    last += 40
    window = recording.load_audio(channels=0, offset=first / rate, duration=(last - first) / rate)
    assert window.shape == (1, last - first)
    assert np.abs(window - whole[:, first:last]).max() < 1e-6


def test_file_behind_a_recording(noise: Recording, tmp_path: Path) -> None:
    assert file_format(noise) == (16000, 19201)
    assert file_format(resampled(fitted(noise, 50001), 8000)) == (16000, 19201)
