"""UME as a whole: shapes, padding, tasks, permutations, files."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ume.dataset.batch import Example, MixtureBatch, collate
from ume.errors import UmeError
from ume.losses.attention import attention_loss
from ume.models.files import from_dict, load_model, save_model, shapes, take_parts
from ume.models.ume import FORMS, TASKS, UME, Guide, LossConfig, UMEConfig, UMEOutput
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig
from ume.nn.rwse import RWSEConfig
from ume.nn.separation import SeparationConfig


def small(speakers: int = 2, form: str = "voices", **changes: object) -> UMEConfig:
    size = EBranchformerSize(2, 16, 2, 32, 32, 7, dropout=0.0)
    return UMEConfig(
        num_speakers=speakers,
        vocab_size=7,
        encoder=EncoderConfig("e-branchformer", e_branchformer=size),
        separation=SeparationConfig(hidden=16, bottleneck=8, blocks=3, repeats=1),
        asr=RecogniserConfig(form, 16, 2, 32, 7, 1, 1, dropout=0.0),
        **changes,  # type: ignore[arg-type]
    )


def make_batch(*samples: int, speakers: int = 2) -> MixtureBatch:
    generator = torch.Generator().manual_seed(1)
    examples = []
    for number, count in enumerate(samples):
        sources = torch.randn(speakers, count, generator=generator).numpy() * 0.1
        activity = torch.rand(-(-count // 320), speakers, generator=generator).numpy() > 0.4
        names = [f"s{k}" for k in range(speakers)]
        texts = ["A B"] * speakers
        examples.append(
            Example(f"mix{number}", sources.sum(axis=0), sources, activity, texts, names)
        )
    return collate(examples)


def unlike_its_start(model: UME) -> UME:
    """What is zero at the start, so that it changes nothing, is not zero any more."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return model


