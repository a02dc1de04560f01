"""OWSM's encoder, saved by ESPnet and loaded by us: every layer's output."""

from pathlib import Path
from typing import Dict, List

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from ume.nn.e_branchformer import EBranchformerEncoder, EBranchformerSize
from ume.nn.owsm_decoder import OwsmDecoder
from ume.pretrained import initialise
from ume.pretrained.owsm import load_owsm, load_owsm_decoder

TOLERANCE = 1e-5
SIZES = {
    "small and odd": dict(num_blocks=3, output_size=48, attention_heads=4, units=100, kernel=15),
    "base": dict(num_blocks=6, output_size=384, attention_heads=6, units=1536, kernel=31),
    "medium": dict(num_blocks=18, output_size=1024, attention_heads=16, units=4096, kernel=31),
}
FRONTEND = {"n_fft": 512, "win_length": 400, "hop_length": 160}


def encoder_conf(num_blocks: int, output_size: int, attention_heads: int, units: int, kernel: int):
    """As in OWSM v3.1's config.yaml."""
    return {
        "output_size": output_size,
        "attention_heads": attention_heads,
        "attention_layer_type": "selfattn",
        "pos_enc_layer_type": "abs_pos",
        "rel_pos_type": "latest",
        "cgmlp_linear_units": units,
        "cgmlp_conv_kernel": kernel,
        "use_linear_after_conv": False,
        "gate_activation": "identity",
        "num_blocks": num_blocks,
        "dropout_rate": 0.1,
        "positional_dropout_rate": 0.1,
        "attention_dropout_rate": 0.1,
        "input_layer": "conv2d",
        "layer_drop_rate": 0.0,
        "linear_units": units,
        "positionwise_layer_type": "linear",
        "use_ffn": True,
        "macaron_ffn": True,
        "merge_conv_kernel": kernel,
    }


def save_with_espnet(folder: Path, conf: Dict) -> nn.Module:
    """A whole ESPnet S2T model with random weights, its checkpoint and what lies beside it."""
    from espnet2.asr.ctc import CTC
    from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
    from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoder as Peer
    from espnet2.asr.frontend.default import DefaultFrontend
    from espnet2.layers.global_mvn import GlobalMVN
    from espnet2.s2t.espnet_model import ESPnetS2TModel

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    mean = rng.normal(-5, 1, 80)
    np.savez(
        folder / "feats_stats.npz",
        count=1000.0,
        sum=1000 * mean,
        sum_square=1000 * (mean**2 + rng.uniform(1, 9, 80)),
    )
    tokens = ["<blank>", "<unk>", "<na>", "a", "b", "<sop>", "<sos>", "<eos>"]
    width = conf["output_size"]
    model = ESPnetS2TModel(
        vocab_size=len(tokens),
        token_list=tokens,
        frontend=DefaultFrontend(fs=16000, **FRONTEND),
        specaug=None,
        normalize=GlobalMVN(folder / "feats_stats.npz"),
        preencoder=None,
        encoder=Peer(80, use_flash_attn=False, **conf),
        postencoder=None,
        decoder=TransformerDecoder(len(tokens), width, linear_units=16, num_blocks=2),
        ctc=CTC(len(tokens), width),
    )
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):  # else it would be the identity
            nn.init.normal_(module.weight, 1.0, 0.1)
            nn.init.normal_(module.bias, 0.0, 0.1)
    torch.save(model.state_dict(), folder / "valid.acc.ave.pth")
    config = {
        "encoder": "e_branchformer",
        "encoder_conf": conf,
        "frontend": "default",
        "frontend_conf": FRONTEND,
        "normalize": "global_mvn",
        "normalize_conf": {"stats_file": "exp/s2t_stats/train/feats_stats.npz"},
        "decoder": "transformer",
        "decoder_conf": {"linear_units": 16, "num_blocks": 2},
        "token_list": tokens,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return model.eval()


def layers_of_espnet(model: nn.Module, audio: Tensor) -> List[Tensor]:
    """The output (F, D) of every layer for ``audio`` (T,), the last with the final norm."""
    outputs = []
    hooks = [
        layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output[0]))
        for layer in model.encoder.encoders
    ]
    with torch.no_grad():
        final, lens = model.encode(audio[None], torch.tensor([len(audio)]))
    for hook in hooks:
        hook.remove()
    # with absolute positions a layer passes (x, mask) on; with relative ones ((x, pos), mask)
    states = [x[0] if isinstance(x, tuple) else x for x in outputs]
    assert int(lens[0]) == final.shape[1]
    return [x[0] for x in states[:-1]] + [final[0]]


@pytest.mark.parametrize("size", SIZES)
def test_every_layer_equals_espnets(size: str, tmp_path: Path) -> None:
    model = save_with_espnet(tmp_path, encoder_conf(**SIZES[size]))
    encoder = EBranchformerEncoder(load_owsm(tmp_path).size)
    initialise(encoder, tmp_path)
    encoder.eval()
    for length in (16000, 23456, 48319):
        audio = torch.randn(length) * torch.linspace(0.01, 0.3, length)
        expected = torch.stack(layers_of_espnet(model, audio))  # (L, F, D)
        with torch.no_grad():
            layers = encoder(audio[None], torch.tensor([length])).layers[:, 0]  # (L, F', D)
        frames = expected.shape[1]
        assert frames <= layers.shape[1] <= frames + 2
        assert (layers[:, :frames] - expected).abs().max() <= TOLERANCE
        repeated = layers[:, frames - 1 : frames].expand_as(layers[:, frames:])
        torch.testing.assert_close(layers[:, frames:], repeated, atol=0, rtol=0)


@pytest.mark.parametrize("size", ["small and odd", "base"])
def test_the_decoder_equals_espnets(size: str, tmp_path: Path) -> None:
    width = SIZES[size]["output_size"]
    model = save_with_espnet(tmp_path, encoder_conf(**SIZES[size]))
    _, found, state = load_owsm_decoder(tmp_path)
    decoder = OwsmDecoder(found, width).eval()
    decoder.load_state_dict(state)
    states, lens = torch.randn(2, 31, width), torch.tensor([31, 17])
    tokens = torch.randint(0, 8, (2, 12))
    with torch.no_grad():
        expected, _ = model.decoder(states, lens, tokens, torch.tensor([12, 12]))
        ours = decoder(tokens, decoder.start(states, lens))
    assert expected.abs().max() > 0.1
    assert (ours - expected).abs().max() <= TOLERANCE


def test_statistics_come_from_the_npz_where_the_checkpoint_lacks_them(tmp_path: Path) -> None:
    save_with_espnet(tmp_path, encoder_conf(**SIZES["small and odd"]))
    path = tmp_path / "valid.acc.ave.pth"
    whole = load_owsm(path)
    state = torch.load(path, weights_only=True)
    for name in ("normalize.mean", "normalize.std"):
        del state[name]
    torch.save(state, path)
    without = load_owsm(path)
    assert without.size == whole.size == EBranchformerSize(3, 48, 4, 100, 100, 15, 4, "global", 0.1)
    for name in ("features.mean", "features.std"):
        torch.testing.assert_close(without.encoder[name], whole.encoder[name])
