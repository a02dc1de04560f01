"""Training: a killed run goes on to the same weights; records; averaging; bad input."""

import dataclasses
import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from ume.compat import CPU_AUTOCAST, load_state
from ume.dataset.augment import AugmentConfig
from ume.dataset.tokenizer import Tokenizer
from ume.decoding.lang import Config as LangConfig
from ume.decoding.lang import main as prepare_lang
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate
from ume.models.files import load_model, shapes
from ume.models.ume import TASKS, LossConfig, UMEConfig
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig
from ume.nn.separation import SeparationConfig
from ume.training.checkpoint import find_checkpoints, load_checkpoint
from ume.training.processes import join
from ume.training.schedule import SCHEDULES, rate_at
from ume.training.train import Config, UMETask, check, main
from ume.training.trainer import Trainer


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


def make_trainer(given: Config) -> Trainer:
    return Trainer(given, join(), partial(UMETask, given))


@pytest.mark.parametrize(
    "changes", [{}, {"remix": True, "augment": AugmentConfig(speeds=[0.9, 1.0, 1.1])}]
)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    changes, mixtures, lang, tmp_path
):
    whole, killed = tmp_path / "whole", tmp_path / "killed run"
    main(config(mixtures, lang, whole, **changes))
    main(config(mixtures, lang, killed, **changes))
    plans = load_checkpoint(killed / "checkpoint-2.pt")["sampler"].values()
    assert any(plan["position"] > 0 for plan in plans)  # in the middle of an epoch
    for step, path in find_checkpoints(killed):  # as if killed in step 4, past two validations
        if step > 2:
            path.unlink()
    (killed / "train.json").unlink()
    (killed / "metrics.jsonl").open("a").write('{"step": 3, "half a li')
    main(config(mixtures, lang, killed, num_workers=1, **changes))
    ours, theirs = (load_checkpoint(folder / "checkpoint-6.pt") for folder in (killed, whole))
    for key in ("model", "model_avg"):
        assert all(torch.equal(ours[key][name], value) for name, value in theirs[key].items())
    assert torch.equal(ours["rng"][0][0], theirs["rng"][0][0])
    assert ours["sampler"] == theirs["sampler"]
    assert ours["best"] == theirs["best"] and ours["stale"] == theirs["stale"]
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
    model = load_model(exp)
    name = "asr.output.weight"
    ours = model.state_dict()[name]
    assert (exp / "bpe.model").exists()
    kept = {step: load_checkpoint(exp / f"checkpoint-{step}.pt") for step in (3, 6)}
    means = {step: state["model_avg"][name] for step, state in kept.items()}
    expected = (6 * means[6] - 3 * means[3]) / 3  # of the models after steps 4, 5 and 6
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-6)
    assert not torch.allclose(ours, kept[6]["model"][name], rtol=0, atol=1e-5)


def test_the_mean_can_be_of_all_models(mixtures, lang, tmp_path):
    main(config(mixtures, lang, tmp_path, steps=4, average_last=1.0))
    last = load_checkpoint(tmp_path / "checkpoint-4.pt")
    name = "asr.output.weight"
    assert last["averaged"] == 4
    torch.testing.assert_close(load_model(tmp_path).state_dict()[name].double(),
                               last["model_avg"][name], rtol=0, atol=1e-7)  # fmt: skip


def test_a_command_that_has_nothing_left_to_train_does_not_call_the_run_its_own(
    mixtures, lang, tmp_path, monkeypatch
):
    given = config(mixtures, lang, tmp_path, steps=2)
    main(given)
    files = {name: (tmp_path / name).read_bytes() for name in ("command.sh", "model.safetensors")}
    (tmp_path / "model.safetensors").unlink()
    monkeypatch.setattr("sys.argv", ["ume", "train", "--something", "else"])
    main(given)
    assert all((tmp_path / name).read_bytes() == content for name, content in files.items())


def test_the_checkpoint_that_the_mean_begins_with_is_kept(mixtures, lang, tmp_path):
    main(config(mixtures, lang, tmp_path, keep=1, save_every=1))
    assert [step for step, _ in find_checkpoints(tmp_path)] == [3, 6]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_and_guides_follow_the_plan(schedule, mixtures, lang, tmp_path):
    given = config(mixtures, lang, tmp_path, asr_steps=2, guide_steps=2, rate=1e-3)
    given.schedule = schedule
    given.encoder_rate = 1e-4
    main(given)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = [line["train/rate"] for line in lines if "train/rate" in line]
    shares = [rate_at(step, last, 2, schedule) for last in (2, 4) for step in range(last)]
    assert rates == pytest.approx([1e-3 * share for share in shares])
    trainer = make_trainer(given)
    peaks = {id(p): g["peak"] for g in trainer.optimizer.param_groups for p in g["params"]}
    for name, parameter in trainer.model.named_parameters():
        assert peaks[id(parameter)] == (1e-4 if name.startswith("encoder.") else 1e-3), name
    assert all(trainer.task.guides(1) for _ in range(9))
    assert not any(trainer.task.guides(step) for step in (4, 5) for _ in range(9))


