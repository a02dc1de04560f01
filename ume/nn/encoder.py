"""The one interface of speech encoders: audio in, the hidden states of every layer out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ume.errors import UmeError
from ume.nn.lengths import valid_frames
from ume.nn.specaugment import SpecAugment, SpecAugmentConfig

Before = Callable[[Tensor, int], Tensor]  # a layer's input and its number, to what it is to see


def full_precision(audio: Tensor) -> torch.autocast:
    """A context without autocast: what is computed from samples needs all their bits."""
    return torch.autocast(audio.device.type, enabled=False)


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
    With ``like``, a clip is heard as a part of another one, such as a source of its mixture: what
    the front end normalises by is taken from that.
    A clip of ``T`` samples has ``ceil(T / (frame_shift * 16000))`` frames; the last partial frame
    is kept.
    """

    width: int
    num_layers: int
    frame_shift: float
    layers: nn.ModuleList
    features: nn.Module  # audio (B, T), lens (B,), like -> log-mel (B, F, M), lens (B,)
    frozen_layers = 0
    checkpointing = False  # keep each layer's input only, and compute the rest again going back

    def __init__(self) -> None:
        super().__init__()
        self.specaugment = SpecAugment(SpecAugmentConfig())

    def log_mel(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor]:
        """What the first layer hears (B, F, M), and its lengths; in full precision always."""
        with full_precision(audio):
            features, lens = self.features(audio, audio_lens, like)
            return self.specaugment(features, lens), lens

    @property
    def stack(self) -> nn.ModuleList:
        """The layers, first to last."""
        return self.layers

    @property
    @abstractmethod
    def final_norm(self) -> nn.Module:
        """What the last layer's output goes through."""

    def freeze(self, num_layers: int) -> None:
        """Keep the first ``num_layers`` layers, and all that lies before them, as they are."""
        if not 0 <= num_layers <= self.num_layers:
            raise UmeError(
                f"encoder.frozen_layers is {num_layers}; the encoder has {self.num_layers} layers"
            )
        self.frozen_layers = num_layers
        self.requires_grad_(num_layers == 0)
        for module in self.trained_modules():
            module.requires_grad_(True)
        self.train(self.training)

    def trained_modules(self) -> List[nn.Module]:
        """What :meth:`freeze` leaves to training."""
        if self.frozen_layers == 0:
            return [self]
        left = list(self.stack[self.frozen_layers :])
        return [self.specaugment, *left, self.final_norm] if left else []

    def train(self, mode: bool = True) -> "Encoder":
        """As ever, but what is frozen has no dropout."""
        super().train(mode and self.frozen_layers == 0)
        self.training = mode
        for module in self.trained_modules():
            if module is not self:
                module.train(mode)
        return self

    def context(self, lens: Tensor, num_frames: int) -> Tuple[Any, ...]:
        """What each layer is given beside its input, for clips of ``lens`` (B,) frames."""
        raise UmeError(f"the layers of {type(self).__name__} cannot be run one by one")

    def run_layer(self, layer: nn.Module, x: Tensor, *context: Any) -> Tensor:
        """The output of a layer, which with ``checkpointing`` is computed again going back."""
        if self.checkpointing and self.training and x.requires_grad:
            return checkpoint(layer, x, *context, use_reentrant=False)
        return layer(x, *context)

    def run_layers(
        self, x: Tensor, lens: Tensor, skip: int = 0, before: Optional[Before] = None
    ) -> Tensor:
        """The outputs (L - skip, B, F, D) of the layers after the first ``skip`` ones.

        ``x`` (B, F, D) is the input of the first of them. ``before`` changes what each of them is
        to see, given its input and its number among them.
        """
        context = self.context(lens, x.shape[1])
        hidden = []
        for number, layer in enumerate(self.stack[skip:]):
            if before is not None:
                x = before(x, number)
            x = self.run_layer(layer, x, *context)
            hidden.append(x)
        return torch.stack([*hidden[:-1], self.final_norm(x)])

    def go_on(
        self, encoded: EncoderOutput, x: Tensor, after: int, before: Optional[Before] = None
    ) -> EncoderOutput:
        """The encoder's layers again for K streams of each clip, which differ from ``after`` on.

        ``x`` (B, K, F, D) stands for the output of layer ``after``, from 1; the layers up to it
        are those of ``encoded``. The result is of B * K clips.
        """
        streams = x.shape[1]
        lens = encoded.lens.repeat_interleave(streams)
        valid = valid_frames(lens, x.shape[2]).unsqueeze(2)
        upper = self.run_layers(x.flatten(0, 1), lens, after, before) * valid
        lower = encoded.layers[:after].repeat_interleave(streams, dim=1)
        return EncoderOutput(torch.cat([lower, upper]), lens, encoded.frame_shift)

    @abstractmethod
    def forward(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> EncoderOutput:
        """``audio`` (B, T) at 16 kHz and ``audio_lens`` (B,) in samples -> hidden states.

        ``like`` (B, T) is what each clip is heard as a part of, by default itself.
        """