TOKENS = [[[3, 4, 5], [6, 3]], [[5, 5], [4]]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("filterbank", ["stft", "free", "stft at 8 kHz"])
@pytest.mark.parametrize("gated", [False, True])
def test_a_clip_gives_the_same_alone_and_padded_in_a_batch(form, filterbank, gated):
    torch.manual_seed(0)
    config = small(form=form)
    config.separation.gated = gated
    if filterbank == "free":
        config.separation.filterbank, config.separation.mask = "free", "relu"
        config.separation.num_filters, config.separation.kernel = 16, 64
        config.separation.stride = 32
    elif filterbank == "stft at 8 kHz":
        config.separation.sampling_rate = 8000
        config.separation.kernel, config.separation.stride = 256, 80
    model = unlike_its_start(UME(config).eval())
    batch = make_batch(16000, 9123)
    together = model(batch.audio, batch.audio_lens)
    alone = model(batch.audio[1:, :9123], batch.audio_lens[1:])
    frames = int(alone.frame_lens)
    assert frames == 29
    close = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(
        together.activity_logits[1:, :frames], alone.activity_logits[:, :frames], **close
    )
    torch.testing.assert_close(together.sources[1:, :, :9123], alone.sources, **close)
    torch.testing.assert_close(
        together.ctc_log_probs[1:, :, :frames], alone.ctc_log_probs[:, :, :frames], **close
    )
    single = model.recognise(batch.audio, batch.audio_lens).log_probs[1:, :frames]
    torch.testing.assert_close(
        single, model.recognise(batch.audio[1:, :9123], batch.audio_lens[1:]).log_probs, **close
    )


@pytest.mark.parametrize("speakers", [2, 3])
def test_shapes_and_loss(speakers):
    model = UME(small(speakers))
    batch = make_batch(8000, 8000, speakers=speakers)
    output = model(batch.audio, batch.audio_lens)
    assert output.activity_logits.shape == (2, 25, speakers)
    assert output.sources.shape == (2, speakers, 8000)
    assert output.ctc_log_probs.shape == (2, speakers, 25, 7)
    tokens = [[[3, 4]] * speakers, [[5]] * speakers]
    loss = model.loss(output, batch, tokens)
    expected = sum(0.33 * value for value in loss.tasks.values())
    assert set(loss.tasks) == set(TASKS)
    torch.testing.assert_close(loss.total, expected)


def test_voices_do_not_depend_on_the_level_and_follow_it():
    model = UME(small()).eval()
    batch = make_batch(8000)
    quiet, loud = (model(batch.audio * gain, batch.audio_lens) for gain in (1.0, 10.0))
    torch.testing.assert_close(quiet.sources * 10, loud.sources, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_each_task_trains_the_encoder_and_leaves_the_other_heads_alone(task):
    weights = {name: float(name == task) for name in TASKS}
    model = UME(small(form="encoders", loss=LossConfig(**weights)))
    batch = make_batch(8000, 7000)
    output = model(batch.audio, batch.audio_lens)
    model.loss(output, batch, TOKENS).total.backward()
    trained = {
        name.split(".")[0]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }
    assert trained == {"encoder", "rwse", task}
    assert [t for t in TASKS if model.rwse[t].scores.grad is not None] == [task]


def test_losses_that_are_not_normalised_are_nats_decibels_and_nats_per_text():
    batch = make_batch(8000, 7000)
    losses = {}
    for normalised in (True, False):
        torch.manual_seed(0)
        model = UME(small(loss=LossConfig(normalised=normalised))).eval()
        output = model(batch.audio, batch.audio_lens)
        costs = model.costs(output, batch, TOKENS)
        losses[normalised] = {task: cost.cost for task, cost in costs.items()}
    plain, scaled = losses[False], losses[True]
    torch.testing.assert_close(plain["diarization"], scaled["diarization"] * math.log(2))
    torch.testing.assert_close(plain["separation"], scaled["separation"] * 10)
    lengths = torch.tensor([[3, 2], [2, 1]])[..., None]
    torch.testing.assert_close(plain["asr"], scaled["asr"] * lengths * math.log(7))


def test_one_layer_sum_serves_all_tasks_or_none_is_learned():
    shared = UME(small(rwse=RWSEConfig("shared")))
    assert [name for name, _ in shared.rwse.named_parameters()] == ["shared.scores"]
    shared.rwse["shared"].scores.data = torch.tensor([0.0, 2.0])
    weights = shared.layer_weights()
    assert weights["asr"] == weights["diarization"] and weights["asr"][1] > 0.8
    last = UME(small(rwse=RWSEConfig("last")))
    assert not list(last.rwse.parameters()) and last.layer_weights()["asr"] == [0, 1]
    with pytest.raises(UmeError, match="rwse.form is 'first'"):
        UME(small(rwse=RWSEConfig("first")))


def test_words_do_not_bend_the_masks():
    model = UME(small(loss=LossConfig(0.0, 0.0, 1.0)))
    batch = make_batch(8000, 7000)
    model.loss(model(batch.audio, batch.audio_lens), batch, TOKENS).total.backward()
    assert all(p.grad is None for p in model.separation.parameters())


def test_an_absent_speaker_is_asked_to_be_silent_and_nothing_else():
    model = UME(small(3))
    batch = make_batch(8000, speakers=3)
    batch.sources[:, 2], batch.activity[:, :, 2] = 0, 0
    loss = model.loss(model(batch.audio, batch.audio_lens), batch, [[[3], [4], None]])
    assert all(torch.isfinite(value) for value in loss.tasks.values())
    loss.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    frames, logits = batch.activity.shape[1], 20 * (batch.activity - 0.5)  # (B, F, 3), all right
    output = UMEOutput(torch.tensor([frames]), torch.tensor([frames]), activity_logits=logits)
    right = model.loss(output, batch, [[None] * 3]).tasks["diarization"]
    logits = logits.clone()
    logits[:, : frames // 2, 2] *= -1  # half the time the stream of nobody speaks
    output = UMEOutput(torch.tensor([frames]), torch.tensor([frames]), activity_logits=logits)
    heard = model.loss(output, batch, [[None] * 3]).tasks["diarization"]
    assert right < 0.01 and heard > 1


def test_one_batch_is_learned():
    torch.manual_seed(0)
    model, batch = UME(small()), make_batch(6000, 6000)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(120):
        loss = model.loss(model(batch.audio, batch.audio_lens), batch, TOKENS)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append({name: float(value) for name, value in loss.tasks.items()})
    for task in ("diarization", "asr"):
        assert losses[-1][task] < 0.7 * losses[0][task]
    assert losses[-1]["separation"] < losses[0]["separation"] - 0.05  # 0.5 dB


def test_a_model_handed_on_is_the_model(tmp_path: Path):
    model = UME(small()).eval()
    save_model(tmp_path / "a folder", model.config, model.state_dict())
    again = load_model(tmp_path / "a folder")
    assert again.config == model.config
    batch = make_batch(5000)
    ours, theirs = (m(batch.audio, batch.audio_lens) for m in (model, again))
    assert torch.equal(ours.sources, theirs.sources)


def test_a_model_that_is_missing_or_broken_is_one_line(tmp_path: Path):
    with pytest.raises(UmeError, match="steps/train.sh"):
        load_model(tmp_path)
    model = UME(small())
    save_model(tmp_path, model.config, model.state_dict())
    (tmp_path / "model.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(UmeError, match="train again") as error:
        load_model(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "part, option, change",
    [
        ("separation", "separation.blocks", {"separation": dict(blocks=1, repeats=3)}),
        ("separation", "separation.mask", {"separation": dict(mask="relu")}),
        ("separation", "separation.stride", {"separation": dict(stride=320)}),
        ("rwse", "rwse.layers", {"rwse": dict(layers=[1, 2])}),
        ("asr", "asr.num_heads", {"asr": dict(num_heads=4)}),
    ],
)
def test_weights_that_fit_and_mean_something_else_are_refused(part, option, change, tmp_path):
    model, theirs = UME(small()), small()
    for section, values in change.items():
        for name, value in values.items():
            setattr(getattr(theirs, section), name, value)
    other = UME(theirs)
    assert shapes(model.state_dict(), part) == shapes(other.state_dict(), part)
    save_model(tmp_path, theirs, other.state_dict())
    with pytest.raises(UmeError, match=f"does not fit this model: {option} is"):
        take_parts(model, tmp_path, [part])


def test_unknown_fields_of_a_config_are_named():
    with pytest.raises(UmeError, match="speakres"):
        from_dict(UMEConfig, {"speakres": 2})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_speakers": 0}, "num_speakers"),
        ({"loss": LossConfig(0, 0, 0)}, "loss"),
        ({"separation": SeparationConfig(stride=150)}, "stride"),
        ({"separation": SeparationConfig(mask="linear")}, "mask"),
        ({"separation": SeparationConfig(kernel=401)}, "must be even"),
        ({"separation": SeparationConfig(kernel=160)}, "1.5 times the stride"),
        ({"asr": RecogniserConfig("magic")}, "differentiate_by"),
        ({"asr": RecogniserConfig(width=16, num_heads=3)}, "multiple of num_heads 3"),
        ({"separation": SeparationConfig(gated=True), "loss": LossConfig(tied=False)}, "tied"),
        ({"separation": SeparationConfig(gated=True), "loss": LossConfig(0.0)}, "opens the gates"),
        ({"loss": LossConfig(0.5, 0.0, 0.5, tied=False)}, "which words are whose activity"),
    ],
)
def test_configurations_that_cannot_work_are_one_line(change, message):
    config = small()
    for name, value in change.items():
        setattr(config, name, value)
    with pytest.raises(UmeError, match=message):
        UME(config)


@pytest.mark.parametrize("form", FORMS)
def test_an_attention_decoder_takes_part_of_the_words_weight(form):
    config = small(form=form)
    plain = UME(config)
    config.asr.decoder_layers = 1
    torch.manual_seed(0)
    model = UME(config)
    model.load_state_dict(plain.state_dict(), strict=False)
    batch = make_batch(16000, 9123)
    before = plain.loss(plain(batch.audio, batch.audio_lens), batch, TOKENS)
    output = model(batch.audio, batch.audio_lens)
    loss = model.loss(output, batch, TOKENS)
    assert {**loss.tasks, "attention": 0} == {**before.tasks, "attention": 0}
    assert loss.weights["asr"] == pytest.approx(0.3 * 0.33)
    assert loss.weights["attention"] == pytest.approx(0.7 * 0.33)
    expected = sum(loss.weights[task] * value for task, value in loss.tasks.items())
    assert float(loss.total) == pytest.approx(float(expected))
    # an untrained decoder knows nothing: about one, as the other normalised losses
    assert 0.5 < float(loss.tasks["attention"]) < 2
    # words of stream k are told to the decoder that hears stream k
    perm = loss.permutations["asr"]
    states = torch.stack([output.word_states[b, perm[b, r]] for b in range(2) for r in range(2)])
    texts = [text for row in TOKENS for text in row]
    nats = attention_loss(model.asr.decoder, states, output.frame_lens.repeat_interleave(2), texts,
                          [1], 1, config.asr.smoothing)  # fmt: skip
    tokens = torch.tensor([len(text) + 1 for text in texts])
    torch.testing.assert_close(loss.tasks["attention"], (nats / tokens).mean() / math.log(7))
    loss.tasks["attention"].backward()
    assert any(p.grad is not None and p.grad.any() for p in model.encoder.parameters())


def test_the_decoder_learns_from_true_sources_as_well():
    config = small()
    config.asr.decoder_layers = 1
    loss = UME(config).source_loss(make_batch(16000, 9123), TOKENS)
    assert set(loss.tasks) == {"asr", "attention"} and loss.weights["attention"] == 0.7


def test_gates_are_closed_where_nobody_speaks_and_teach_the_activity_nothing():
    config = small()
    config.separation.gated = True
    model = UME(config)
    batch = make_batch(8000)
    with torch.no_grad():
        model.diarization.output.weight.zero_()
        model.diarization.output.bias.copy_(torch.tensor([20.0, -20.0]))
    gated = model(batch.audio, batch.audio_lens).sources
    model.config.separation.gated = False
    free = model(batch.audio, batch.audio_lens).sources
    torch.testing.assert_close(gated[:, 0], free[:, 0])
    assert gated[:, 1].abs().max() < 1e-6 < free[:, 1].abs().max()
    model.config.separation.gated = True
    model(batch.audio, batch.audio_lens).sources.square().sum().backward()
    assert model.diarization.output.bias.grad is None


@pytest.mark.parametrize("form", ["voices", "conditioning"])
def test_a_guide_stands_in_for_the_other_heads_in_the_order_of_the_references(form):
    model = unlike_its_start(UME(small(form=form)).eval())
    batch = make_batch(8000)
    guide = Guide(batch.sources, batch.activity)
    swapped = Guide(batch.sources.flip(1), batch.activity.flip(2))
    there, back = (model(batch.audio, batch.audio_lens, each) for each in (guide, swapped))
    assert there.guided
    torch.testing.assert_close(there.ctc_log_probs, back.ctc_log_probs.flip(1))
    torch.testing.assert_close(there.sources, back.sources)
    loss = model.loss(there, batch, [[[3, 4, 5], [6, 3]]])
    assert loss.permutations["asr"].tolist() == [[0, 1]]


def test_words_are_of_what_the_shared_encoder_hears_in_each_voice():
    model, batch = UME(small()).eval(), make_batch(8000, 7000)
    output = model(batch.audio, batch.audio_lens)
    for k in range(2):
        alone = model.recognise(output.sources[:, k], batch.audio_lens).log_probs
        torch.testing.assert_close(output.ctc_log_probs[:, k], alone)


def test_the_loss_of_true_sources_is_the_ctc_loss_of_each_alone():
    model, batch = UME(small()).eval(), make_batch(8000, 7000)
    tokens = [[[3, 4, 5], None], [[5, 5], [4]]]
    loss = model.source_loss(batch, tokens)
    losses = []
    for b, s in [(0, 0), (1, 0), (1, 1)]:
        length = int(batch.audio_lens[b])
        heard = model.recognise(batch.sources[b : b + 1, s, :length], batch.audio_lens[[b]])
        log_probs = heard.log_probs[0]
        target = torch.tensor(tokens[b][s])
        value = torch.nn.functional.ctc_loss(
            log_probs,
            target,
            torch.tensor(len(log_probs)),
            torch.tensor(len(target)),
            reduction="sum",
        )
        losses.append(value / (len(target) * math.log(7)))
    torch.testing.assert_close(loss.total, torch.stack(losses).mean(), atol=1e-4, rtol=1e-4)
    model.config.loss.normalised = False
    plain = torch.stack([x * n * math.log(7) for x, n in zip(losses, (3, 2, 1))]).mean()
    torch.testing.assert_close(model.source_loss(batch, tokens).total, plain, atol=1e-4, rtol=1e-4)


def test_a_sidecar_needs_no_guide_and_no_other_head():
    model = UME(small(form="sidecar", loss=LossConfig(0.0, 0.0, 1.0)))
    assert model.answers() == ["asr"]
    batch = make_batch(8000, 7000)
    output = model(batch.audio, batch.audio_lens, Guide(batch.sources, batch.activity))
    assert not output.guided and output.sources is None and output.activity_logits is None
    model.loss(output, batch, TOKENS).total.backward()
    trained = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None}
    assert trained == {"encoder", "rwse", "asr", "sidecar"}


@pytest.mark.parametrize("by, heads", [
    (["activity"], ["diarization", "asr"]),
    (["masks"], ["separation", "asr"]),
    (["activity", "masks"], list(TASKS)),
])  # fmt: skip
def test_conditioning_has_the_heads_answer_that_it_goes_by_and_teaches_them_nothing(by, heads):
    config = small(form="conditioning", loss=LossConfig(0.0, 0.0, 1.0))
    config.asr.conditioning.by = by
    model = unlike_its_start(UME(config))
    assert model.answers() == heads and model.answers(words=False) == []
    batch = make_batch(8000, 7000)
    output = model(batch.audio, batch.audio_lens)
    model.loss(output, batch, TOKENS).total.backward()
    trained = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None}
    assert trained == {"encoder", "rwse", "asr", "conditioner"}


