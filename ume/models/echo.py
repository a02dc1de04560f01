"""Echo: speakers, content and routing in the latents of one ViT (arXiv 2606.01909)."""

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from torch import Tensor, nn

from ume.activity import FRAME_SAMPLES, FRAME_SHIFT
from ume.errors import UmeError
from ume.nn.encoder import Encoder
from ume.nn.encoders import EncoderConfig, build_encoder
from ume.nn.factors import FactorConfig, Factors
from ume.nn.lengths import num_frames, valid_frames
from ume.nn.linear import Linear
from ume.nn.slot_voices import SlotVoices
from ume.nn.slots import Slots, SlotSeparator
from ume.nn.speaker import SpeakerHead

PARTS = {  # of the model, that each stage of training gives meaning to, in order
    "jepa": ("encoder",),
    "content": ("content",),
    "factors": ("factors",),
    "speakers": ("speaker",),
    "slots": ("slots", "voices"),
}
STAGES = tuple(PARTS)


@dataclass
class SlotConfig:
    """Sizes of the routing to slots, and of the way back to sound."""

    num_slots: int = 4
    """K: most speakers of a mixture"""
    width: int = 256
    """width of the layers"""
    num_layers: int = 3
    """pairs of layers, through time and among slots"""
    voice_layers: int = 2
    """layers of the decoder to masks"""
    num_heads: int = 4
    """attention heads"""


@dataclass
class EchoConfig:
    """Everything that defines the network, and what it has learned."""

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(kind="vit"))
    """the encoder: a ViT, or one of the baselines"""
    vocab_size: int = 30
    """V, tokens, blank included; set from the lang folder"""
    embedding: int = 192
    """width of speaker embeddings"""
    factors: FactorConfig = field(default_factory=FactorConfig)
    """subspaces of speaker and content"""
    slots: SlotConfig = field(default_factory=SlotConfig)
    """slots"""
    stages: List[str] = field(default_factory=list)
    """stages of training that the weights have been through"""


class Echo(nn.Module):
    """The encoder and a light head for each stage; those of stages that are to come are random.

    Frames are of 20 ms. "Latents" are the encoder's last layer, (B, F, D), zero beyond a clip.
    """

    def __init__(self, config: EchoConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: Encoder = build_encoder(config.encoder)
        if self.encoder.frame_shift != FRAME_SHIFT:
            raise UmeError(
                f"Echo's encoder must have frames of {FRAME_SHIFT} s, not "
                f"{self.encoder.frame_shift}; choose another encoder.kind or patch 2"
            )
        width, slots = self.encoder.width, config.slots
        self.content = Linear(width, config.vocab_size)
        self.factors = Factors(width, config.factors, config.vocab_size)
        self.speaker = SpeakerHead(width, config.embedding)
        self.slots = SlotSeparator(
            width, slots.num_slots, slots.width, slots.num_layers, slots.num_heads
        )
        self.voices = SlotVoices(width, slots.width, slots.voice_layers, slots.num_heads)

    def latents(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor]:
        """``audio`` (B, T), ``audio_lens`` (B,) in samples -> latents (B, F, D), mask (B, F).

        ``like`` (B, T) are the mixtures, where ``audio`` are their sources.
        """
        lens = num_frames(audio_lens, FRAME_SAMPLES)
        encoded = self.encoder(audio, audio_lens, like)
        return encoded.layers[-1], valid_frames(lens, int(lens.max()))

    def log_probs(self, latents: Tensor) -> Tensor:
        """Log-probabilities (..., F, V) of tokens in ``latents`` (..., F, D), of a clip or slot."""
        return self.content(latents).log_softmax(dim=-1)

    def embed(self, latents: Tensor, weight: Tensor) -> Tensor:
        """Embeddings (B, E) of length one of the voice in ``latents`` (B, F, D).

        ``weight`` (B, F) says how much each frame counts; at least, whether it exists.
        """
        return self.speaker(latents, weight)

    def route(self, latents: Tensor, mask: Tensor) -> Slots:
        """The voices of a mixture, given its ``latents`` (B, F, D); ``mask`` (B, F)."""
        return self.slots(latents, mask)
