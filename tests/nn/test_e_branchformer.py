"""E-Branchformer: against a plain transcription of a layer, padding, gradients, sizes."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ume.errors import UmeError
from ume.nn.e_branchformer import EBranchformerEncoder, EBranchformerLayer, EBranchformerSize
from ume.nn.encoders import EncoderConfig, build_encoder
from ume.nn.whisper import WhisperEncoder

SMALL = EBranchformerSize(
    num_layers=2, width=16, num_heads=2, feed_forward=24, gating=20, kernel=5, dropout=0.0
)
OWSM_BASE = EBranchformerSize(
    width=384, num_heads=6, feed_forward=1536, gating=1536, subsampling=4, normalise="global"
)


def test_layer_equals_torchs_own_parts() -> None:
    torch.manual_seed(0)
    layer = EBranchformerLayer(SMALL).eval()
    x = torch.randn(1, 9, 16)
    attention = nn.MultiheadAttention(16, 2, batch_first=True)
    linears = [layer.attn.linear_q, layer.attn.linear_k, layer.attn.linear_v]
    attention.in_proj_weight.data = torch.cat([linear.weight for linear in linears])
    attention.in_proj_bias.data = torch.cat([linear.bias for linear in linears])
    attention.out_proj.load_state_dict(layer.attn.linear_out.state_dict())

    def half(x: torch.Tensor, norm: nn.LayerNorm, ff: nn.Module) -> torch.Tensor:
        return x + ff.w_2(nn.functional.silu(ff.w_1(norm(x)))) / 2

    def by_torch(conv: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
        padding, groups = conv.kernel_size[0] // 2, x.shape[2]
        return nn.functional.conv1d(x.mT, conv.weight, conv.bias, padding=padding, groups=groups).mT

    expected = half(x, layer.norm_ff_macaron, layer.feed_forward_macaron)
    normed = layer.norm_mha(expected)
    attended = attention(normed, normed, normed, need_weights=False)[0]
    wide = layer.cgmlp.channel_proj1(layer.norm_mlp(expected))
    gate = by_torch(layer.cgmlp.csgu.conv, layer.cgmlp.csgu.norm(wide[..., 10:]))
    both = torch.cat([attended, layer.cgmlp.channel_proj2(wide[..., :10] * gate)], dim=2)
    expected = expected + layer.merge_proj(both + by_torch(layer.depthwise_conv_fusion, both))
    expected = layer.norm_final(half(expected, layer.norm_ff, layer.feed_forward))
    result = layer(x, torch.ones(1, 9, dtype=torch.bool))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("subsampling", [2, 4])
@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 9000), padding=st.integers(0, 9000))
def test_padding_does_not_matter(subsampling: int, length: int, padding: int) -> None:
    torch.manual_seed(length)
    encoder = EBranchformerEncoder(replace(SMALL, subsampling=subsampling)).eval()
    batch = torch.randn(2, length + padding)
    together = encoder(batch, torch.tensor([length, length + padding]))
    alone = encoder(batch[:1, :length], torch.tensor([length]))
    frames = math.ceil(length / (160 * subsampling))
    assert together.lens[0] == frames == alone.layers.shape[2]
    assert together.frame_shift == subsampling / 100
    torch.testing.assert_close(together.layers[:, :1, :frames], alone.layers, atol=1e-5, rtol=1e-4)
    assert not together.layers[:, 0, frames:].any()


def test_every_parameter_learns() -> None:
    encoder = EBranchformerEncoder(replace(SMALL, dropout=0.1))
    output = encoder(torch.randn(2, 8000), torch.tensor([8000, 5000]))
    (output.layers * torch.randn_like(output.layers)).sum().backward()
    stuck = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [n for n in stuck if not n.endswith("linear_k.bias")]  # softmax ignores that one


def test_owsm_base_has_espnets_names_and_size() -> None:
    encoder = EBranchformerEncoder(OWSM_BASE)
    names = set(encoder.state_dict())
    assert {
        "embed.conv.0.weight",
        "embed.conv.2.bias",
        "embed.out.0.weight",
        "layers.5.attn.linear_q.weight",
        "layers.5.cgmlp.channel_proj1.0.weight",
        "layers.5.cgmlp.csgu.conv.weight",
        "layers.5.depthwise_conv_fusion.weight",
        "after_norm.weight",
    } <= names
    assert encoder.embed.out[0].in_features == 384 * 19
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    assert parameters == pytest.approx(29.3e6, rel=0.01)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"subsampling": 3}, "subsampling is 3"),
        ({"width": 18, "num_heads": 4}, "width 18"),
        ({"kernel": 4}, "kernel 4"),
        ({"gating": 21}, "gating 21"),
        ({"normalise": "none"}, "normalise is 'none'"),
    ],
)
def test_impossible_sizes_are_named(change: dict, message: str) -> None:
    with pytest.raises(UmeError, match=message):
        EBranchformerEncoder(replace(SMALL, **change))


def test_encoders_are_built_by_kind() -> None:
    assert isinstance(build_encoder(EncoderConfig()), WhisperEncoder)
    small = build_encoder(EncoderConfig("e-branchformer", e_branchformer=SMALL))
    assert (small.width, small.num_layers, small.frame_shift) == (16, 2, 0.02)
    with pytest.raises(UmeError, match="unknown encoder kind 'conformer'"):
        build_encoder(EncoderConfig("conformer"))