def test_a_task_that_does_not_hear_the_encoder_has_no_norm_there(mixtures, lang, tmp_path):
    given = config(mixtures, lang, tmp_path, asr_steps=0, crop_share=1.0, steps=2)
    given.model.separation.encoder_width = 0
    given.model.loss = LossConfig(diarization=0.5, separation=0.5, asr=0.0)
    main(given)
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[1])
    names = {name for name in line if name.startswith("train/encoder_norm/")}
    assert names == {"train/encoder_norm/diarization"}


def test_the_log_has_losses_before_and_after_weighting_and_gradients_by_task(
    mixtures, lang, tmp_path
):
    main(config(mixtures, lang, tmp_path, asr_steps=0, crop_share=0.0))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "train/loss" in line]
    for line in trained:
        parts = [line[f"train/weighted/{task}"] for task in TASKS]
        assert sum(parts) == pytest.approx(line["train/loss"], rel=1e-5)
        assert parts[0] == pytest.approx(0.33 * line["train/diarization"], rel=1e-5)
    norms = [[line.get(f"train/encoder_norm/{task}") for task in TASKS] for line in trained]
    assert [all(row) for row in norms] == [step % 2 == 0 for step in range(1, 7)]
    assert not any(any(row) for row in norms[::2])
    sums = [name for line in lines for name in line if name.startswith("rwse/")]
    assert {name.split("/")[1] for name in sums} == set(TASKS)


def test_gradients_by_task_are_in_the_log_whenever_the_model_is_validated(mixtures, lang, tmp_path):
    given = config(mixtures, lang, tmp_path, asr_steps=0, crop_share=0.0, steps=5)
    given.valid_every, given.log_every = 2, 3
    main(given)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    trained = {line["step"]: line for line in lines if "train/loss" in line}
    assert set(trained) == {2, 3, 4, 5}
    norms = {step for step, line in trained.items() if line.get("train/encoder_norm/asr")}
    assert norms == {2, 4, 5}


def test_bf16_learns_as_float32_does_and_keeps_weights_and_samples_in_float32(
    mixtures, lang, tmp_path
):
    if not CPU_AUTOCAST:
        with pytest.raises(UmeError, match="bf16 on a CPU needs torch 2"):
            main(config(mixtures, lang, tmp_path / "bf16", precision="bf16"))
        return
    curves = {}
    for precision in ("float32", "bf16"):
        exp = tmp_path / precision
        main(config(mixtures, lang, exp, precision=precision, crop_share=0.0, guide_steps=0))
        lines = [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]
        curves[precision] = [line["train/loss"] for line in lines if "train/loss" in line]
        state = load_checkpoint(exp / "checkpoint-6.pt")["model"]
        assert {value.dtype for value in state.values()} == {torch.float32}
    assert curves["bf16"] != curves["float32"]
    assert curves["bf16"] == pytest.approx(curves["float32"], abs=0.05)


