"""Every stage of Echo learns one batch by heart; what it does to the encoder; what it is given."""

import dataclasses
from typing import Dict, List, Tuple

import pytest
import torch

from ume.compat import CPU_AUTOCAST
from ume.dataset.batch import Example, MixtureBatch, collate
from ume.models.echo import PARTS, STAGES, Echo, EchoConfig, SlotConfig
from ume.nn.encoders import EncoderConfig
from ume.nn.factors import FactorConfig
from ume.nn.vit import ViTSize
from ume.training.stages import STAGE_CLASSES
from ume.training.stages.speakers import mean_of_frames, voices_alone
from ume.training.stages.stage import Given, Stage, StageConfig


def model(kind: str = "vit") -> Echo:
    torch.manual_seed(0)
    encoder = EncoderConfig(kind, vit=ViTSize(num_layers=2, width=64, num_heads=4))
    factors = FactorConfig(width=32, codebooks=2, entries=16, residual=2)
    slots = SlotConfig(num_slots=3, width=64, num_layers=1, voice_layers=1)
    return Echo(EchoConfig(encoder, 8, 16, factors, slots))


def stage_of(name: str, echo: Echo, **weights: float) -> Stage:
    config = StageConfig(weights, predictor_width=32, predictor_layers=2)
    return STAGE_CLASSES[name](echo, config, 4, torch.float32)


def clip(k: int, speakers: int, seconds: float) -> Example:
    """Harmonic tones of ``speakers`` speakers, each in bursts, one token a burst."""
    time = torch.arange(round(seconds * 16000)) / 16000
    torch.manual_seed(k)
    sources, active = [], []
    for s in range(speakers):
        pitch = 100 * 1.4 ** ((k + s) % 4)
        tone = torch.stack([torch.sin(6.283 * pitch * h * time) / h for h in range(1, 8)]).sum(0)
        on = ((time * (2 + s) + 0.3 * k).long() % 2 == 0).float()
        sources.append(0.1 * on * tone)
        active.append(on[160::320] > 0)
    stacked = torch.stack(sources)
    names = [str((k + s) % 4) for s in range(speakers)]
    activity = torch.stack(active, dim=1).numpy()
    return Example(
        str(k), stacked.sum(0).numpy(), stacked.numpy(), activity, ["x"] * speakers, names
    )


@pytest.fixture(scope="module")
def singles() -> Given:
    return given(collate([clip(k, 1, 1.0 + 0.1 * k) for k in range(4)]))


@pytest.fixture(scope="module")
def mixtures() -> Given:
    examples = [clip(0, 2, 1.0), clip(1, 1, 0.8), clip(2, 3, 1.0), clip(3, 2, 1.0)]
    return given(collate(examples, 3))


def given(batch: MixtureBatch) -> Given:
    tokens = [[[3 + b % 4, 4, 5 + b % 3]] for b in range(len(batch.ids))]
    speakers = torch.tensor([[int(n) if n else -1 for n in names] for names in batch.speakers])
    return Given(batch, tokens, speakers, 0.0)


def learn(stage: Stage, data: Given, steps: int, rate: float = 2e-3) -> Dict[str, float]:
    """Losses at the end, by name; ``before`` is the total at the start."""
    torch.manual_seed(0)
    stage.train()
    optimizer = torch.optim.Adam([p for p in stage.parameters() if p.requires_grad], rate)
    for step in range(steps):
        total, loss = stage("all", data._replace(progress=max(data.progress, step / steps)))
        if step == 0:
            before = float(total)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        stage.updated(step / steps)
    return {"before": before, **{name: float(value) for name, value in loss.tasks.items()}}


def test_jepa_learns_a_batch_and_the_teacher_follows(singles: Given) -> None:
    stage = stage_of("jepa", model())
    before = [p.clone() for p in stage.aids["teacher"].parameters()]
    losses = learn(stage, singles, 120)
    assert losses["prediction"] < 0.6 * losses["before"]
    student = dict(stage.echo.encoder.named_parameters())
    for (name, teacher), first in zip(stage.aids["teacher"].named_parameters(), before):
        way, left = (student[name] - first).norm(), (student[name] - teacher).norm()
        assert not teacher.requires_grad and left <= way + 1e-6
        assert not torch.equal(teacher, first), name
    stage.eval()
    figures = stage.figures(singles)
    assert figures["rank"].rate > 1.5 and figures["deviation"].rate > 0


def test_content_learns_a_batch_and_the_anchor_holds(singles: Given) -> None:
    moved = {}
    for weight in (0.0, 3.0):
        echo = model()
        audio = singles.batch.audio, singles.batch.audio_lens
        with torch.no_grad():
            first, mask = echo.latents(*audio)
        stage = stage_of("content", echo, anchor=weight)
        assert (stage.anchor is None) == (weight == 0)
        losses = learn(stage, singles, 180)
        assert losses["ctc"] < 0.25, losses
        assert ("anchor" in losses) == (weight > 0)
        with torch.no_grad():
            moved[weight] = float((echo.latents(*audio)[0] - first)[mask].square().mean())
        stage.eval()
        assert stage.figures(singles)["ter"].rate < 10
    assert moved[3.0] < 0.5 * moved[0.0]


