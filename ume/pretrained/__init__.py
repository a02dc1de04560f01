"""Weights of others, read without executing code, into our layers."""

from pathlib import Path
from typing import Dict, Optional, Tuple, Union

from torch import Tensor, nn

from ume.errors import UmeError
from ume.files import PathLike
from ume.nn.e_branchformer import EBranchformerEncoder
from ume.nn.encoder import Encoder
from ume.nn.self_supervised import SelfSupervisedEncoder
from ume.nn.whisper import WhisperEncoder
from ume.nn.whisper_decoder import AttentionDecoder, WhisperDecoder
from ume.pretrained.owsm import load_owsm, load_owsm_decoder
from ume.pretrained.owsm_vocabulary import (
    OwsmVocabulary,
    copy_owsm_vocabulary,
    load_owsm_vocabulary,
)
from ume.pretrained.self_supervised import load_self_supervised
from ume.pretrained.whisper import load_whisper
from ume.pretrained.whisper_vocabulary import (
    WhisperVocabulary,
    copy_vocabulary,
    load_vocabulary,
)


def initialise(encoder: Encoder, source: PathLike = "auto") -> str:
    """Put pretrained weights into ``encoder``; returns the sha256 of their file.

    ``source`` is, for Whisper, as :func:`ume.pretrained.whisper.load_whisper` takes it; for an
    E-Branchformer as :func:`ume.pretrained.owsm.load_owsm` does, for a self-supervised encoder a
    folder or a name on the hub, `auto` the one that it was built from.

    Raises:
        UmeError: unreadable weights, or weights of another size or kind of encoder.
    """
    what, state, sha256, num_heads = read(encoder, source)
    expected = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    if shapes != expected:
        differing = min(set(shapes.items()) ^ set(expected.items()))[0]
        raise UmeError(
            f"{what}, and the model's encoder differs ({differing} is "
            f"{shapes.get(differing, 'missing')} there and {expected.get(differing, 'missing')} "
            "here); make the encoder's config agree"
        )
    if num_heads is not None:
        check_heads(encoder, num_heads, what)
    encoder.load_state_dict(state)
    return sha256


Vocabulary = Union[WhisperVocabulary, OwsmVocabulary]


def initialise_decoder(decoder: AttentionDecoder, source: PathLike, folder: PathLike) -> Vocabulary:
    """Put pretrained weights into ``decoder``, and what its tokens mean into ``folder``.

    Raises:
        UmeError: unreadable weights, weights of another size, or no vocabulary beside them.
    """
    path, state = read_decoder(decoder, source)
    if isinstance(decoder, WhisperDecoder):
        copy_vocabulary(path.parent, Path(folder))
    else:
        copy_owsm_vocabulary(path.parent, Path(folder))
    decoder.load_state_dict(state)
    return foundation_vocabulary(folder)


def read_decoder(decoder: AttentionDecoder, source: PathLike) -> Tuple[Path, Dict[str, Tensor]]:
    """The file of pretrained weights for ``decoder``, and the weights.

    Raises:
        UmeError: unreadable weights, or weights of another size.
    """
    if isinstance(decoder, WhisperDecoder):
        whisper = load_whisper(source)
        path, state, sizes = whisper.path, whisper.decoder, str(whisper.size)
        num_heads = whisper.size.num_heads
    else:
        path, size, state = load_owsm_decoder(source)
        sizes, num_heads = str(size), size.num_heads
    expected = {name: value.shape for name, value in decoder.state_dict().items()}
    if expected != {name: value.shape for name, value in state.items()}:
        raise UmeError(
            f"the decoder in {path} is not the model's; make the encoder's config agree: {sizes}"
        )
    check_heads(decoder, num_heads, f"{path} has the decoder")
    return path, state


def check_heads(ours: nn.Module, theirs: int, what: str) -> None:
    """:class:`UmeError` where the attention heads differ in number, which no shape tells."""
    own = next(part.num_heads for part in ours.modules() if hasattr(part, "num_heads"))
    if own != theirs:
        raise UmeError(
            f"{what}, with {theirs} attention heads, and the model has {own}; make its config agree"
        )


def foundation_vocabulary(folder: PathLike) -> Vocabulary:
    """What :func:`initialise_decoder` has put into ``folder``."""
    if (Path(folder) / "tokenizer.json").exists():
        return load_vocabulary(Path(folder))
    return load_owsm_vocabulary(Path(folder))


def read(encoder: Encoder, source: PathLike) -> Tuple[str, Dict[str, Tensor], str, Optional[int]]:
    """What the weights for ``encoder`` are (for messages), the weights, their file's hash, and the
    number of attention heads, unless the encoder takes it from there itself.
    """
    if isinstance(encoder, WhisperEncoder):
        whisper = load_whisper(source)
        size = whisper.size
        what = f"{whisper.path} has {size.encoder_layers} encoder layers of width {size.width}"
        return what, whisper.encoder, whisper.sha256, size.num_heads
    if isinstance(encoder, EBranchformerEncoder) and str(source) != "auto":
        owsm = load_owsm(source)
        what = f"{owsm.path} has an encoder of {owsm.size}"
        return what, owsm.encoder, owsm.sha256, owsm.size.num_heads
    if isinstance(encoder, SelfSupervisedEncoder):
        source = encoder.source if str(source) == "auto" else source
        state, sha256 = load_self_supervised(source)
        return f"{source} is a self-supervised model", state, sha256, None
    raise UmeError(
        f"no pretrained weights for {type(encoder).__name__} are known; "
        "give encoder_weights the path of an OWSM checkpoint (.pth), or use a Whisper encoder"
    )