def test_the_largest_batches_are_tried_first_and_leave_no_trace(
    mixtures, lang, tmp_path, monkeypatch
):
    given = config(mixtures, lang, tmp_path)
    given.model.vocab_size = Tokenizer(str(lang)).vocab_size
    trainer = make_trainer(given)
    tried = list(trainer.data.largest())
    assert {kind for kind, _ in tried} == {"sources", "whole", "windows"}
    epoch = [
        plan.dataset[0, batch] for plan in trainer.data.plans.values() for batch in plan.batches(0)
    ]
    for power in (1, 2):
        sizes = [[len(b.ids) * b.audio.shape[1] ** power for b in own] for own in (
            [b for _, b in tried], epoch)]  # fmt: skip
        assert max(sizes[0]) == max(sizes[1])
    slow = config(mixtures, lang, tmp_path / "slow", augment=AugmentConfig(speeds=[0.5, 1.0]))
    slow.model.vocab_size = given.model.vocab_size
    plan = make_trainer(slow).data.plans["all-windows"]
    assert max(batch.audio.shape[1] for batch in plan.largest()) == 2 * 2.0 * 16000
    before = torch.get_rng_state()
    weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    in_memory = []
    forward = trainer.module.forward

    def counting(*inputs: object) -> object:
        gradients = sum(p.grad is not None for p in trainer.module.parameters())
        in_memory.append({"moments": len(trainer.optimizer.state), "gradients": gradients})
        return forward(*inputs)

    monkeypatch.setattr(trainer.module, "forward", counting)
    for trainer.config.accumulate in (1, 2):
        trainer.scan_largest()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    after = trainer.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    parameters = list(trainer.module.parameters())
    beside = {"moments": len(parameters), "gradients": 0}
    alone, more = in_memory[: len(tried)], in_memory[len(tried) :]
    assert alone == [beside] * len(tried)
    assert more == [{**beside, "gradients": len(parameters)}] * len(tried)
    assert not trainer.optimizer.state

    def full(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(trainer.module, "forward", full)
    with pytest.raises(UmeError, match="lower --max_duration"):
        trainer.scan_largest()


def test_an_update_that_is_not_finite_is_skipped_counted_and_kept(mixtures, lang, tmp_path):
    given = config(mixtures, lang, tmp_path, steps=40, asr_steps=0, save_every=40, valid_every=40)
    given.model.vocab_size = Tokenizer(str(lang)).vocab_size
    trainer = make_trainer(given)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    updates = trainer.data.updates(0)
    kind, (batch,) = next(updates)
    broken = dataclasses.replace(batch, audio=batch.audio * float("nan"))
    values = trainer.update(kind, [broken])
    assert math.isnan(values["train/norm"]) and trainer.skipped == 1
    after = trainer.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    (kept,) = (tmp_path / "not_finite").iterdir()
    assert load_state(kept)["ids"] == batch.ids
    trainer.update(*next(updates))
    assert trainer.skipped_in_a_row == 0
    with pytest.raises(UmeError, match="20th time in a row; lower --rate"):
        for _ in range(20):
            trainer.update(kind, [broken])


def test_a_scale_of_fp16_that_is_too_large_is_no_broken_update(mixtures, lang, tmp_path):
    given = config(mixtures, lang, tmp_path, steps=40, asr_steps=0, crop_share=0.0)
    given.model.vocab_size = Tokenizer(str(lang)).vocab_size
    trainer = make_trainer(given)
    kind, batches = next(trainer.data.updates(0))
    trainer.step = given.valid_every - 1
    plain = trainer.update(kind, batches)

    class Scaler:
        """What torch's does on a GPU, where fp16 ends."""

        factor, updates = 2.0**10, 0

        def is_enabled(self):
            return True

        def get_scale(self):
            return self.factor

        def scale(self, value):
            return value * self.factor

        def unscale_(self, optimizer):
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.mul_(float("inf") if self.factor > 1 else 1.0)

        def step(self, optimizer):
            self.updates += 1

        def update(self):
            self.factor /= 2

    trainer = make_trainer(given)
    trainer.scaler = Scaler()
    trainer.step = given.valid_every - 1
    scaled = trainer.update(kind, batches)
    norms = [name for name in plain if name.startswith("train/encoder_norm/")]
    assert norms and [scaled[n] for n in norms] == pytest.approx(
        [plain[n] for n in norms], rel=1e-4
    )
    while trainer.scaler.factor > 1:
        trainer.update(kind, batches)
    assert trainer.skipped == trainer.scaler.updates == 0
    trainer.update(kind, batches)
    assert trainer.scaler.updates == 1 and not (tmp_path / "not_finite").exists()
    trainer.scaler.factor = 2.0
    broken = dataclasses.replace(batches[0], audio=batches[0].audio * float("nan"))
    trainer.update(kind, [broken])
    assert trainer.skipped == 1


def test_the_best_models_are_kept_averaged_and_end_the_run(mixtures, lang, tmp_path):
    given = config(mixtures, lang, tmp_path, steps=60, valid_every=1, rate=1e-9, encoder_rate=1e-9)
    given.asr_steps = given.guide_steps = given.opposite_sex_steps = 0
    given.best_by, given.keep_best, given.patience, given.average = "si_sdri", 3, 4, "best"
    left = tmp_path / "best-valid-si_sdri-999.pt"
    left.write_bytes(b"of an earlier run")
    main(given)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    values = {x["step"]: x["valid/si_sdri"] for x in lines if "valid/si_sdri" in x}
    best = sorted(values, key=lambda step: (-values[step], step))[:3]
    kept = {path.name: path for path in tmp_path.glob("best-valid-*.pt")}
    assert set(kept) == {f"best-valid-si_sdri-{step}.pt" for step in best}
    record = read_json(tmp_path / "train.json")
    assert record["steps"] == len(values) < 60 and record["best_valid_si_sdri"] == values[best[0]]
    assert all(values[best[0]] >= value for value in list(values.values())[-4:])
    name = "separation.masker.output.bias"
    parts = [load_checkpoint(path)["model"][name] for path in kept.values()]
    torch.testing.assert_close(load_model(tmp_path).state_dict()[name], sum(parts) / 3)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    given.num_workers = 1
    main(given)  # once more: nothing is left to do
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")} == made
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["num_workers"] == 0
    assert read_json(tmp_path / "train.json") == record


def test_a_model_of_no_finite_score_is_never_the_best(mixtures, lang, tmp_path):
    given = config(mixtures, lang, tmp_path, keep_best=2, patience=3, average="best", steps=9)
    trainer = make_trainer(given)
    for step, loss in enumerate([math.nan, 2.0, math.nan, 3.0, math.inf, 4.0], start=1):
        trainer.step = step
        trainer.keep_best({"valid/loss": loss})
        assert trainer.ended() == (step >= 5)
    assert trainer.best == [[2.0, 2], [3.0, 4]] and trainer.best_score() == 2.0
    names = {f"best-valid-loss-{step}.pt" for step in (2, 4)}
    assert {path.name for path in tmp_path.glob("best-*.pt")} == names


def test_models_that_were_among_the_best_stay_until_a_checkpoint_knows(mixtures, lang, tmp_path):
    trainer = make_trainer(config(mixtures, lang, tmp_path, keep_best=2))
    for step, loss in enumerate([3.0, 2.0, 1.0], start=1):
        trainer.step = step
        trainer.keep_best({"valid/loss": loss})
    assert len(list(tmp_path.glob("best-*.pt"))) == 3
    trainer.drop_old()
    names = {f"best-valid-loss-{step}.pt" for step in (2, 3)}
    assert {path.name for path in tmp_path.glob("best-*.pt")} == names


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"patience": 2}, "give --average best"),
        ({"average": "all"}, "give last or best"),
        ({"keep_best": 0}, "--keep_best 0: it must be at least 1"),
        ({"valid_every": 0}, "--valid_every 0: it must be at least 1"),
        ({"precision": "half"}, "give float32, bf16 or fp16"),
        ({"schedule": "noam"}, "--schedule noam: give cosine or inverse-sqrt"),
        ({"precision": "fp16"}, "needs a GPU"),
        ({"best_by": "wer"}, "--best_by wer: validation gives loss, diarization"),
        ({"best_by": "one_label"}, "--best_by one_label: validation gives loss, diarization"),
        ({"average_last": 1.5}, "--average_last 1.5: give a share"),
    ],
)
def test_options_that_cannot_be(changes, message, mixtures, lang, tmp_path):
    with pytest.raises(UmeError, match=message):
        main(config(mixtures, lang, tmp_path, **changes))


