"""OWSM from an ESPnet checkpoint: a ``.pth`` with its ``config.yaml`` and statistics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import torch
import yaml
from torch import Tensor

from ume import compat
from ume.errors import UmeError
from ume.files import PathLike, existing, sha256
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.owsm_decoder import OwsmDecoderSize
from ume.pretrained.whisper import renamed

# What our encoder computes, as ESPnet's config says it, and what ESPnet takes where it is silent.
EXPECTED: List[Tuple[str, str, Any, Any]] = [
    ("frontend_conf", "n_fft", 512, 512),
    ("frontend_conf", "win_length", 400, None),
    ("frontend_conf", "hop_length", 160, 128),
    ("frontend_conf", "n_mels", 80, 80),
    ("encoder_conf", "attention_layer_type", "selfattn", "rel_selfattn"),
    ("encoder_conf", "pos_enc_layer_type", "abs_pos", "rel_pos"),
    ("encoder_conf", "use_linear_after_conv", False, False),
    ("encoder_conf", "gate_activation", "identity", "identity"),
    ("encoder_conf", "use_ffn", True, False),
    ("encoder_conf", "macaron_ffn", True, False),
    ("encoder_conf", "ffn_activation_type", "swish", "swish"),
    ("encoder_conf", "positionwise_layer_type", "linear", "linear"),
    ("encoder_conf", "qk_norm", False, False),
]
DECODER: List[Tuple[str, Any, Any]] = [  # the same of the decoder
    ("input_layer", "embed", "embed"),
    ("normalize_before", True, True),
    ("concat_after", False, False),
    ("use_output_layer", True, True),
]
DECODER_NAMES = [
    (r"^embed\.0\b", "embedding"),
    (r"^decoders\b", "layers"),
    (r"\bself_attn\b", "attention"),
    (r"\bsrc_attn\b", "cross_attention"),
    (r"\blinear_q\b", "query"),
    (r"\blinear_k\b", "key"),
    (r"\blinear_v\b", "value"),
    (r"\blinear_out\b", "out"),
    (r"\bnorm1\b", "attention_norm"),
    (r"\bnorm2\b", "cross_attention_norm"),
    (r"\bnorm3\b", "feed_forward_norm"),
    (r"\bw_1\b", "0"),
    (r"\bw_2\b", "2"),
    (r"^after_norm\b", "norm"),
    (r"^output_layer\b", "output"),
]
SUBSAMPLING = {"conv2d": 4, "conv2d2": 2}  # ESPnet's input_layer


@dataclass
class Owsm:
    """The encoder of an OWSM model: sizes, states in fp32, and where they came from."""

    path: Path
    sha256: str
    size: EBranchformerSize
    encoder: Dict[str, Tensor]


def load_owsm(source: PathLike) -> Owsm:
    """Read the encoder of an ESPnet S2T (OWSM) or ASR checkpoint; no code in it is executed.

    ``source`` is the ``.pth``, or a folder with one. ``config.yaml`` lies beside it, as ESPnet
    leaves it. The statistics of the features are in the ``.pth``, else in the ``stats_file`` that
    the config names, by its path or beside the ``.pth``.

    Raises:
        UmeError: missing or truncated file; another kind of encoder than OWSM v3.1's.
    """
    path = checkpoint_file(existing(source))
    config_file = existing(path.with_name("config.yaml"))
    config = yaml.safe_load(config_file.read_text())
    check(config, config_file)
    size = size_of(config["encoder_conf"], config_file)
    state = compat.load_state(path)
    encoder = {
        name.removeprefix("encoder.").replace("encoders.", "layers.", 1): value.float()
        for name, value in state.items()
        if name.startswith("encoder.")
    }
    mean, std = statistics(state, config, path)
    encoder.update({"features.mean": mean.float(), "features.std": std.float()})
    return Owsm(path, sha256(path), size, encoder)


def load_owsm_decoder(source: PathLike) -> Tuple[Path, OwsmDecoderSize, Dict[str, Tensor]]:
    """Where the decoder of an OWSM model was read from, its sizes, and its state in fp32.

    ``source`` is as for :func:`load_owsm`.

    Raises:
        UmeError: missing or truncated file; another kind of decoder than OWSM's.
    """
    path = checkpoint_file(existing(source))
    config_file = existing(path.with_name("config.yaml"))
    config = yaml.safe_load(config_file.read_text())
    if config.get("decoder") != "transformer":
        raise UmeError(f"{config_file}: decoder is {config.get('decoder')!r}, not transformer")
    given = config.get("decoder_conf") or {}
    for key, expected, default in DECODER:
        if given.get(key, default) != expected:
            raise UmeError(
                f"{config_file}: decoder_conf.{key} is {given[key]!r}; {expected!r} is supported"
            )
    if not config.get("token_list"):
        raise UmeError(f"{config_file} has no token_list; give the whole config of an OWSM model")
    state = {
        name.removeprefix("decoder."): value.float()
        for name, value in compat.load_state(path).items()
        if name.startswith("decoder.")
    }
    size = OwsmDecoderSize(
        num_layers=given.get("num_blocks", 6),
        num_heads=given.get("attention_heads", 4),
        feed_forward=given.get("linear_units", 2048),
        vocab_size=len(config["token_list"]),
    )
    return path, size, renamed(state, DECODER_NAMES)


def checkpoint_file(path: Path) -> Path:
    """The ``.pth`` at ``path``, or the only one in the folder ``path``."""
    found = sorted(path.glob("*.pth")) if path.is_dir() else [path]
    if len(found) != 1 or found[0].suffix != ".pth":
        raise UmeError(f"{path} is no ESPnet checkpoint; give a .pth, or a folder with one .pth")
    return found[0]


def check(config: Dict[str, Any], path: Path) -> None:
    """:class:`UmeError` names what our encoder does not compute as this config says."""
    if config.get("encoder") != "e_branchformer":
        raise UmeError(f"{path}: encoder is {config.get('encoder')!r}, not e_branchformer")
    if config.get("normalize") != "global_mvn":
        raise UmeError(f"{path}: normalize is {config.get('normalize')!r}; global_mvn is supported")
    for section, key, expected, default in EXPECTED:
        value = (config.get(section) or {}).get(key, default)
        if value != expected:
            raise UmeError(f"{path}: {section}.{key} is {value!r}; {expected!r} is supported")


def size_of(encoder: Dict[str, Any], path: Path) -> EBranchformerSize:
    """Sizes of the encoder, from ``encoder_conf``."""
    input_layer = encoder.get("input_layer", "conv2d")
    if input_layer not in SUBSAMPLING:
        raise UmeError(f"{path}: encoder_conf.input_layer is {input_layer!r}, not conv2d")
    kernel = encoder.get("cgmlp_conv_kernel", 31)
    merge = encoder.get("merge_conv_kernel", 3)
    if kernel != merge:
        raise UmeError(
            f"{path}: cgmlp_conv_kernel {kernel} and merge_conv_kernel {merge} differ; "
            "equal ones are supported"
        )
    return EBranchformerSize(
        num_layers=encoder.get("num_blocks", 12),
        width=encoder.get("output_size", 256),
        num_heads=encoder.get("attention_heads", 4),
        feed_forward=encoder.get("linear_units", 2048),
        gating=encoder.get("cgmlp_linear_units", 2048),
        kernel=kernel,
        subsampling=SUBSAMPLING[input_layer],
        normalise="global",
        dropout=encoder.get("dropout_rate", 0.1),
    )


def statistics(
    state: Dict[str, Tensor], config: Dict[str, Any], path: Path
) -> Tuple[Tensor, Tensor]:
    """Mean and deviation of the log-mel features, (80,) each."""
    if "normalize.mean" in state:
        return state["normalize.mean"], state["normalize.std"]
    name = (config.get("normalize_conf") or {}).get("stats_file", "feats_stats.npz")
    found = [file for file in (Path(name), path.with_name(Path(name).name)) if file.is_file()]
    if not found:
        raise UmeError(f"{path} holds no normalize.mean; put {name} beside it")
    sums = np.load(found[0])
    mean = sums["sum"] / sums["count"]
    variance = np.maximum(sums["sum_square"] / sums["count"] - mean**2, 1e-20)
    return torch.from_numpy(mean), torch.from_numpy(np.sqrt(variance))