@pytest.mark.parametrize("form", ["voices", "sidecar", "conditioning"])
def test_what_the_encoder_hears_of_a_speaker_is_taught_without_texts(form):
    model = unlike_its_start(
        UME(small(form=form, loss=LossConfig(0.0, 0.0, 1.0, distillation=0.5)))
    )
    batch, none = make_batch(8000, 7000), [[None, None], [None, None]]
    output = model(batch.audio, batch.audio_lens)
    last = output.streams.layers[-1].unflatten(0, (-1, 2))  # (B, S, F, D)
    taught = last.detach().flip(1) + 0.1
    loss = model.loss(output, batch, none, taught)
    assert "asr" not in loss.tasks and loss.weights["distillation"] == 0.5
    assert loss.permutations["distillation"].tolist() == [[1, 0], [1, 0]]
    torch.testing.assert_close(loss.total, 0.5 * loss.tasks["distillation"])
    loss.total.backward()
    trained = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None}
    assert {"encoder"} <= trained < {"encoder", "sidecar", "conditioner", "asr", "rwse"}
    silenced = replace(batch, sources=batch.sources * torch.tensor([1.0, 0.0])[:, None])
    assert model.costs(output, silenced, none, taught)["distillation"].exists.tolist() == [
        [True, False],
        [True, False],
    ]


