"""Mixture cuts as examples, whatever rate and tracks they have."""

from pathlib import Path
from typing import Tuple

import numpy as np
import pytest
import torch
from lhotse import CutSet
from lhotse.cut import MixedCut, MixTrack
from torch import Tensor

from ume.activity import SAMPLING_RATE
from ume.audio import load_audio, resample
from ume.dataset import mixtures as loading
from ume.dataset.batch import collate
from ume.dataset.mixtures import load_batch, load_example, num_samples, read_cuts


@pytest.fixture
def cut(mixtures: Path) -> MixedCut:
    return read_cuts(mixtures / "cuts_test_max.jsonl.gz")[1]


def test_a_cut_of_8_khz_is_heard_at_16(cut: MixedCut) -> None:
    low = cut.resample(8000)
    example = load_example(low)
    assert example.audio.shape == (num_samples(low),) == (2 * num_samples(low, 8000),)
    assert abs(num_samples(low) - num_samples(cut)) <= 1  # an odd one has no half
    assert np.allclose(example.sources.sum(axis=0), example.audio, atol=1e-6)
    assert np.array_equal(example.activity, load_example(cut).activity)
    assert example.texts == load_example(cut).texts
    # at its own rate nothing is resampled
    native = load_example(low, rate=8000)
    assert np.allclose(native.audio, load_audio(low)[0], atol=1e-7)
    assert np.allclose(resample(native.audio, 8000, SAMPLING_RATE), example.audio, atol=1e-5)


@pytest.mark.parametrize("start, stop", [(0, 4000), (1601, 12002), (12345, 20000)])
def test_a_window_of_8_khz_is_that_of_the_whole_but_for_its_edges(
    cut: MixedCut, start: int, stop: int
) -> None:
    low = cut.resample(8000)
    whole, window = load_example(low), load_example(low, start, stop)
    assert window.sources.shape == (len(whole.sources), stop - start)
    inside = slice(200, -200)  # Lhotse's filter and ours reach over the edges
    assert np.allclose(
        window.sources[:, inside], whole.sources[:, start:stop][:, inside], atol=1e-4
    )
    assert np.array_equal(window.activity, load_example(cut, start, stop).activity)


def test_noise_is_in_the_mixture_alone(cut: MixedCut, mixtures: Path) -> None:
    other = read_cuts(mixtures / "cuts_test_part.jsonl.gz")[0].tracks[0].cut
    noise = other.drop_supervisions().truncate(duration=min(other.duration, cut.duration))
    noisy = MixedCut(id="noisy", tracks=[*cut.tracks, MixTrack(noise)])
    clean, example = load_example(cut), load_example(noisy)
    assert np.array_equal(example.sources, clean.sources)
    added = load_audio(noise)[0]
    assert np.allclose(example.audio[: len(added)] - clean.audio[: len(added)], added, atol=1e-6)
    assert list(CutSet.from_cuts([noisy]))[0].supervisions == cut.supervisions


@pytest.mark.parametrize("whole", [True, False])
def test_a_batch_loaded_in_place_is_that_of_its_examples(
    cut: MixedCut, mixtures: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    late = read_cuts(mixtures / "cuts_test_part.jsonl.gz")[0]  # sources begin late
    first = cut.tracks[0].cut
    twice = MixedCut("twice", [*cut.tracks, MixTrack(first, offset=cut.duration + 0.5)])
    noisy = MixedCut("noisy", [*cut.tracks, MixTrack(first.drop_supervisions(), offset=0.25)])
    cuts = [cut, first, late, twice, noisy, cut.resample(8000)]
    lengths = [num_samples(one) for one in cuts]
    windows = [(0, n) if whole else (n // 3 + k, n - 3000) for k, n in enumerate(lengths)]
    examples = [load_example(one, *window) for one, window in zip(cuts, windows)]
    room = loading.blank  # where nothing is loaded there is NaN

    def spoilt(*shape: int) -> Tuple[Tensor, ...]:
        return tuple(part.fill_(float("nan")) for part in room(*shape))

    monkeypatch.setattr(loading, "blank", spoilt)
    batch, expected = load_batch(cuts, windows, num_speakers=4), collate(examples, 4)
    for name in ("audio", "audio_lens", "sources", "activity", "num_speakers"):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name
    assert (batch.ids, batch.texts, batch.speakers) == (
        expected.ids, expected.texts, expected.speakers
    )  # fmt: skip
    if whole:
        own = load_audio(first)[0]
        again = round(twice.tracks[-1].offset * SAMPLING_RATE)
        row = batch.sources[3, 0].numpy()
        assert np.array_equal(row[: len(own)], own) and not row[len(own) : again].any()
        assert np.array_equal(row[again : again + len(own)], own)
