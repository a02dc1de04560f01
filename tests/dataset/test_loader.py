"""Batches: shapes, windows, words, order, and resuming in the middle of an epoch."""

import shutil
from pathlib import Path
from typing import Tuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ume.activity import num_frames
from ume.audio import load_audio
from ume.corpora.librispeech import Config as CorpusConfig
from ume.corpora.librispeech import main as prepare
from ume.dataset.augment import AugmentConfig, Augmenter
from ume.dataset.batch import MixtureBatch
from ume.dataset.loader import (
    BatchPlan,
    MixtureDataset,
    load_planned,
    make_batches,
    make_eval_loader,
    plan_batches,
)
from ume.dataset.mixtures import draw_window, filter_cuts, load_example, num_samples, read_cuts
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing.cuts import activity_frames
from ume.mixing.simulate import Config as MixConfig
from ume.mixing.simulate import main as simulate


@pytest.fixture
def cuts(mixtures: Path) -> list:
    return read_cuts(mixtures / "cuts_train_part.jsonl.gz")


def same(a: MixtureBatch, b: MixtureBatch) -> bool:
    return a.ids == b.ids and torch.equal(a.audio, b.audio) and torch.equal(a.sources, b.sources)


def test_a_batch_holds_the_cuts(cuts: list) -> None:
    (batch,) = make_eval_loader(cuts, 1000.0)
    assert batch.ids == [cut.id for cut in cuts]
    size, speakers, length = batch.sources.shape
    assert batch.audio.shape == (size, length)
    assert batch.activity.shape == (size, num_frames(length), speakers)
    for b, cut in enumerate(cuts):
        n = int(batch.audio_lens[b])
        assert n == num_samples(cut)
        assert np.abs(cut.load_audio()[0] - batch.audio[b, :n].numpy()).max() < 1e-6
        for k, track in enumerate(cut.tracks):
            start = round(track.offset * 16000)
            own = batch.sources[b, k, start : start + track.cut.num_samples].numpy()
            assert np.array_equal(track.cut.load_audio()[0], own)
        assert torch.equal(batch.sources[b].sum(dim=0), batch.audio[b])
        assert not batch.audio[b, n:].any() and not batch.activity[b, num_frames(n) :].any()
        assert np.array_equal(batch.activity[b, : num_frames(n)].bool(), activity_frames(cut))
        assert batch.texts[b] == [supervision.text for supervision in cut.supervisions]
    assert same(batch.to("cpu"), batch)


def test_missing_speakers_are_empty(cuts: list) -> None:
    alone = cuts[0].tracks[0].cut
    (batch,) = make_eval_loader([cuts[0], alone], 1000.0)
    assert batch.num_speakers.tolist() == [len(cuts[0].tracks), 1]
    assert batch.speakers[1][1] == "" and batch.texts[1][1] is None
    assert not batch.sources[1, 1:].any() and not batch.activity[1, :, 1:].any()


def test_evaluation_keeps_the_order_and_the_limit(cuts: list) -> None:
    batches = list(make_eval_loader(cuts, 12.0))
    assert [name for batch in batches for name in batch.ids] == [cut.id for cut in cuts]
    assert all(len(b.ids) == 1 or b.audio.numel() <= 12.0 * 16000 for b in batches)


def test_a_window_is_a_part_of_the_cut(cuts: list) -> None:
    whole, window = load_example(cuts[0]), load_example(cuts[0], 8000, 24000)
    assert np.abs(whole.sources[:, 8000:24000] - window.sources).max() < 1e-6
    assert np.array_equal(whole.activity[25:75], window.activity)
    assert whole.texts != window.texts == [None] * len(window.texts)


@given(seed=st.integers(0, 1000), length=st.integers(1600, 80000))
def test_windows_hold_overlapped_speech(cut_file, seed: int, length: int) -> None:
    cut = cut_file
    start, stop = draw_window(cut, length, np.random.default_rng(seed))
    assert 0 <= start < stop <= num_samples(cut)
    assert stop - start == min(length, num_samples(cut))
    together = activity_frames(cut).sum(axis=1)
    seen = together[start // 320 : num_frames(stop)]
    assert seen.max() == together.max()


@pytest.fixture(scope="session")
def cut_file(mixtures: Path):
    return read_cuts(mixtures / "cuts_train_part.jsonl.gz")[0]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=50), st.integers(1, 300))
def test_batches_hold_every_cut_once_within_the_limit(lengths: list, limit: int) -> None:
    batches = make_batches(lengths, limit, np.random.default_rng(0))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= limit


