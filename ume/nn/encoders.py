"""The choice of encoder: a config in, an :class:`ume.nn.encoder.Encoder` out."""

from dataclasses import dataclass, field

from ume.errors import UmeError
from ume.nn.e_branchformer import EBranchformerEncoder, EBranchformerSize
from ume.nn.encoder import Encoder
from ume.nn.owsm_decoder import OwsmDecoder, OwsmDecoderSize
from ume.nn.self_supervised import SelfSupervisedEncoder, SelfSupervisedSize
from ume.nn.specaugment import SpecAugment, SpecAugmentConfig
from ume.nn.vit import LogMelEncoder, ViTEncoder, ViTSize
from ume.nn.whisper import WhisperEncoder, WhisperSize
from ume.nn.whisper_decoder import AttentionDecoder, WhisperDecoder


@dataclass
class EncoderConfig:
    """Which encoder, and the sizes of each kind; only those of the chosen kind count."""

    kind: str = "whisper"
    """whisper (meant for pretrained weights), e-branchformer (from scratch, or OWSM's weights),
    self-supervised (WavLM, HuBERT, wav2vec 2.0, where transformers is installed), vit (Echo's) or
    log-mel (none: Echo's baseline)"""
    whisper: WhisperSize = field(default_factory=WhisperSize)
    """sizes of Whisper: those of the weights; the default is tiny.en"""
    e_branchformer: EBranchformerSize = field(default_factory=EBranchformerSize)
    """sizes of the E-Branchformer"""
    owsm_decoder: OwsmDecoderSize = field(default_factory=OwsmDecoderSize)
    """sizes of OWSM's decoder beside an E-Branchformer (asr.foundation_decoder)"""
    self_supervised: SelfSupervisedSize = field(default_factory=SelfSupervisedSize)
    """which self-supervised model"""
    vit: ViTSize = field(default_factory=ViTSize)
    """sizes of the ViT, and of the patches of log-mel"""
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
    elif config.kind == "self-supervised":
        encoder = SelfSupervisedEncoder(config.self_supervised)
    elif config.kind == "vit":
        encoder = ViTEncoder(config.vit)
    elif config.kind == "log-mel":
        encoder = LogMelEncoder(config.vit)
    else:
        kinds = "whisper, e-branchformer, self-supervised, vit or log-mel"
        raise UmeError(f"unknown encoder kind {config.kind!r}; choose {kinds}")
    encoder.specaugment = SpecAugment(config.specaugment)
    encoder.freeze(config.frozen_layers)
    encoder.checkpointing = config.checkpointing
    return encoder


def build_foundation_decoder(config: EncoderConfig) -> AttentionDecoder:
    """The decoder that belongs to an encoder, with random weights."""
    if config.kind == "whisper":
        return WhisperDecoder(config.whisper)
    if config.kind == "e-branchformer":
        return OwsmDecoder(config.owsm_decoder, config.e_branchformer.width)
    raise UmeError(f"asr.foundation_decoder: an encoder of kind {config.kind} has no decoder")
