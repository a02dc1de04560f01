"""Checkpoints: read without executing code; running means; the schedule."""

import pickle

import pytest
import torch
from torch import nn

from ume.errors import UmeError
from ume.training.checkpoint import (
    average_between,
    find_checkpoints,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    update_average,
)
from ume.training.schedule import parameter_groups, rate_at


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=(0.8, 0.9))
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": 7,
        "loss": 0.25,
        "best": float("inf"),
    }
    save_checkpoint(tmp_path / "checkpoint-7.pt", state)
    again = load_checkpoint(tmp_path / "checkpoint-7.pt")
    assert again["step"] == 7 and again["loss"] == 0.25 and again["best"] == float("inf")
    other = torch.optim.AdamW(nn.Linear(3, 2).parameters(), lr=0.5)
    other.load_state_dict(again["optimizer"])
    assert other.param_groups[0]["lr"] == 0.1
    moments = [o.state_dict()["state"][0]["exp_avg"] for o in (optimizer, other)]
    assert torch.equal(*moments)


def test_a_truncated_checkpoint_is_one_line(tmp_path):
    path = tmp_path / "checkpoint-1.pt"
    path.write_bytes(pickle.dumps({"model": 1})[:5])
    with pytest.raises(UmeError, match="checkpoint-1.pt is truncated"):
        load_checkpoint(path)


def test_checkpoints_are_found_by_their_step(tmp_path):
    for name in ("checkpoint-10.pt", "checkpoint-9.pt", "checkpoint-x.pt", "best-valid-loss.pt"):
        (tmp_path / name).touch()
    assert [step for step, _ in find_checkpoints(tmp_path)] == [9, 10]
    assert latest_checkpoint(tmp_path).name == "checkpoint-10.pt"
    assert latest_checkpoint(tmp_path / "none") is None


def test_the_mean_between_two_checkpoints_is_the_mean_of_the_models_between():
    models = [{"w": torch.randn(4, dtype=torch.double), "n": torch.tensor(k)} for k in range(6)]
    average = {"w": torch.zeros(4, dtype=torch.double), "n": torch.tensor(0)}
    kept = {}
    for count, model in enumerate(models, start=1):
        update_average(average, model, count)
        kept[count] = {name: value.clone() for name, value in average.items()}
    mean = average_between(kept[2], 2, kept[6], 6)
    torch.testing.assert_close(mean["w"], torch.stack([m["w"] for m in models[2:]]).mean(dim=0))
    assert mean["n"] == 5
    with pytest.raises(UmeError):
        average_between(kept[2], 2, kept[2], 2)


def test_the_rate_warms_up_and_decays():
    rates = [rate_at(step, 100, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1
    assert all(a >= b for a, b in zip(rates[10:], rates[11:]))
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)


def test_every_parameter_is_in_one_group():
    model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    groups = parameter_groups(model, 1e-4, 1e-3, 0.01)
    assert sum(len(group["params"]) for group in groups) == 4
    for group in groups:
        for parameter in group["params"]:
            is_encoder = any(parameter is p for p in model["encoder"].parameters())
            assert group["lr"] == (1e-4 if is_encoder else 1e-3)
            assert group["weight_decay"] == (0.01 if parameter.ndim > 1 else 0)
