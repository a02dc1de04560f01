"""Tests of what a result is said to be made with."""

import sys
from types import SimpleNamespace

from ume.environment import environment


def test_gpus_are_named_where_torch_is_at_work(monkeypatch):
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_name=lambda index: ("A100", "H200")[index],
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert environment()["gpus"] == ["A100", "H200"]


def test_torch_is_not_loaded_to_look_for_gpus(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert environment()["gpus"] == []
    assert "torch" not in sys.modules