def test_factors_learn_a_batch_through_every_quantiser(singles: Given) -> None:
    stage = stage_of("factors", model())
    losses = learn(stage, singles, 450)
    assert max(losses[name] for name in ("continuous", "product")) < 0.3, losses
    assert losses["residual"] < 0.6  # of as few codebooks as one: how many is drawn
    assert losses["speaker"] < 0.3 and losses["back"] < 0.8
    stage.eval()
    figures = {name: ratio.rate for name, ratio in stage.figures(singles).items()}
    assert figures["ter_continuous"] == 0 and figures["ter_residual"] < 50
    assert 1 < figures["perplexity_product"] <= 16


def test_without_words_factors_learn_the_rest(singles: Given) -> None:
    silent = singles._replace(tokens=[[None] for _ in singles.tokens])
    stage = stage_of("factors", model())
    total, loss = stage("all", silent)
    assert float(loss.tasks["continuous"]) == 0 and float(loss.tasks["speaker"].detach()) > 0
    total.backward()
    stage.eval()
    assert not stage.figures(silent)["ter_product"].denominator


def test_speakers_learn_a_batch_whatever_the_margin(singles: Given) -> None:
    stage = stage_of("speakers", model())
    losses = learn(stage, singles._replace(progress=0.9), 60)
    assert losses["arcface"] < 0.05 and losses["mean"] < 0.2 < losses["before"]
    plain, large = (stage.losses(kind, singles)["arcface"] for kind in ("all", "margin"))
    assert large > plain