def rest_of_epoch(plan: BatchPlan, workers: int = 0) -> list:
    """What is left of the current epoch."""
    left = len(plan.batches(plan.epoch)) - plan.position
    return list(load_planned({"x": plan}, ["x"] * left, workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_gives_exactly_what_is_left(cuts: list, workers: int) -> None:
    full = plan_batches(cuts, 4.0, seed=5, crop=1.5)
    first = rest_of_epoch(full)
    second = rest_of_epoch(full)
    assert len(first) > 3 and full.epoch == 2
    assert not all(same(a, b) for a, b in zip(first, second))

    interrupted = plan_batches(cuts, 4.0, seed=5, crop=1.5)
    for number, _ in enumerate(load_planned({"x": interrupted}, ["x"] * 9, workers), 1):
        if number == 2:
            break
    resumed = plan_batches(cuts, 4.0, seed=5, crop=1.5)
    resumed.load_state_dict(interrupted.state_dict())
    left = rest_of_epoch(resumed, workers)
    assert len(left) == len(first) - 2 and all(map(same, left, first[2:]))
    assert all(map(same, rest_of_epoch(resumed, workers), second))


def test_the_same_processes_load_several_plans(cuts: list) -> None:
    kinds = {"windows": 1.0, "whole": None}
    order = ["windows", "whole", "whole", "windows", "whole"] * 4  # beyond an epoch
    plans = [{n: plan_batches(cuts, 4.0, crop=c) for n, c in kinds.items()} for _ in range(2)]
    mixed = list(load_planned(plans[0], order, num_workers=1))
    for name in kinds:
        own = [batch for batch, kind in zip(mixed, order) if kind == name]
        alone = load_planned({name: plans[1][name]}, [name] * len(own))
        assert all(map(same, own, alone))
        assert plans[0][name].state_dict() == plans[1][name].state_dict()
    assert plans[0]["whole"].epoch > 0


def test_batches_have_as_many_speakers_as_asked_for(cuts: list) -> None:
    plan = plan_batches(cuts, 1000.0, num_speakers=4)
    (batch,) = load_planned({"x": plan}, ["x"])
    size, speakers, _ = batch.sources.shape
    assert speakers == 4 == batch.activity.shape[2] == len(batch.texts[0])
    for b, count in enumerate(batch.num_speakers.tolist()):
        assert count < 4 and not batch.sources[b, count:].any() and batch.sources[b, :count].any()
        assert batch.texts[b][count:] == [None] * (4 - count)


def test_windows_differ_between_epochs(cuts: list) -> None:
    plan = plan_batches(cuts, 1000.0, seed=5, crop=1.5)
    windows = []
    for batch in load_planned({"x": plan}, ["x"] * 2):
        windows.append(dict(zip(batch.ids, batch.audio)))
    assert not all(torch.equal(windows[0][name], windows[1][name]) for name in windows[0])


def test_a_cut_that_is_there_twice_is_heard_in_two_ways(cuts: list) -> None:
    dataset = MixtureDataset([*cuts, *cuts], crop=1.0, seed=3)
    alone = MixtureDataset(cuts, crop=1.0, seed=3)
    first, again = (dataset[0, range(k, k + len(cuts))] for k in (0, len(cuts)))
    assert same(first, alone[0, range(len(cuts))])
    assert first.ids == again.ids and not torch.equal(first.audio, again.audio)
    dataset.augment = Augmenter(AugmentConfig(speeds=[0.9, 1.0, 1.1]), 0)
    dataset.crop = None
    lens = [dataset[0, range(k, k + len(cuts))].audio_lens.tolist() for k in (0, len(cuts))]
    assert lens[0] != lens[1]


def test_another_seed_cannot_be_resumed(cuts: list) -> None:
    with pytest.raises(UmeError, match="--seed 1 differs"):
        plan_batches(cuts, 4.0, seed=1).load_state_dict({"seed": 0, "epoch": 0, "position": 0})


def test_sex_pairs(cuts: list) -> None:
    opposite, of_one_sex = filter_cuts(cuts, "opposite"), filter_cuts(cuts, "same")
    assert filter_cuts(cuts, "all") == cuts and len(opposite) + len(of_one_sex) == len(cuts)
    assert all(len({s.gender for s in cut.supervisions}) == 2 for cut in opposite)
    with pytest.raises(UmeError, match="give one of all, opposite, same"):
        filter_cuts(cuts, "both")
    with pytest.raises(UmeError, match="no cuts to train on"):
        plan_batches([], 4.0)


def test_manifests_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UmeError, match="the stage of mixtures makes it"):
        read_cuts(tmp_path / "cuts_train_max.jsonl.gz")
    for content in (b"junk", b""):
        (tmp_path / "cuts.jsonl").write_bytes(content)
        with pytest.raises(UmeError, match="cuts.jsonl"):
            read_cuts(tmp_path / "cuts.jsonl")


@pytest.fixture
def damaged(data: Path, tmp_path: Path) -> Tuple[Path, Path]:
    """A manifest of mixtures, and a file behind it that lost its second half."""
    corpus = read_json(data / "about.json")["root"]
    copy = Path(shutil.copytree(corpus, tmp_path / "a corpus"))
    prepare(CorpusConfig(corpus=str(copy), output=str(tmp_path / "data")))
    simulate(MixConfig(str(tmp_path / "data"), str(tmp_path / "mix"), 2, "train=12"))
    cuts = tmp_path / "mix" / "cuts_train_max.jsonl.gz"
    path = Path(read_cuts(cuts)[0].tracks[1].cut.recording.sources[0].source)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return cuts, path


@pytest.mark.parametrize("workers", [0, 1])
def test_audio_damaged_after_it_was_prepared_is_named(damaged, workers: int) -> None:
    cuts, path = damaged
    with pytest.raises(UmeError) as error:
        list(make_eval_loader(read_cuts(cuts), 12.0, workers))
    expected = f"{path} is missing or damaged; restore it, or prepare the corpus again"
    assert str(error.value) == expected
    with pytest.raises(UmeError) as error:
        load_audio(read_cuts(cuts)[0], mixed=False)
    assert str(error.value) == expected
    path.unlink()
    with pytest.raises(UmeError, match="is missing or damaged"):
        simulate(MixConfig(str(cuts.parents[1] / "data"), str(cuts.parents[1] / "x"), 2, "train=9"))
    assert not (cuts.parents[1] / "x").exists()