def test_what_nothing_would_train_or_answer_is_refused(mixtures, lang, tmp_path):
    given = config(mixtures, lang, tmp_path, asr_steps=2)
    given.model.loss = LossConfig(0.5, 0.5, 0.0)
    with pytest.raises(UmeError, match="asr_steps train a recogniser, and loss.asr is 0"):
        main(given)
    given = config(mixtures, lang, tmp_path, asr_steps=0, crop_share=1.0)
    with pytest.raises(UmeError, match="no text is ever read"):
        main(given)
    check(dataclasses.replace(given, initialize_from="another", initialize_parts=["asr"]))
    given.model.loss.distillation = 0.5
    check(given)
    given = config(mixtures, lang, tmp_path)
    given.model.num_speakers = 1
    with pytest.raises(UmeError, match="has 2 speakers and the model answers for 1"):
        main(given)


@pytest.mark.parametrize(
    "form, by, task", [("voices", [], "separation"), ("conditioning", ["activity"], "diarization")]
)
def test_a_recogniser_that_goes_by_a_head_that_nothing_trains_is_refused(
    form, by, task, mixtures, lang, tmp_path
):
    given = config(mixtures, lang, tmp_path)
    given.model.loss = LossConfig(0.0, 0.0, 1.0)
    given.model.asr.differentiate_by, given.model.asr.conditioning.by = form, by
    with pytest.raises(UmeError, match=f"a head of {task} that nothing trains: give --model.loss"):
        main(given)
    given.model.asr.differentiate_by = "sidecar"
    check(given)


