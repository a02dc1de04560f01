"""Dynamic mixing: new groups of the same sources, by the rules of the static mixtures."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ume.dataset.loader import load_planned, plan_batches
from ume.dataset.mixtures import load_example, num_samples, read_cuts, tracks_of
from ume.mixing.remix import Plan, Remixer
from ume.mixing.simulate import Config
from ume.mixing.simulate import main as simulate


@pytest.fixture(scope="module")
def cuts(mixtures: Path) -> list:
    return read_cuts(mixtures / "cuts_train_max.jsonl.gz")


def test_an_epoch_deals_every_source_once_per_mode_and_speakers_differ(cuts):
    remixer = Remixer(cuts, ["max", "part"], seed=0)
    plans = remixer.plans(0)
    assert len(plans) == 2 * len(cuts)
    for mode in ("max", "part"):
        used = Counter(s for plan in plans if plan.mode == mode for s in plan.sources)
        assert sum(used.values()) == sum(remixer.sizes) and max(used.values()) <= 2
    for plan, size in zip(plans, 2 * remixer.sizes, strict=True):
        assert len({remixer.speakers[source] for source in plan.sources}) == size


def test_groups_are_of_the_sizes_of_the_mixtures(data: Path, tmp_path: Path) -> None:
    simulate(Config(str(data), str(tmp_path / "both"), "2,3", "train=7"))
    remixer = Remixer(read_cuts(tmp_path / "both" / "cuts_train_max.jsonl.gz"), ["max"], seed=0)
    assert [len(plan.sources) for plan in remixer.plans(0)] == [2, 3, 2, 3, 2, 3, 2]


def test_epochs_and_seeds_differ_and_the_same_are_the_same(cuts):
    first = Remixer(cuts, ["max"], seed=0)
    assert first.plans(3) == Remixer(cuts, ["max"], seed=0).plans(3)
    assert first.plans(3) != first.plans(4)
    assert first.plans(3) != Remixer(cuts, ["max"], seed=1).plans(3)


@pytest.mark.parametrize("mode", ["max", "min", "part"])
def test_what_is_made_of_a_static_mixture_s_plan_is_that_mixture(mixtures, cuts, mode):
    remixer = Remixer(cuts, [mode], seed=0)
    static = read_cuts(mixtures / f"cuts_train_{mode}.jsonl.gz")[1]
    starts = tuple(round(track.offset * 16000) for track in tracks_of(static))
    size = remixer.sizes[0]
    sources = tuple(range(size, 2 * size))
    plan = Plan(mode, sources, starts, num_samples(static))
    made = remixer.cut(plan)
    assert made.id == static.id and num_samples(made) == plan.num_samples
    ours, theirs = load_example(made), load_example(static)
    assert np.array_equal(ours.audio, theirs.audio)
    assert np.array_equal(ours.sources, theirs.sources)
    assert np.array_equal(ours.activity, theirs.activity)
    assert ours.texts == theirs.texts


def test_lengths_are_foretold(cuts):
    remixer = Remixer(cuts, ["max", "min", "part"], seed=5)
    for plan in remixer.plans(0)[::5]:
        assert num_samples(remixer.cut(plan)) == plan.num_samples


def test_only_what_is_asked_for(cuts):
    everything = Remixer(cuts, ["max", "min"], seed=0).plans(0)
    remixer = Remixer(cuts, ["max", "min"], seed=0, opposite_sex=True, words=True, longest=4.0)
    plans = remixer.plans(0)
    assert 0 < len(plans) < len(everything) and set(plans) <= set(everything)
    for plan in plans:
        cut = remixer.cut(plan)
        assert plan.mode == "max" and cut.duration <= 4.0
        assert {supervision.gender for supervision in cut.supervisions} == {"F", "M"}


def test_a_loader_has_new_mixtures_every_epoch_and_goes_on_where_it_was(cuts):
    plan = plan_batches(Remixer(cuts, ["max"], seed=0), 8.0)
    sizes = [len(plan.batches(epoch)) for epoch in range(2)]
    heard = []
    for batch in load_planned({"x": plan}, ["x"] * sum(sizes), num_workers=1):
        heard.append(batch.ids)
        if len(heard) == sizes[0] + 2:
            state = plan.state_dict()
    assert plan.epoch == 2 and state["epoch"] == 1
    first, second = heard[: sizes[0]], heard[sizes[0] :]
    assert sorted(sum(first, [])) != sorted(sum(second, []))
    again = plan_batches(Remixer(cuts, ["max"], seed=0), 8.0)
    again.load_state_dict(state)
    left = load_planned({"x": again}, ["x"] * (sizes[1] - 2))
    assert [batch.ids for batch in left] == second[2:]
