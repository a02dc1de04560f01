"""Checkpoints have icefall's keys and names, and icefall averages them as we do."""

from pathlib import Path
from typing import Dict

import pytest
import torch
from torch import Tensor

from ume.compat import load_state
from ume.decoding.lang import Config as LangConfig
from ume.decoding.lang import main as prepare_lang
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate
from ume.models.ume import UME, LossConfig, UMEConfig
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig
from ume.nn.separation import SeparationConfig
from ume.training.average import mean, mean_of_last
from ume.training.checkpoint import load_checkpoint
from ume.training.train import Config, main

MODEL = UMEConfig(
    encoder=EncoderConfig("e-branchformer", e_branchformer=EBranchformerSize(1, 16, 2, 16, 16, 7)),
    separation=SeparationConfig(hidden=8, bottleneck=8, blocks=2, repeats=1),
    asr=RecogniserConfig("encoders", 16, 2, 16, 7, 1, 1),
    loss=LossConfig(diarization=1.0, separation=0.0, asr=0.0),
)
STEPS = (4, 8)


@pytest.fixture(scope="module")
def exp(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps, every second of which enters the mean."""
    folder = tmp_path_factory.mktemp("icefall")
    simulate(SimulateConfig(str(data), str(folder / "mix"), 2, "train=12 dev=2"))
    prepare_lang(LangConfig([str(data / "text_train")], str(folder / "lang")))
    options = dict(
        steps=8, crop=1.0, crop_share=1.0, max_duration=2.0, valid_every=8, valid_mixtures=1,
        save_every=4, average_every=2, average_last=0.5, num_workers=0, num_threads=1,
    )  # fmt: skip
    main(Config(str(folder / "exp"), str(folder / "mix"), str(folder / "lang"), MODEL, **options))
    return folder / "exp"


def assert_equal(ours: Dict[str, Tensor], theirs: Dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name].to(value.dtype), msg=name)


def test_names_and_keys_are_icefalls(exp: Path, golden: Path) -> None:
    keys = (golden / "checkpoint_keys.txt").read_text().split()
    for name in [*(f"checkpoint-{step}.pt" for step in STEPS), "best-valid-loss.pt"]:
        state = load_state(exp / name)
        assert set(keys) <= set(state)
        assert not any(name.startswith("module.") for name in state["model"])
    assert [load_checkpoint(exp / f"checkpoint-{n}.pt")["batch_idx_train"] for n in STEPS] == [4, 8]


def test_the_mean_is_that_of_icefalls_weights(exp: Path) -> None:
    """Running means weighted by ``batch_idx_train`` give what our count of models gives."""
    (start, first), (end, last) = (
        (n, load_checkpoint(exp / f"checkpoint-{n}.pt")["model_avg"]) for n in STEPS
    )
    expected = {
        name: (value * end - first[name] * start) / (end - start) for name, value in last.items()
    }
    assert_equal(mean_of_last(exp, 8, 0.5), expected)


def test_icefall_finds_and_loads(icefall: None, exp: Path) -> None:
    from icefall.checkpoint import find_checkpoints
    from icefall.checkpoint import load_checkpoint as load

    paths = [str(exp / f"checkpoint-{step}.pt") for step in STEPS]
    assert find_checkpoints(exp) == paths[::-1]
    assert find_checkpoints(exp, iteration=-4) == paths[:1]
    ours = load_checkpoint(paths[1])
    config = UMEConfig(**{**vars(MODEL), "vocab_size": len(ours["model"]["asr.output.bias"])})
    model, averaged = UME(config), UME(config)
    optimizer = torch.optim.AdamW(model.parameters())
    rest = load(paths[1], model, model_avg=averaged, strict=True)
    assert rest["batch_idx_train"] == 8 and "model" not in rest
    assert_equal(model.state_dict(), ours["model"])
    assert_equal(averaged.state_dict(), ours["model_avg"])
    assert optimizer.state_dict().keys() == rest["optimizer"].keys()


def test_icefall_averages_as_we_do(icefall: None, exp: Path) -> None:
    from icefall.checkpoint import average_checkpoints, average_checkpoints_with_averaged_model

    paths = [exp / f"checkpoint-{step}.pt" for step in STEPS]
    assert_equal(
        mean([load_checkpoint(path)["model"] for path in paths]), average_checkpoints(paths)
    )
    assert_equal(mean_of_last(exp, 8, 0.5), average_checkpoints_with_averaged_model(*paths))