def test_speakers_are_watched_by_halves_heard_apart(
    singles: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the model hears together gets one mark, by which halves heard together are found."""
    stage = stage_of("speakers", model()).eval()
    heard = []

    def marks(audio: torch.Tensor, audio_lens: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        heard.extend(audio_lens.tolist())
        mask = torch.ones(len(audio), 10)
        return torch.randn(len(audio), 1, stage.echo.encoder.width).expand(-1, 10, -1), mask

    monkeypatch.setattr(stage.echo, "latents", marks)
    lens = singles.batch.audio_lens.tolist()
    torch.manual_seed(0)
    right = [stage.figures(singles)["accuracy"].rate for _ in range(50)]
    assert heard[: 2 * len(lens)] == [n // 2 for n in lens] + [n - n // 2 for n in lens]
    assert sum(right) / 50 < 200 / len(lens)


def turns_of_two(first: int, second: int) -> Example:
    """0.6 s of one voice, 0.3 s of both, 0.6 s of the other."""
    time = torch.arange(24000) / 16000
    pitches = [100 * 1.4**speaker for speaker in (first, second)]
    tones = torch.stack([torch.sin(6.283 * pitch * time) for pitch in pitches])
    activity = torch.zeros(75, 2)
    activity[:45, 0] = activity[30:, 1] = 1
    sources = 0.1 * tones * activity.T.repeat_interleave(320, dim=1)
    names = [str(first), str(second)]
    return Example(
        "turns", sources.sum(0).numpy(), sources.numpy(), activity.numpy() > 0, ["x", "x"], names
    )


def test_voices_of_conversations_are_told_by_the_frames_in_which_they_are_alone() -> None:
    data = given(collate([turns_of_two(0, 1), turns_of_two(3, 2), clip(1, 1, 0.8)]))
    stage = stage_of("speakers", model())
    losses = learn(stage, data, 120)
    assert losses["arcface"] < 0.1 and losses["mean"] < 0.2 < losses["before"]
    mask = torch.ones(3, 75, dtype=torch.bool)
    clips, speakers, alone = voices_alone(data.batch.activity, mask, data.speakers >= 0)
    assert list(zip(clips.tolist(), speakers.tolist())) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert alone.sum(dim=1).tolist() == [30, 30, 30, 30, 75]
    assert not alone[:4, 30:45].any() and alone[0, :30].all() and alone[1, 45:].all()


def test_how_many_speak_is_told_by_frames() -> None:
    data = given(collate([turns_of_two(0, 1), turns_of_two(3, 2), clip(1, 1, 0.8)]))
    stage = stage_of("speakers", model(), arcface=0.0, mean=0.0, anchor=0.0)
    losses = learn(stage, data, 120)
    assert losses["count"] < 0.05 < losses["before"]
    latents, mask = stage.echo.latents(data.batch.audio, data.batch.audio_lens)
    found = stage.aids["count"](latents).argmax(dim=2)
    right = (found == (data.batch.activity > 0).sum(dim=2))[mask]
    assert right.float().mean() > 0.98


def test_means_of_frames_are_of_those_frames() -> None:
    latents = torch.arange(12.0).reshape(2, 3, 2)
    frames = torch.tensor([[True, False, True], [False, True, False]])
    assert mean_of_frames(latents, frames).tolist() == [[2.0, 3.0], [8.0, 9.0]]


def test_who_is_hardly_ever_alone_is_not_told() -> None:
    together = turns_of_two(0, 1)
    together.activity[8:67] = True
    stage = stage_of("speakers", model())
    lost = given(collate([together]))
    total, loss = stage("all", lost)
    total.backward()
    assert float(loss.tasks["arcface"]) == float(loss.tasks["mean"]) == 0
    assert torch.isfinite(total)
    assert stage.figures(lost)["accuracy"].denominator == 0


def test_nobody_to_be_told_on_a_frozen_encoder_is_a_step_all_the_same() -> None:
    together = turns_of_two(0, 1)
    together.activity[8:67] = True
    echo = model()
    echo.encoder.requires_grad_(False)
    total, loss = stage_of("speakers", echo)("all", given(collate([together])))
    total.backward()
    assert float(loss.tasks["arcface"]) == float(loss.tasks["mean"]) == 0


@pytest.mark.skipif(not CPU_AUTOCAST, reason="torch 1.13 has no autocast for all of this on a CPU")
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_in_bf16_has_the_loss_of_float32(
    name: str, singles: Given, mixtures: Given
) -> None:
    data = mixtures if name == "slots" else singles
    losses = {}
    for precision in (torch.float32, torch.bfloat16):
        config = StageConfig(predictor_width=32, predictor_layers=2)
        stage = STAGE_CLASSES[name](model(), config, 4, precision)
        torch.manual_seed(0)
        total, _ = stage("all", data)
        total.backward()
        losses[precision] = float(total)
        gradients = [p.grad for p in stage.parameters() if p.grad is not None]
        assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], rel=0.1, abs=0.05)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_at_full_size_has_gradients(name: str, singles: Given) -> None:
    stage = STAGE_CLASSES[name](Echo(EchoConfig()), StageConfig(), 4, torch.float32)
    stage.train()
    several = given(collate([clip(0, 2, 1.0), clip(2, 3, 1.0)], 4))
    total, loss = stage("all", several if name == "slots" else singles)
    total.backward()
    assert total.isfinite() and all(value.isfinite() for value in loss.tasks.values())
    for part in {"encoder", *PARTS[name]}:
        gradients = [p.grad for p in stage.echo.get_submodule(part).parameters()]
        reached = [g for g in gradients if g is not None]
        assert all(g.isfinite().all() for g in reached) and any(g.any() for g in reached), part


def test_slots_learn_a_batch_in_latents_and_sound(mixtures: Given) -> None:
    stage = stage_of("slots", model())
    losses = learn(stage, mixtures, 150, 3e-3)
    assert losses["latent"] < 0.6 and losses["existence"] < 0.3 and losses["activity"] < 0.5
    assert losses["separation"] < -0.2  # 2 dB better than the mixture
    stage.eval()
    figures = {name: ratio.rate for name, ratio in stage.figures(mixtures).items()}
    assert figures["accuracy"] == 100 and figures["der"] < 35 and figures["si_sdri"] > 2


def test_slots_do_not_care_in_which_order_the_speakers_are_named(mixtures: Given) -> None:
    stage = stage_of("slots", model()).eval()
    batch = mixtures.batch
    other = dataclasses.replace(
        batch, sources=batch.sources.flip(1), activity=batch.activity.flip(2)
    )
    with torch.no_grad():
        first, second = (
            stage.losses("all", each) for each in (mixtures, mixtures._replace(batch=other))
        )
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, msg=name)


def test_voices_are_made_of_mixtures_of_several_speakers_only() -> None:
    stage = stage_of("slots", model())
    alone, two = clip(1, 1, 1.0), clip(0, 2, 1.0)

    def separation(*examples: Example) -> torch.Tensor:
        return stage("all", given(collate(examples, 3)))[1].tasks["separation"]

    stage.eval()
    heard: List[int] = []
    stage.echo.voices.register_forward_hook(lambda _, inputs, __: heard.append(len(inputs[0])))
    torch.testing.assert_close(separation(alone, two, alone), separation(two), atol=1e-5, rtol=0)
    assert heard == [1, 1]
    nobody = separation(alone, alone)
    assert float(nobody) == 0
    nobody.backward()
    assert all(p.grad is not None for p in stage.echo.voices.parameters())  # for DDP


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_moves_its_own_parts_and_the_encoder(
    name: str, singles: Given, mixtures: Given
) -> None:
    echo = model()
    before = {n: p.clone() for n, p in echo.named_parameters()}
    stage = stage_of(name, echo)
    learn(stage, mixtures if name == "slots" else singles, 2)
    moved = {n.split(".")[0] for n, p in echo.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"encoder", *PARTS[name]}


@pytest.mark.parametrize("name", ["speakers", "slots"])
def test_a_frozen_encoder_stays_and_needs_no_anchor(
    name: str, singles: Given, mixtures: Given
) -> None:
    echo = model()
    echo.encoder.requires_grad_(False)
    state = {n: p.clone() for n, p in echo.encoder.named_parameters()}
    stage = stage_of(name, echo)
    losses = learn(stage, mixtures if name == "slots" else singles, 2)
    assert stage.anchor is None and "anchor" not in losses
    assert all(torch.equal(p, state[n]) for n, p in echo.encoder.named_parameters())
    assert not echo.encoder.training
