"""Several processes train as one process does that takes their batches in turn."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from ume.decoding.lang import Config as LangConfig
from ume.decoding.lang import main as prepare_lang
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate
from ume.training.checkpoint import load_checkpoint
from ume.training.processes import Processes

PROGRAM = """
import sys, torch
torch.set_default_dtype(torch.float64)
from ume.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
STEPS = 50


@pytest.fixture(scope="module")
def options(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("processes")
    simulate(SimulateConfig(str(data), str(folder / "mix2"), 2, "train=40 dev=2"))
    prepare_lang(LangConfig([str(data / "text_train")], str(folder / "char")))
    size = dict(num_layers=2, width=16, num_heads=2, feed_forward=32, gating=32, kernel=7)
    return dict(
        data=str(folder / "mix2"), lang=str(folder / "char"),
        model=dict(
            encoder=dict(kind="e-branchformer", e_branchformer=dict(size, dropout=0.0)),
            separation=dict(hidden=16, bottleneck=8, blocks=3, repeats=1),
            asr=dict(width=16, num_heads=2, inner=32, kernel=7, shared_layers=1, dropout=0.0),
        ),
        steps=STEPS, max_duration=4.0, crop=1.0, valid_every=20, valid_mixtures=2, save_every=30,
        log_every=1, warmup=5, num_workers=0, num_threads=1,
    )  # fmt: skip


def test_a_figure_that_only_some_processes_have_is_the_mean_of_theirs(monkeypatch):
    every = [{"loss": 1.0, "words": 3.0}, {"loss": 2.0}]
    monkeypatch.setattr(Processes, "gather", lambda self, value: every)
    for rank, own in enumerate(every):
        found = Processes(rank, 2, torch.device("cpu")).mean(own)
        assert found == {"loss": 1.5, "words": 3.0}


def train(options: dict, folder: Path, processes: int, accumulate: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(PROGRAM)
    (folder / "options.yaml").write_text(yaml.safe_dump(dict(options, accumulate=accumulate)))
    torchrun = ["-m", "ume", "torchrun", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *torchrun * (processes > 1), str(folder / "program.py"), "train"]
    subprocess.run(
        [*command, "--config", str(folder / "options.yaml"), "--exp", str(folder / "exp")],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )


def losses(folder: Path) -> list:
    lines = [json.loads(line) for line in (folder / "exp/metrics.jsonl").read_text().splitlines()]
    return [line["train/loss"] for line in lines if "train/loss" in line]


def test_two_processes_are_one_that_accumulates_and_go_on_where_they_were(options, tmp_path):
    train(options, tmp_path / "one", 1, 2)
    train(options, tmp_path / "two", 2, 1)
    ours, theirs = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(ours) == STEPS and ours[0] != ours[-1]
    assert ours == pytest.approx(theirs, abs=1e-6)

    exp = tmp_path / "two/exp"
    before = load_checkpoint(exp / f"checkpoint-{STEPS}.pt")
    for path in (exp / f"checkpoint-{STEPS}.pt", exp / "checkpoint-45.pt", exp / "train.json"):
        path.unlink()  # as if killed after step 30
    train(options, tmp_path / "two", 2, 1)
    after = load_checkpoint(exp / f"checkpoint-{STEPS}.pt")
    for key in ("model", "model_avg"):
        assert all(torch.equal(after[key][name], value) for name, value in before[key].items())
    assert after["sampler"] == before["sampler"]


def test_another_number_of_processes_does_not_go_on(options, tmp_path):
    train(dict(options, steps=4), tmp_path, 1, 2)
    (tmp_path / "exp/train.json").unlink()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        train(dict(options, steps=4), tmp_path, 2, 2)
    assert "was trained by 1 processes and now there are 2" in caught.value.stderr