def test_masks_of_the_truth_are_shares_of_what_is_there():
    model, batch = UME(small()), make_batch(8000)
    masks = model.ratio_masks(batch.sources)  # (1, 2, F, C)
    found = model(batch.audio, batch.audio_lens).masks
    assert masks.shape == found.shape and (masks >= 0).all()
    torch.testing.assert_close(masks.sum(dim=1), torch.ones_like(masks[:, 0]))
    silent = torch.stack([batch.sources[:, 0], torch.zeros_like(batch.sources[:, 0])], dim=1)
    assert model.ratio_masks(silent)[:, 0].mean() > 0.99


@pytest.mark.parametrize("change, message", [
    ({"differentiate_by": "sidecar", "after": 2}, "after is 2; give a layer from 1 to 1"),
    ({"differentiate_by": "conditioning", "after": 0}, "after is 0"),
    ({"differentiate_by": "encoders", "distillation": 1.0}, "distillation needs another"),
    ({"differentiate_by": "conditioning", "tied": False}, "conditioning needs loss.tied"),
    ({"differentiate_by": "sidecar", "kind": "self-supervised"}, "sidecar does not fit encoder"),
    ({"foundation_decoder": True, "decoder_layers": 1}, "there can be one decoder"),
])  # fmt: skip
def test_a_recogniser_that_cannot_be(change, message):
    config = small()
    config.loss.tied = change.pop("tied", True)
    config.loss.distillation = change.pop("distillation", 0.0)
    config.encoder.kind = change.pop("kind", config.encoder.kind)
    config.asr.conditioning.after = change.pop("after", 1)
    for name, value in change.items():
        setattr(config.asr, name, value)
    with pytest.raises(UmeError, match=message):
        UME(config)
