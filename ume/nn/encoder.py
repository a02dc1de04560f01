"""The one interface of speech encoders: audio in, the hidden states of every layer out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class EncoderOutput:
    """Hidden states of an encoder.

    layers: ``(L, B, F, D)``, the output of each layer; the last is the encoder's own output, with
        its final normalisation. Frames beyond a clip's length are zero.
    lens: ``(B,)`` int64, frames of each clip.
    frame_shift: seconds from one frame to the next.
    """

    layers: Tensor
    lens: Tensor
    frame_shift: float


class Encoder(nn.Module, ABC):
    """What every encoder offers: its sizes, and a forward from audio to :class:`EncoderOutput`.

    A clip's result depends on the clip alone: not on its neighbours in the batch, not on padding.
    A clip of ``T`` samples has ``ceil(T / (frame_shift * 16000))`` frames; the last partial frame
    is kept.
    """

    width: int
    num_layers: int
    frame_shift: float

    @abstractmethod
    def forward(self, audio: Tensor, audio_lens: Tensor) -> EncoderOutput:
        """``audio`` (B, T) at 16 kHz and ``audio_lens`` (B,) in samples -> hidden states."""
