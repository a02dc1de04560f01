"""Training: a killed run goes on to the same weights; records; averaging; bad input."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from ume.decoding.lang import Config as LangConfig
from ume.decoding.lang import main as prepare_lang
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate
from ume.models.files import load_model
from ume.models.ume import LossConfig, SeparationConfig, UMEConfig
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig
from ume.training.average import Config as AverageConfig
from ume.training.average import main as average
from ume.training.checkpoint import find_checkpoints, load_checkpoint
from ume.training.train import Config, main


@pytest.fixture(scope="module")
def mixtures(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mix") / "mix2"
    simulate(SimulateConfig(str(data), str(folder), 2, "train=12 dev=4"))
    return folder


@pytest.fixture(scope="module")
def lang(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lang") / "char"
    prepare_lang(LangConfig([str(data / "text_train")], str(folder)))
    return folder


def config(mixtures: Path, lang: Path, exp: Path, **changes: object) -> Config:
    size = EBranchformerSize(2, 16, 2, 32, 32, 7)
    model = UMEConfig(
        num_speakers=read_json(mixtures / "about.json")["num_speakers"],
        encoder=EncoderConfig("e-branchformer", e_branchformer=size),
        separation=SeparationConfig(hidden=16, bottleneck=8, blocks=3, repeats=1),
        asr=RecogniserConfig("voices", 16, 2, 32, 7, 1, 1),
        loss=LossConfig(),
    )
    options = dict(
        steps=6,
        max_duration=6.0,
        crop=2.0,
        valid_every=2,
        valid_mixtures=2,
        save_every=2,
        keep=9,
        average_every=1,
        average_last=0.5,
        log_every=1,
        warmup=2,
        num_workers=0,
        num_threads=1,
        asr_steps=1,
        guide_steps=4,
        opposite_sex_steps=2,
        valid_mode="max",
    )
    return Config(str(exp), str(mixtures), str(lang), model, **{**options, **changes})


def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(mixtures, lang, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed run"
    main(config(mixtures, lang, whole))
    main(config(mixtures, lang, killed))
    for step, path in find_checkpoints(killed):  # as if killed in step 4, past two validations
        if step > 2:
            path.unlink()
    (killed / "train.json").unlink()
    (killed / "metrics.jsonl").open("a").write('{"step": 3, "half a li')
    main(config(mixtures, lang, killed, num_workers=1))
    ours, theirs = (load_checkpoint(folder / "checkpoint-6.pt") for folder in (killed, whole))
    for key in ("model", "model_avg"):
        assert all(torch.equal(ours[key][name], value) for name, value in theirs[key].items())
    assert torch.equal(ours["rng"], theirs["rng"]) and ours["sampler"] == theirs["sampler"]
    assert ours["best_loss"] == theirs["best_loss"]
    curves = [(folder / "metrics.jsonl").read_text() for folder in (killed, whole)]
    assert curves[0] == curves[1] and [json.loads(line) for line in curves[0].splitlines()]


def test_the_experiment_folder_says_how_it_was_made_and_averages(mixtures, lang, tmp_path):
    exp = tmp_path / "exp"
    given = config(mixtures, lang, exp)
    main(given)
    written = yaml.safe_load((exp / "config.yaml").read_text())
    assert written["steps"] == 6 and written["model"]["separation"]["hidden"] == 16
    assert (exp / "command.sh").exists() and read_json(exp / "env.json")["versions"]["torch"]
    record = read_json(exp / "train.json")
    assert record["steps"] == 6 and record["skipped_steps"] == 0
    weights = read_json(exp / "layer_weights.json")
    assert all(sum(w) == pytest.approx(1, abs=1e-5) for w in weights.values())
    lines = [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]
    assert {line["step"] for line in lines} == set(range(1, 7))
    assert any("valid/der" in line and "valid/si_sdri" in line for line in lines)
    average(AverageConfig(str(exp)))
    model = load_model(exp)
    parts = [load_checkpoint(exp / f"checkpoint-{step}.pt")["model"] for step in (4, 6)]
    name = "asr.output.weight"
    ours = model.state_dict()[name]
    assert (exp / "bpe.model").exists()
    # the mean of the models after steps 4, 5 and 6; 5 is not kept, but what is left of it must fit
    middle = 3 * ours - parts[0][name] - parts[1][name]
    spread = (parts[0][name] - parts[1][name]).abs().max()
    assert ((middle - parts[0][name]).abs().max()) < 2 * spread + 1e-6


def test_another_configuration_in_the_same_folder_is_refused(mixtures, lang, tmp_path):
    main(config(mixtures, lang, tmp_path, steps=2))
    with pytest.raises(UmeError, match="other values of rate"):
        main(config(mixtures, lang, tmp_path, steps=2, rate=0.5))


def test_training_before_its_inputs_exist_names_the_step(mixtures, lang, tmp_path):
    with pytest.raises(UmeError, match="prepare_lang"):
        main(config(mixtures, tmp_path / "none", tmp_path / "a"))
    with pytest.raises(UmeError, match="simulate"):
        main(Config(str(tmp_path / "b"), str(tmp_path / "none"), str(lang)))
    with pytest.raises(UmeError, match="steps/train.sh"):
        average(AverageConfig(str(tmp_path / "c")))
