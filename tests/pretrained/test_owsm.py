"""ESPnet's checkpoints, in files as ESPnet writes them; tests/parity compares with ESPnet."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch
import yaml

from ume.errors import UmeError
from ume.nn.e_branchformer import EBranchformerEncoder, EBranchformerSize
from ume.nn.encoders import EncoderConfig, build_encoder
from ume.pretrained import initialise
from ume.pretrained.owsm import load_owsm

SIZE = EBranchformerSize(2, 16, 2, 24, 20, 5, 4, "global", 0.1)
CONFIG: Dict[str, Any] = {
    "encoder": "e_branchformer",
    "encoder_conf": {
        "output_size": 16,
        "attention_heads": 2,
        "attention_layer_type": "selfattn",
        "pos_enc_layer_type": "abs_pos",
        "cgmlp_linear_units": 20,
        "cgmlp_conv_kernel": 5,
        "merge_conv_kernel": 5,
        "num_blocks": 2,
        "linear_units": 24,
        "use_ffn": True,
        "macaron_ffn": True,
        "input_layer": "conv2d",
    },
    "frontend_conf": {"n_fft": 512, "win_length": 400, "hop_length": 160},
    "normalize": "global_mvn",
    "normalize_conf": {"stats_file": "/somewhere/else/feats_stats.npz"},
}


@pytest.fixture
def encoder() -> EBranchformerEncoder:
    """An encoder whose every number is its own."""
    torch.manual_seed(0)
    encoder = EBranchformerEncoder(SIZE)
    for value in encoder.state_dict().values():
        torch.nn.init.normal_(value)
    return encoder


@pytest.fixture
def folder(encoder: EBranchformerEncoder, tmp_path: Path) -> Path:
    """What ESPnet leaves of a model with that encoder."""
    state = {"decoder.output_layer.bias": torch.zeros(3), "ctc.ctc_lo.bias": torch.zeros(3)}
    for name, value in encoder.state_dict().items():
        theirs = {"features.mean": "normalize.mean", "features.std": "normalize.std"}
        state[theirs.get(name, "encoder." + name.replace("layers.", "encoders."))] = value
    torch.save(state, tmp_path / "valid.pth")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def test_the_encoder_comes_back(encoder: EBranchformerEncoder, folder: Path) -> None:
    owsm = load_owsm(folder)
    assert owsm.size == SIZE and owsm.path == folder / "valid.pth"
    assert load_owsm(folder / "valid.pth").sha256 == owsm.sha256
    new = build_encoder(EncoderConfig("e-branchformer", e_branchformer=owsm.size))
    assert initialise(new, folder) == owsm.sha256
    for name, value in encoder.state_dict().items():
        assert torch.equal(new.state_dict()[name], value), name


def test_statistics_from_their_own_file(folder: Path) -> None:
    state = torch.load(folder / "valid.pth")
    del state["normalize.mean"], state["normalize.std"]
    torch.save(state, folder / "valid.pth")
    with pytest.raises(UmeError, match="put /somewhere/else/feats_stats.npz beside it"):
        load_owsm(folder)
    rng = np.random.default_rng(0)
    frames = rng.normal(-4, 2, (50, 80))
    np.savez(
        folder / "feats_stats.npz",
        count=np.array(50),
        sum=frames.sum(0),
        sum_square=(frames**2).sum(0),
    )
    found = load_owsm(folder).encoder
    np.testing.assert_allclose(found["features.mean"], frames.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["features.std"], frames.std(0), rtol=1e-5)


@pytest.mark.parametrize(
    "section, key, value, message",
    [
        (None, "encoder", "conformer", "encoder is 'conformer', not e_branchformer"),
        (None, "normalize", "utterance_mvn", "normalize is 'utterance_mvn'"),
        ("encoder_conf", "attention_layer_type", "rel_selfattn", "is 'rel_selfattn'; 'selfattn'"),
        ("encoder_conf", "input_layer", "conv2d8", "input_layer is 'conv2d8'"),
        ("encoder_conf", "merge_conv_kernel", 3, "cgmlp_conv_kernel 5 and merge_conv_kernel 3"),
        ("frontend_conf", "hop_length", None, "frontend_conf.hop_length is None; 160 is"),
    ],
)
def test_another_encoder_is_named(
    folder: Path, section: str, key: str, value: Any, message: str
) -> None:
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    (config[section] if section else config)[key] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UmeError, match=message):
        load_owsm(folder)


def test_heads_are_counted_though_no_shape_tells(folder: Path) -> None:
    config = EncoderConfig("e-branchformer", e_branchformer=replace(SIZE, num_heads=4))
    with pytest.raises(UmeError, match="with 2 attention heads, and the model has 4"):
        initialise(build_encoder(config), folder)


def test_what_is_no_checkpoint_is_named(folder: Path) -> None:
    new = build_encoder(EncoderConfig("e-branchformer", e_branchformer=replace(SIZE, gating=24)))
    with pytest.raises(UmeError, match="gating=20.*make the encoder's config agree"):
        initialise(new, folder)
    with pytest.raises(UmeError, match="no pretrained weights for EBranchformerEncoder"):
        initialise(new, "auto")
    (folder / "second.pth").touch()
    with pytest.raises(UmeError, match="or a folder with one .pth"):
        load_owsm(folder)
    with pytest.raises(UmeError, match="second.pth is truncated"):
        load_owsm(folder / "second.pth")
    (folder / "config.yaml").unlink()
    with pytest.raises(UmeError, match="config.yaml does not exist"):
        load_owsm(folder / "valid.pth")
