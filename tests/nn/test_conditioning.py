"""What tells speakers apart between the encoder's layers: starts, padding, classes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.errors import UmeError
from ume.nn.conditioning import (
    Conditioner,
    ConditioningConfig,
    Conditions,
    Sidecar,
    frame_classes,
)
from ume.nn.e_branchformer import EBranchformerEncoder, EBranchformerSize
from ume.nn.whisper import WhisperEncoder, WhisperSize

SIZES = ConditioningConfig(bottleneck=8, hidden=16, blocks=3, repeats=1)


@settings(max_examples=20, deadline=None)
@given(speakers=st.integers(1, 4), seed=st.integers(0, 99))
def test_classes_are_probabilities_and_follow_the_speakers(speakers: int, seed: int) -> None:
    activity = torch.rand(2, speakers, 5, generator=torch.Generator().manual_seed(seed))
    classes = frame_classes(activity)
    assert classes.shape == (2, speakers, 5, 4) and (classes >= 0).all()
    torch.testing.assert_close(classes.sum(dim=-1), torch.ones(2, speakers, 5))
    torch.testing.assert_close(classes[..., 1] + classes[..., 3], activity)  # this speaker speaks
    order = torch.randperm(speakers)
    torch.testing.assert_close(frame_classes(activity[:, order]), classes[:, order])


def encoder(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "whisper":
        size = WhisperSize(16, 2, encoder_layers=3, decoder_layers=1)
        return WhisperEncoder(size).eval()
    return EBranchformerEncoder(EBranchformerSize(3, 16, 2, 32, 32, 7, dropout=0.0)).eval()


@pytest.mark.parametrize("kind", ["whisper", "e-branchformer"])
@pytest.mark.parametrize("after", [1, 2])
def test_at_the_start_a_conditioned_stream_is_the_mixture(kind: str, after: int) -> None:
    net, lens = encoder(kind), torch.tensor([16000, 9000])
    audio = torch.randn(2, 16000) * (torch.arange(16000) < lens[:, None])
    encoded = net(audio, lens)
    conditioner = Conditioner(["activity", "masks"], 16, 3 - after, 5)
    states = encoded.layers[after - 1][:, None].expand(-1, 2, -1, -1)
    classes = frame_classes(torch.rand(2, 2, states.shape[2])).flatten(0, 1)
    conditions = Conditions(classes, torch.rand(4, states.shape[2], 10))
    again = net.go_on(encoded, states, after, lambda x, n: conditioner(x, n, conditions))
    assert again.layers.shape == (3, 4, *encoded.layers.shape[2:])
    assert again.lens.tolist() == encoded.lens.repeat_interleave(2).tolist()
    if kind == "whisper":  # an E-Branchformer's last frames are repeated, and heard again
        expected = encoded.layers.repeat_interleave(2, dim=1)
        torch.testing.assert_close(again.layers, expected, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        conditioner.biases[0, 1] += 1.0
        conditioner.by_mask[0].weight.normal_()
    changed = net.go_on(encoded, states, after, lambda x, n: conditioner(x, n, conditions))
    assert (changed.layers[after:] - again.layers[after:]).abs().max() > 0.01
    assert torch.equal(changed.layers[:after], again.layers[:after])


def test_conditions_that_do_not_exist() -> None:
    for wrong in ([], ["activity", "words"]):
        with pytest.raises(UmeError, match="give some of activity, masks"):
            Conditioner(wrong, 16, 1, 5)


def test_a_sidecar_starts_with_the_mixture_in_every_stream_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    net = Sidecar(SIZES, 16, 3).double()
    states, lens = torch.randn(2, 40, 16, dtype=torch.double), torch.tensor([40, 23])
    together = net(states, lens)
    assert together.shape == (2, 3, 40, 16) and not together[1, :, 23:].any()
    similar = torch.cosine_similarity(together[0].flatten(1), states[0].flatten()[None], dim=1)
    assert (similar > 0.98).all()
    alone = net(states[1:, :23], lens[1:])
    torch.testing.assert_close(together[1:, :, :23], alone)
    assert not torch.equal(together[:, 0], together[:, 1])  # or they could never become different
    together.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters() if p.ndim > 1)
