"""What a run draws in which step."""

from pathlib import Path
from typing import Any, List, Tuple

import pytest
import torch

from ume.dataset.mixtures import filter_cuts, read_cuts
from ume.errors import UmeError
from ume.training.data import TrainingData, make_phases

PHASES = make_phases(30, 4, 6)


def make(mixtures: Path, phases: Any = PHASES, **changes: Any) -> TrainingData:
    options = dict(
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


def test_kinds_of_batches(mixtures: Path) -> None:
    data = make(mixtures)
    drawn = list(data.batches(0))
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


def test_going_on_gives_what_is_left(mixtures: Path) -> None:
    whole, first = list(make(mixtures).batches(0)), make(mixtures)
    for step, _ in enumerate(first.batches(0), 1):
        if step == 17:
            break
    second = make(mixtures, num_workers=1)
    second.load_state_dict(first.state_dict())
    left: List[Tuple[str, Any]] = list(second.batches(17))
    assert [kind for kind, _ in left] == [kind for kind, _ in whole[17:]]
    assert all(torch.equal(a.audio, b.audio) for (_, a), (_, b) in zip(left, whole[17:]))


@pytest.mark.parametrize("share, kinds", [(0.0, {"whole"}), (1.0, {"windows"})])
def test_one_kind_alone(mixtures: Path, share: float, kinds: set) -> None:
    data = make(mixtures, make_phases(8, 0, 0), crop_share=share)
    assert {kind for kind, _ in data.batches(0)} == kinds


def test_without_windows_mixtures_are_whole_however_long(mixtures: Path) -> None:
    data = make(mixtures, make_phases(2, 0, 0), crop=None, max_duration=0.5)
    assert all(kind == "whole" and len(batch.ids) == 1 for kind, batch in data.batches(0))


def test_no_mixture_that_words_can_be_learned_from(mixtures: Path) -> None:
    with pytest.raises(UmeError, match="at most 0.5 s has words.*crop_share 1"):
        make(mixtures, max_duration=0.5)


def test_words_begin_with_short_mixtures(mixtures: Path) -> None:
    cuts = [cut for path in mixtures.glob("cuts_train_*") for cut in read_cuts(path)]
    lengths = sorted(cut.duration for cut in cuts if any(s.text for s in cut.supervisions))
    longest = lengths[len(lengths) // 2]
    drawn = list(make(mixtures, make_phases(30, 15, 0), asr_longest=longest).batches(0))
    samples = [batch.audio.shape[1] for _, batch in drawn]
    assert max(samples[:15]) <= longest * 16000 + 1 < max(samples[15:])
    with pytest.raises(UmeError, match="at most 0.1 s has words"):
        make(mixtures, asr_longest=0.1)
