"""What all encoders share: freezing by layer, activation checkpointing."""

import sys

import pytest
import torch

from ume.errors import UmeError
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig, build_encoder
from ume.nn.vit import ViTSize
from ume.nn.whisper import WhisperSize

KINDS = ["whisper", "e-branchformer"]
AUDIO, LENS = torch.randn(2, 9000) * 0.1, torch.tensor([9000, 7000])


def config(kind, **changes):
    whisper = WhisperSize(16, 2, 3, 1, 10)
    e_branchformer = EBranchformerSize(3, 16, 2, 32, 32, 7, dropout=0.5)
    return EncoderConfig(kind, whisper, e_branchformer, **changes)


def trained(encoder):
    return {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_layers_and_all_before_them_are_frozen(kind):
    encoder = build_encoder(config(kind, frozen_layers=2))
    norm = "norm." if kind == "whisper" else "after_norm."
    assert trained(encoder) and all(
        name.startswith(("layers.2.", norm)) for name in trained(encoder)
    )
    encoder.train()
    encoder(AUDIO, LENS).layers.sum().backward()
    got = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert got == trained(encoder)


@pytest.mark.parametrize("kind", KINDS)
def test_all_layers_frozen_is_the_whole_encoder_and_none_is_none_of_it(kind):
    assert not trained(build_encoder(config(kind, frozen_layers=3)))
    encoder = build_encoder(config(kind))
    assert trained(encoder) == {name for name, _ in encoder.named_parameters()}
    encoder.freeze(3)
    encoder.freeze(0)
    assert trained(encoder) == {name for name, _ in encoder.named_parameters()}


@pytest.mark.parametrize("kind", [*KINDS, "vit", "log-mel"])
def test_a_clip_is_heard_like_another(kind):
    encoder = build_encoder(config(kind, vit=ViTSize(2, 16, 2))).eval()
    alone = encoder(AUDIO, LENS).layers
    torch.testing.assert_close(encoder(AUDIO, LENS, AUDIO).layers, alone)
    louder = 1e5 * AUDIO
    assert (encoder(AUDIO, LENS, louder).layers - alone).abs().max() > 0.01


def test_what_is_frozen_has_no_dropout():
    encoder = build_encoder(config("e-branchformer", frozen_layers=2)).train()
    assert encoder.training and encoder.layers[2].training and not encoder.layers[1].training
    first, second = (encoder(AUDIO, LENS).layers for _ in range(2))
    assert torch.equal(first[:2], second[:2]) and not torch.equal(first[2], second[2])
    assert not any(module.training for module in encoder.eval().modules())


def test_more_frozen_layers_than_there_are_is_an_error():
    with pytest.raises(UmeError, match="frozen_layers is 4; the encoder has 3 layers"):
        build_encoder(config("whisper", frozen_layers=4))


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing_changes_memory_and_not_gradients(kind):
    runs = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder = build_encoder(config(kind, checkpointing=checkpointing)).train()
        kept = Kept()
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
            loss = encoder(AUDIO, LENS).layers.square().sum()
        loss.backward()
        runs.append((kept.numbers, [parameter.grad for parameter in encoder.parameters()]))
    (plain, gradients), (less, again) = runs
    assert less < 0.6 * plain
    for first, second in zip(gradients, again):
        torch.testing.assert_close(first, second)


class Kept:
    """Counts the numbers that a forward pass keeps for the backward pass."""

    numbers = 0

    def pack(self, x):
        self.numbers += x.numel()
        return x

    def unpack(self, x):
        return x


def test_a_self_supervised_encoder_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UmeError, match="needs the package transformers"):
        build_encoder(EncoderConfig("self-supervised"))
