"""The counts that docs/cost.md rests on, against counts by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.bench import cost as tool
from tests.bench.cost import Cost, Experiment, Saved, cost, count, curves, make_batch, table
from ume.models.ume import UME, LossConfig, UMEConfig
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig
from ume.nn.separation import SeparationConfig
from ume.training.train import Config

flop_counter = pytest.importorskip("torch.utils.flop_counter", reason="torch 1.13 counts nothing")

LAYERS, WIDTH, INNER, KERNEL = 3, 48, 96, 7


def small(**loss: float) -> Config:
    size = EBranchformerSize(LAYERS, WIDTH, 2, INNER, INNER, KERNEL, dropout=0.0)
    model = UMEConfig(
        vocab_size=tool.VOCABULARY,
        encoder=EncoderConfig("e-branchformer", e_branchformer=size),
        separation=SeparationConfig(
            "free", num_filters=32, kernel=64, stride=32, hidden=32, bottleneck=16, repeats=1
        ),
        asr=RecogniserConfig("encoders", 32, 2, 64, 7, 1, 1, dropout=0.0, decoder_layers=1),
        loss=LossConfig(**loss),
    )
    return Config("exp", "data", "lang", model, steps=100, max_duration=30.0, accumulate=2)


def test_operations_and_bytes_of_a_small_stack() -> None:
    rows, frames = 4, 10
    net = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 3))
    conv = nn.Conv1d(3, 5, kernel_size=3, padding=1)
    x = torch.randn(rows, frames, 8)
    saved = Saved(nn.ModuleList([net, conv]))
    with flop_counter.FlopCounterMode(display=False) as counter:
        with saved:
            y = net(x)  # (4, 10, 3)
            loss = conv(y.transpose(1, 2)).sum()
        loss.backward()
    first, second = 2 * rows * frames * 8 * 16, 2 * rows * frames * 16 * 3
    convolution = 2 * rows * frames * 3 * 5 * 3
    # the input of the first layer needs no gradient: two products instead of three
    assert counter.get_total_flops() == 2 * first + 3 * second + 3 * convolution
    assert saved.bytes == 4 * rows * frames * (8 + 16 + 3)


def test_an_encoder_is_counted_as_by_hand() -> None:
    """Diarization alone: three times the forward pass, within 10 %."""
    config, seconds = small(diarization=1.0, separation=0.0, asr=0.0), 4
    frames, bins = 50 * seconds, 37
    linear = (
        2 * 2 * WIDTH * INNER + 4 * WIDTH**2 + WIDTH * INNER + INNER // 2 * WIDTH + 2 * WIDTH**2
    )
    depthwise = KERNEL * (INNER // 2 + 2 * WIDTH)
    attention = 2 * frames * WIDTH
    embed = (9 * 39 + 9 * WIDTH * bins) * WIDTH + WIDTH * bins * WIDTH
    by_hand = 6 * frames * (LAYERS * (linear + depthwise + attention) + embed + 2 * WIDTH)
    _, flops, _ = count(UME(config.model), config, seconds)
    assert flops == pytest.approx(by_hand, rel=0.1)


def test_lengths_and_layers_are_extended_rightly() -> None:
    config = small()
    counted = count(UME(config.model), config, 7.0)
    extended = [np.polyval(column, 7.0) for column in curves(config).T]
    assert extended == pytest.approx(list(counted), rel=0.01)
    model = UME(config.model)
    assert counted[0] == sum(parameter.numel() for parameter in model.parameters())
    silent = small(asr=0.0)
    unused = sum(
        p.numel() for n, p in model.named_parameters() if n.startswith(("asr", "rwse.asr"))
    )
    assert count(UME(silent.model), silent, 1.0)[0] == counted[0] - unused


def test_hours_and_memory_follow_from_the_counts() -> None:
    config = small()
    spent = cost(config)
    _, flops, _ = (np.polyval(column, tool.CLIP) for column in curves(config).T)
    assert spent.flops == pytest.approx(4 * flops)  # two batches of two mixtures
    assert spent.hours == pytest.approx(100 * 4 * flops / (312e12 * 0.35) / 3600)
    assert spent.memory == pytest.approx(24 * spent.parameters + spent.activations)


def test_a_row_of_the_table() -> None:
    spent = Cost(parameters=5e6, flops=2.5e12, activations=1.88e9, updates=700, hours=3.21)
    row = table({Experiment("conv_tasnet", "", 2): spent})[-1]
    assert row == "| conv_tasnet |  | 2 | 5.0 | 2.5 | 1.9 | 2.0 | 700 | 3.2 |"


def test_a_batch_has_words_of_each_speaker() -> None:
    batch, tokens = make_batch(2.0, 3)
    assert batch.sources.shape == (1, 3, 32000) and batch.activity.shape == (1, 100, 3)
    assert [len(said) for said in tokens[0]] == [10, 10, 10]
