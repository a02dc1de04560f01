"""Weights of others, read without executing code, into our layers."""

from torch import nn

from ume.errors import UmeError
from ume.files import PathLike
from ume.nn.whisper import WhisperEncoder
from ume.pretrained.whisper import load_whisper


def initialise(encoder: nn.Module, source: PathLike = "auto") -> str:
    """Put pretrained weights into ``encoder``; returns the sha256 of their file.

    ``source`` is as for :func:`ume.pretrained.whisper.load_whisper`.

    Raises:
        UmeError: unreadable weights, or weights of another size or kind of encoder.
    """
    if not isinstance(encoder, WhisperEncoder):
        raise UmeError(f"no pretrained weights for {type(encoder).__name__}; use a Whisper encoder")
    whisper = load_whisper(source)
    size = whisper.size
    if (encoder.width, encoder.num_layers) != (size.width, size.encoder_layers):
        raise UmeError(
            f"{whisper.path} has {size.encoder_layers} encoder layers of width {size.width}, the "
            f"model has {encoder.num_layers} of {encoder.width}; make the encoder's config agree"
        )
    encoder.load_state_dict(whisper.encoder)
    return whisper.sha256
