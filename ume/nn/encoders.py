"""The choice of encoder: a config in, an :class:`ume.nn.encoder.Encoder` out."""

from dataclasses import dataclass, field

from ume.errors import UmeError
from ume.nn.e_branchformer import EBranchformerEncoder, EBranchformerSize
from ume.nn.encoder import Encoder
from ume.nn.specaugment import SpecAugment, SpecAugmentConfig
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
    specaugment: SpecAugmentConfig = field(default_factory=SpecAugmentConfig)
    """parts of the log-mel features that are hidden in training"""
    frozen_layers: int = 0
    """first layers that are not trained, with all that lies before them; as many as there are:
    nothing of the encoder is"""
    checkpointing: bool = False
    """compute the layers' insides again going back: a third more time, far less memory"""


def build_encoder(config: EncoderConfig) -> Encoder:
    """An encoder with random weights; ``ume.pretrained.initialise`` gives it trained ones."""
    encoder: Encoder
    if config.kind == "whisper":
        encoder = WhisperEncoder(config.whisper)
    elif config.kind == "e-branchformer":
        encoder = EBranchformerEncoder(config.e_branchformer)
    else:
        raise UmeError(f"unknown encoder kind {config.kind!r}; choose whisper or e-branchformer")
    encoder.specaugment = SpecAugment(config.specaugment)
    encoder.freeze(config.frozen_layers)
    encoder.checkpointing = config.checkpointing
    return encoder
