"""Configurations of the full recipe: options that exist, published sizes, runs, and their costs."""

from dataclasses import asdict
from pathlib import Path
from typing import List

import pytest
import torch
import yaml
from torch import nn
from torch.overrides import TorchFunctionMode

from tests.bench.cost import CONF, Experiment, experiments, load
from ume.__main__ import main as ume
from ume.decoding.lang import Config as LangConfig
from ume.decoding.lang import main as prepare_lang
from ume.files import read_json
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate
from ume.models.ume import TASKS, UME
from ume.nn.encoders import EncoderConfig, build_encoder, build_foundation_decoder

UME_CONFS = sorted(path.stem for path in CONF.glob("ume_*.yaml"))


class OnMeta(TorchFunctionMode):
    """Parameters without memory; torch 1.13 has no ``with torch.device("meta")``."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.empty:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


def millions(module: nn.Module) -> float:
    """Values of a module, its fixed tables as well, which published sizes count."""
    return sum(value.numel() for value in module.state_dict().values()) / 1e6


def encoder_of(conf: str) -> EncoderConfig:
    return load(Experiment(conf, "", 2)).model.encoder


@pytest.mark.parametrize(
    "conf, published",
    [("ume_whisper_base", 20.6), ("ume_whisper_small", 88.2), ("ume_owsm_medium", 560.8)],
)
def test_encoders_have_the_published_sizes(conf: str, published: float) -> None:
    with OnMeta():
        assert millions(build_encoder(encoder_of(conf))) == pytest.approx(published, abs=0.06)


@pytest.mark.parametrize(
    "conf, published",
    [
        ("ume_whisper_base", 72.6),  # "74 M" counts Hugging Face's and OpenAI's in another way
        ("ume_whisper_small", 241.7),
        ("ume_owsm_base", 101),
        ("ume_owsm_small", 367),
        ("ume_owsm_medium", 1017),
    ],
)
def test_whole_models_have_the_published_sizes(conf: str, published: float) -> None:
    config = encoder_of(conf)
    with OnMeta():
        encoder, decoder = build_encoder(config), build_foundation_decoder(config)
        size = millions(encoder) + millions(decoder)
        if config.kind == "e-branchformer":  # OWSM has a CTC layer on top
            size += millions(nn.Linear(encoder.width, config.owsm_decoder.vocab_size))
    assert size == pytest.approx(published, rel=0.002)


def test_systems_differ_in_their_encoder_alone() -> None:
    configs = [asdict(load(Experiment(conf, "", 2))) for conf in UME_CONFS]
    encoders = [config["model"].pop("encoder") for config in configs]
    assert len(UME_CONFS) == 5 and all(config == configs[0] for config in configs)
    assert len({str(encoder) for encoder in encoders}) == 5
    separation, asr = configs[0]["model"]["separation"], configs[0]["model"]["asr"]
    sizes = ("num_filters", "kernel", "stride", "bottleneck", "hidden", "taps", "blocks", "repeats")
    assert [separation[name] for name in sizes] == [512, 32, 16, 128, 512, 3, 8, 3]
    layers = [asr[f"{name}_layers"] for name in ("differentiating", "shared", "decoder")]
    assert layers == [4, 8, 6] and asr["differentiate_by"] == "encoders"


@pytest.mark.parametrize("experiment", experiments(), ids=str)
def test_every_experiment_can_be_built(experiment: Experiment) -> None:
    config = load(experiment)
    with OnMeta():
        model = UME(config.model)
    name = experiment.overlay or experiment.conf
    alone = {"conv_tasnet": "separation", "eend": "diarization", "pit_asr": "asr"}
    alone["asr_first"] = "asr"
    assert model.answers() == ([alone[name]] if name in alone else list(TASKS))
    assert len(model.asr.differentiating) == (
        1 if experiment.conf == "conv_tasnet" else experiment.speakers
    )
    if name == "conv_tasnet" and experiment.speakers == 2:
        assert millions(model.separation) == pytest.approx(5.1, abs=0.05)  # Luo and Mesgarani


def test_an_unknown_option_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "conf.yaml"
    conf.write_text("model: {separation: {kernels: 32}}\n")
    options = ["--config", str(conf), "--exp", "e", "--data", "d", "--lang", "l"]
    assert ume(["train", *options]) == 1
    assert "kernels" in capsys.readouterr().err


def test_the_page_of_costs_has_every_experiment(root: Path) -> None:
    lines = (root / "docs" / "cost.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line[:1] == "|"]
    for experiment in experiments():
        expected = [experiment.conf, experiment.overlay, str(experiment.speakers)]
        assert expected in rows, f"{expected}: run tests/bench/cost.py --publish docs/cost.md"


SMALL = {
    "model": {
        "encoder": {
            "e_branchformer": dict(
                num_layers=2, width=16, num_heads=2, feed_forward=32, gating=32, kernel=7
            ),
            "whisper": dict(width=16, num_heads=2, encoder_layers=2),
        },
        "separation": dict(num_filters=16, bottleneck=8, hidden=8, blocks=2, repeats=1),
        "asr": dict(
            width=16,
            num_heads=2,
            inner=32,
            kernel=7,
            differentiating_layers=1,
            shared_layers=1,
            decoder_layers=1,
        ),
    },
    "precision": "float32",
    "steps": 2,
    "accumulate": 1,
    "max_duration": 6,
    "valid_every": 1,
    "valid_mixtures": 1,
    "save_every": 1,
    "average_every": 1,
    "log_every": 1,
    "num_workers": 0,
    "num_threads": 1,
}


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mixtures, a lang folder, and options that make everything small."""
    made = tmp_path_factory.mktemp("librimix")
    simulate(SimulateConfig(str(data), str(made / "mix"), 2, "train=12 dev=2"))
    prepare_lang(LangConfig([str(data / "text_train")], str(made / "lang")))
    (made / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return made


def train(folder: Path, exp: Path, conf: str, overlay: str, speakers: int, *options: str) -> None:
    """``ume train``, as the recipe calls it, of a small model."""
    overlays = [CONF / "overlays" / f"{overlay}.yaml"] if overlay else []
    given = [str(path) for path in (CONF / f"{conf}.yaml", *overlays, folder / "small.yaml")]
    command: List[str] = [word for path in given for word in ("--config", path)]
    command += ["--data", str(folder / "mix"), "--lang", str(folder / "lang")]
    command += ["--model.num_speakers", str(speakers), "--exp", str(exp), *options]
    assert ume(["train", *command]) == 0


@pytest.mark.parametrize(
    "conf, overlay, speakers",
    [("conv_tasnet", "", 2), ("ume_owsm_base", "eend", 2), ("ume_whisper_base", "", 2)],
)
def test_it_trains(folder: Path, tmp_path: Path, conf: str, overlay: str, speakers: int) -> None:
    train(folder, tmp_path, conf, overlay, speakers)
    record = read_json(tmp_path / "train.json")
    assert (record["steps"], record["skipped_steps"]) == (2, 0)


def test_three_streams_start_from_words(folder: Path, tmp_path: Path) -> None:
    first, exp = tmp_path / "first", tmp_path / "exp"
    train(folder, first, "ume_owsm_base", "asr_first", 3)
    train(folder, exp, "ume_owsm_base", "", 3, "--initialize_from", str(first))
    assert read_json(exp / "train.json")["steps"] == 2
