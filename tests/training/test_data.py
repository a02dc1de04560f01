"""What a run draws in which step."""

from pathlib import Path
from typing import Any, List, Tuple

import pytest
import torch
from lhotse import MonoCut, SupervisionSegment

from ume.dataset.augment import AugmentConfig
from ume.dataset.mixtures import filter_cuts, read_cuts
from ume.errors import UmeError
from ume.training.data import TrainingData, make_phases, with_words

PHASES = make_phases(30, 4, 6)


def make(mixtures: Path, phases: Any = PHASES, **changes: Any) -> TrainingData:
    options = dict(
        parts=["train"],
        modes=["max", "part"],
        max_duration=6.0,
        asr_longest=None,
        crop=1.5,
        crop_share=0.5,
        phases=phases,
        seed=3,
        num_workers=0,
    )
    return TrainingData(str(mixtures), **{**options, **changes})


def draw(data: TrainingData, step: int = 0) -> List[Tuple[str, Any]]:
    """The one batch of each update."""
    return [(kind, batch) for kind, (batch,) in data.updates(step)]


def test_kinds_of_batches(mixtures: Path) -> None:
    data = make(mixtures)
    drawn = draw(data)
    assert [kind for kind, _ in drawn[:4]] == ["sources"] * 4 and len(drawn) == 30
    later = [kind for kind, _ in drawn[4:]]
    assert 6 < later.count("whole") < 20 and set(later) == {"whole", "windows"}
    for kind, batch in drawn:
        worded = [any(texts) for texts in batch.texts]
        if kind == "windows":
            assert batch.audio.shape[1] <= 1.5 * 16000
        else:
            assert all(worded) and batch.audio.numel() <= 6.0 * 16000
    cuts = [cut for path in mixtures.glob("cuts_train_*") for cut in read_cuts(path)]
    opposite = {cut.id for cut in filter_cuts(cuts, "opposite")}
    assert all(set(batch.ids) <= opposite for _, batch in drawn[4:10])
    assert any(set(batch.ids) - opposite for _, batch in drawn[10:])


def test_parts_are_used_together(mixtures: Path) -> None:
    seen = {
        name: {mixture for _, batch in draw(make(mixtures, parts=parts)) for mixture in batch.ids}
        for name, parts in (("one", ["test"]), ("both", ["train", "test"]))
    }
    test = {cut.id for path in mixtures.glob("cuts_test_*") for cut in read_cuts(path)}
    assert seen["one"] <= test and seen["both"] & test and seen["both"] - test


def test_going_on_gives_what_is_left(mixtures: Path) -> None:
    whole, first = draw(make(mixtures)), make(mixtures)
    for step, _ in enumerate(first.updates(0), 1):
        if step == 17:
            break
    second = make(mixtures, num_workers=1)
    second.load_state_dict(first.state_dict())
    left = draw(second, 17)
    assert [kind for kind, _ in left] == [kind for kind, _ in whole[17:]]
    assert all(torch.equal(a.audio, b.audio) for (_, a), (_, b) in zip(left, whole[17:]))


@pytest.mark.parametrize("share, kinds", [(0.0, {"whole"}), (1.0, {"windows"})])
def test_one_kind_alone(mixtures: Path, share: float, kinds: set) -> None:
    data = make(mixtures, make_phases(8, 0, 0), crop_share=share)
    assert {kind for kind, _ in data.updates(0)} == kinds


def test_without_windows_mixtures_are_whole_however_long(mixtures: Path) -> None:
    data = make(mixtures, make_phases(2, 0, 0), crop=None, max_duration=0.5)
    assert all(kind == "whole" and len(batch.ids) == 1 for kind, batch in draw(data))


def test_no_mixture_that_words_can_be_learned_from(mixtures: Path) -> None:
    with pytest.raises(UmeError, match="at most 0.5 s has words.*crop_share 1"):
        make(mixtures, max_duration=0.5)


def test_a_speaker_of_whom_a_turn_has_no_text_has_no_words() -> None:
    def cut(*texts):
        turns = [
            SupervisionSegment(f"{name}-{k}", "r", k, 1.0, text=text, speaker=name)
            for k, (name, text) in enumerate(texts)
        ]
        return MonoCut("c", 0.0, 4.0, 0, turns)

    known = cut(("ann", "YES"), ("bob", None), ("ann", "NO"))
    partly = cut(("ann", "YES"), ("bob", None), ("ann", None))
    assert with_words([known, partly], None) == [known]
    with pytest.raises(UmeError, match="no training mixture has words to learn"):
        with_words([partly], None)


def test_words_begin_with_short_mixtures(mixtures: Path) -> None:
    cuts = [cut for path in mixtures.glob("cuts_train_*") for cut in read_cuts(path)]
    lengths = sorted(cut.duration for cut in cuts if any(s.text for s in cut.supervisions))
    longest = lengths[len(lengths) // 2]
    drawn = draw(make(mixtures, make_phases(30, 15, 0), asr_longest=longest))
    samples = [batch.audio.shape[1] for _, batch in drawn]
    assert max(samples[:15]) <= longest * 16000 + 1 < max(samples[15:])
    with pytest.raises(UmeError, match="at most 0.1 s has words"):
        make(mixtures, asr_longest=0.1)


def test_no_batch_is_longer_for_being_slowed(mixtures: Path) -> None:
    cuts = [cut for path in mixtures.glob("cuts_train_*") for cut in read_cuts(path)]
    longest = max(cut.duration for cut in cuts if any(s.text for s in cut.supervisions))
    slow = AugmentConfig(speeds=[0.8])
    drawn = draw(make(mixtures, max_duration=longest, augment=slow, crop=1.0))
    assert {kind for kind, _ in drawn} == {"sources", "whole", "windows"}
    assert max(batch.audio.numel() for _, batch in drawn) <= longest * 16000 + 1


@pytest.mark.parametrize("accumulate, world", [(2, 1), (1, 2), (2, 2)])
def test_processes_and_accumulation_share_out_the_same_batches(mixtures, accumulate, world):
    group = accumulate * world
    alone = make(mixtures, accumulate=group)
    shares = [make(mixtures, accumulate=accumulate, rank=r, world=world) for r in range(world)]
    updates = [list(data.updates(0)) for data in (alone, *shares)]
    for whole, *parts in zip(*updates):
        together = [part[1][m].ids for m in range(accumulate) for part in parts]
        assert together == [batch.ids for batch in whole[1]] and len(together) == group
    assert alone.state_dict() == shares[0].state_dict()


def test_an_update_of_more_batches_than_an_epoch_has(mixtures: Path) -> None:
    with pytest.raises(UmeError, match="one update takes 500; lower accumulate"):
        next(make(mixtures, accumulate=500).updates(0))


def test_remixed_mixtures_are_of_the_same_kinds(mixtures: Path) -> None:
    data = make(mixtures, remix=True)
    drawn = draw(data)
    assert {kind for kind, _ in drawn} == {"sources", "whole", "windows"}
    for kind, batch in drawn:
        if kind != "windows":
            assert all(any(texts) for texts in batch.texts)
    static = {id for _, batch in draw(make(mixtures)) for id in batch.ids}
    assert {id for _, batch in drawn for id in batch.ids} - static
