"""The choice of encoder: a config in, an :class:`ume.nn.encoder.Encoder` out."""

from dataclasses import dataclass, field

from ume.errors import UmeError
from ume.nn.e_branchformer import EBranchformerEncoder, EBranchformerSize
from ume.nn.encoder import Encoder
from ume.nn.whisper import WhisperEncoder, WhisperSize


@dataclass
class EncoderConfig:
    """Which encoder, and the sizes of each kind; only those of the chosen kind count."""

    kind: str = "whisper"
    """whisper (meant for pretrained weights) or e-branchformer (from scratch)"""
    whisper: WhisperSize = field(default_factory=WhisperSize)
    """sizes of Whisper: those of the weights; the default is tiny.en"""
    e_branchformer: EBranchformerSize = field(default_factory=EBranchformerSize)
    """sizes of the E-Branchformer"""


def build_encoder(config: EncoderConfig) -> Encoder:
    """An encoder with random weights; ``ume.pretrained.initialise`` gives it trained ones."""
    if config.kind == "whisper":
        return WhisperEncoder(config.whisper)
    if config.kind == "e-branchformer":
        return EBranchformerEncoder(config.e_branchformer)
    raise UmeError(f"unknown encoder kind {config.kind!r}; choose whisper or e-branchformer")