@pytest.mark.parametrize("task", ["diarization", "separation", "asr"])
def test_a_run_of_one_task_leaves_the_other_heads_untouched(task, mixtures, lang, tmp_path):
    given = config(mixtures, lang, tmp_path, steps=2, asr_steps=0)
    given.model.loss = LossConfig(**{name: float(name == task) for name in TASKS})
    given.model.asr.differentiate_by = "encoders"
    given.model.vocab_size = Tokenizer(str(lang)).vocab_size
    before = {n: p.clone() for n, p in make_trainer(given).model.named_parameters()}
    main(given)
    moved = {
        name.split(".")[0]
        for name, value in load_model(tmp_path).named_parameters()
        if not torch.equal(value, before[name])
    }
    assert moved == {"encoder", "rwse", task}


def test_parts_start_from_another_model(mixtures, lang, tmp_path):
    main(config(mixtures, lang, tmp_path / "first", steps=2))
    given = config(mixtures, lang, tmp_path / "second", seed=1)
    given.model.vocab_size = Tokenizer(str(lang)).vocab_size
    given.initialize_from = str(tmp_path / "first")
    first = load_model(tmp_path / "first").state_dict()
    second = make_trainer(given).model.state_dict()
    same = {
        part: all(torch.equal(second[n], first[n]) for n in first if n.startswith(f"{part}."))
        for part in ("encoder", "asr", "separation", "diarization")
    }
    assert same == {"encoder": True, "asr": True, "separation": False, "diarization": False}
    given.lang = str(tmp_path / "lang")
    words = tmp_path / "text"
    words.write_text("one A B C\n")
    prepare_lang(LangConfig([str(words)], given.lang))
    with pytest.raises(UmeError, match="has other tokens than .*give the lang folder of then"):
        make_trainer(given)
    given.lang = str(lang)
    given.model.asr.inner = 64
    with pytest.raises(UmeError, match=r"asr.* is \(.*\) there and \(.*\) here"):
        make_trainer(given)
    given.initialize_parts = ["heads"]
    with pytest.raises(UmeError, match="name some of encoder, rwse, diarization"):
        make_trainer(given)


@pytest.mark.parametrize("form, part", [("sidecar", "sidecar"), ("conditioning", "conditioner")])
def test_with_the_recogniser_comes_what_tells_its_speakers_apart(
    form, part, mixtures, lang, tmp_path
):
    first, second = config(mixtures, lang, tmp_path / "a"), config(mixtures, lang, tmp_path / "b")
    plain = config(mixtures, lang, tmp_path / "plain")
    for given in (first, second):
        given.model.asr.differentiate_by, given.model.asr.conditioning.after = form, 1
        given.steps = 2
    main(first)
    main(dataclasses.replace(plain, steps=2))
    second.model.vocab_size = Tokenizer(str(lang)).vocab_size
    second.initialize_from, second.seed = str(tmp_path / "a"), 1
    theirs, ours = load_model(tmp_path / "a"), make_trainer(second).model
    expected = theirs.get_submodule(part).state_dict()
    assert expected and all(
        torch.equal(value, expected[name])
        for name, value in ours.get_submodule(part).state_dict().items()
    )
    fresh = make_trainer(dataclasses.replace(second, initialize_from=None)).model
    second.initialize_from = str(tmp_path / "plain")
    ours = make_trainer(second).model
    assert torch.equal(ours.asr.output.weight, load_model(tmp_path / "plain").asr.output.weight)
    for name, value in ours.get_submodule(part).state_dict().items():
        assert torch.equal(value, fresh.get_submodule(part).state_dict()[name])
    second.initialize_from = str(tmp_path / "a")
    second.model.separation.kernel = 256  # other masks; a sidecar's are of the encoder's states
    second.model.num_speakers = 3 if form == "sidecar" else 2
    ours = make_trainer(second).model
    assert torch.equal(ours.asr.output.weight, theirs.asr.output.weight)
    expected, other = shapes(theirs.state_dict(), part), shapes(ours.state_dict(), part)
    assert expected != other


def test_another_configuration_in_the_same_folder_is_refused(mixtures, lang, tmp_path):
    main(config(mixtures, lang, tmp_path, steps=2))
    with pytest.raises(UmeError, match="other values of rate"):
        main(config(mixtures, lang, tmp_path, steps=2, rate=0.5))


def test_training_before_its_inputs_exist_names_the_step(mixtures, lang, tmp_path):
    with pytest.raises(UmeError, match="prepare_lang"):
        main(config(mixtures, tmp_path / "none", tmp_path / "a"))
    with pytest.raises(UmeError, match="the stage of mixtures makes it"):
        main(Config(str(tmp_path / "b"), str(tmp_path / "none"), str(lang)))
