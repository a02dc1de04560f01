"""Lhotse's samplers and saved tensors on either stack."""

from pathlib import Path
from typing import Any

import pytest
import torch

import ume.compat  # noqa: F401
from ume.compat import load_state
from ume.errors import UmeError


def test_lhotse_samplers_work() -> None:
    from lhotse import CutSet
    from lhotse.dataset.sampling import DynamicBucketingSampler, SimpleCutSampler
    from lhotse.testing.dummies import DummyManifest

    cuts = DummyManifest(CutSet, begin_id=0, end_id=12).to_eager()
    for sampler in (
        SimpleCutSampler(cuts, max_cuts=4),
        DynamicBucketingSampler(cuts, max_cuts=4, num_buckets=2),
    ):
        batches = list(sampler)
        assert sorted(cut.id for batch in batches for cut in batch) == sorted(cuts.ids)
        assert max(len(batch) for batch in batches) <= 4


def test_samplers_of_torch_still_work() -> None:
    data = list(range(6))
    assert list(torch.utils.data.SequentialSampler(data)) == data
    assert sorted(torch.utils.data.RandomSampler(data)) == data
    assert len(list(torch.utils.data.DataLoader(data, batch_size=4, shuffle=True))) == 2


def test_load_state_gives_back_tensors(tmp_path: Path) -> None:
    state = {"a": torch.arange(3), "b": {"c": torch.rand(2, 2, dtype=torch.float64)}}
    torch.save(state, tmp_path / "state.pt")
    loaded = load_state(tmp_path / "state.pt")
    assert torch.equal(loaded["a"], state["a"])
    assert torch.equal(loaded["b"]["c"], state["b"]["c"])


class Evil:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_load_state_executes_nothing(tmp_path: Path) -> None:
    torch.save({"a": Evil(tmp_path / "evil")}, tmp_path / "state.pt")
    with pytest.raises(UmeError, match="state.pt"):
        load_state(tmp_path / "state.pt")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("keep", [0, 4, 100, -50])
def test_truncated_state_is_one_line(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "state.pt"
    torch.save({"a": torch.rand(100)}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UmeError, match="state.pt is truncated") as error:
        load_state(path)
    assert "\n" not in str(error.value)


def test_missing_state(tmp_path: Path) -> None:
    with pytest.raises(UmeError, match="none.pt does not exist"):
        load_state(tmp_path / "none.pt")
