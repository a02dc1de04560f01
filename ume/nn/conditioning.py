"""How the upper layers of the shared encoder come to hear one speaker of a mixture at a time."""

from dataclasses import dataclass, field
from typing import List, Optional

import torch
from torch import Tensor, nn

from ume.errors import UmeError
from ume.nn.conv_tasnet import ConvTasNet
from ume.nn.gelu import GELU
from ume.nn.lengths import valid_frames
from ume.nn.linear import Linear

CONDITIONS = ("activity", "masks")
CLASSES = 4  # of a frame: silence, this speaker, others, this speaker and others
MASK_WIDTH = 256  # what a frame's mask, and what it lets through, is squeezed to


@dataclass
class ConditioningConfig:
    """Sizes of what tells speakers apart between the encoder's layers."""

    after: int = 1
    """layer of the encoder, from 1, that is the last to hear the mixture"""
    by: List[str] = field(default_factory=lambda: ["activity", "masks"])
    """what `conditioning` goes by: activity (DiCoW), masks (of the separation head), or both"""
    bottleneck: int = 128
    """channels between the blocks of `sidecar`"""
    hidden: int = 256
    """channels inside its blocks"""
    blocks: int = 8
    """its blocks in a row, dilated 1, 2, 4, ..."""
    repeats: int = 2
    """times that row is repeated"""


class Sidecar(nn.Module):
    """A separator of hidden states (Meng et al. 2023, arXiv 2302.09908).

    A Conv-TasNet masks the states of the mixture once per speaker, between two convolutions over
    three frames.
    """

    def __init__(self, config: ConditioningConfig, width: int, num_speakers: int) -> None:
        super().__init__()
        self.before = nn.Conv1d(width, width, kernel_size=3, padding=1)
        self.masker = ConvTasNet(
            width,
            width,
            num_speakers,
            config.bottleneck,
            config.hidden,
            blocks=config.blocks,
            repeats=config.repeats,
            skip=True,
            mask="sigmoid",
        )
        nn.init.constant_(self.masker.output.bias, 3.0)  # masks that are nearly open
        self.after = nn.Conv1d(width, width, kernel_size=3, padding=1)
        for conv in (self.before, self.after):  # at the start a stream is the mixture, masked
            nn.init.dirac_(conv.weight)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, states: Tensor, lens: Tensor) -> Tensor:
        """``states`` (B, F, D) of the mixture -> (B, S, F, D) of its speakers, zero past ends."""
        valid = valid_frames(lens, states.shape[1])[..., None].to(states.dtype)  # (B, F, 1)
        x = self.before((states * valid).transpose(1, 2)).transpose(1, 2) * valid
        masks = self.masker(x, valid)  # (B, S, F, D)
        streams = (x[:, None] * masks * valid[:, None]).flatten(0, 1)  # (B * S, F, D)
        streams = self.after(streams.transpose(1, 2)).transpose(1, 2)
        return streams.unflatten(0, masks.shape[:2]) * valid[:, None]


class Conditioner(nn.Module):
    """Transforms of a stream's states before each upper layer, by what is known of its speaker.

    By activity: ``x <- sum_c p_c (w_c * x + b_c)`` over the classes of a frame, a scale and a bias
    for each (DiCoW's diagonal transforms: Polok et al. 2024, arXiv 2501.00114). By masks: a scale
    and a bias computed from the speaker's mask of the frame and from the spectrum that it lets
    through. Both change nothing at the start.

    Args:
        by: some of ``activity`` and ``masks``.
        width: D of the states.
        num_layers: upper layers.
        num_masks: C, channels of a mask.
    """

    def __init__(self, by: List[str], width: int, num_layers: int, num_masks: int) -> None:
        super().__init__()
        if not by or set(by) - set(CONDITIONS):
            raise UmeError(f"asr.conditioning.by is {by}; give some of {', '.join(CONDITIONS)}")
        self.scales: Optional[nn.Parameter] = None
        self.biases: Optional[nn.Parameter] = None
        if "activity" in by:
            self.scales = nn.Parameter(torch.ones(num_layers, CLASSES, width))
            self.biases = nn.Parameter(torch.zeros(num_layers, CLASSES, width))
        self.squeeze: Optional[nn.Module] = None
        if "masks" in by:
            self.squeeze = nn.Sequential(Linear(2 * num_masks, MASK_WIDTH), GELU())
            self.by_mask = nn.ModuleList(Linear(MASK_WIDTH, 2 * width) for _ in range(num_layers))
            for layer in self.by_mask:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, layer: int, conditions: "Conditions") -> Tensor:
        """States (N, F, D) as upper layer number ``layer``, from 0, is to see them."""
        if self.scales is not None and self.biases is not None:
            assert conditions.classes is not None
            x = x * (conditions.classes @ self.scales[layer])
            x = x + conditions.classes @ self.biases[layer]
        if self.squeeze is not None:
            assert conditions.masks is not None
            scale, bias = self.by_mask[layer](self.squeeze(conditions.masks)).chunk(2, dim=-1)
            x = x * (1 + scale) + bias
        return x


@dataclass
class Conditions:
    """What is known of the speaker of each stream, frame by frame of the encoder.

    classes: (N, F, 4) probabilities of silence, this speaker, others, both.
    masks: (N, F, 2 C), the speaker's mask, and the logarithm of what it lets through.
    """

    classes: Optional[Tensor] = None
    masks: Optional[Tensor] = None


def frame_classes(activity: Tensor) -> Tensor:
    """Probabilities (B, S, F, 4) of each stream's classes from those of speech (B, S, F).

    >>> frame_classes(torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]]).transpose(0, 1))[0, 0]
    tensor([[0., 1., 0., 0.],
            [0., 0., 0., 1.],
            [1., 0., 0., 0.]])
    """
    quiet = 1 - activity
    speakers = activity.shape[1]
    others = [
        1 - quiet[:, [j for j in range(speakers) if j != k]].prod(dim=1) for k in range(speakers)
    ]
    other = torch.stack(others, dim=1)  # (B, S, F): somebody else speaks
    return torch.stack(
        [quiet * (1 - other), activity * (1 - other), quiet * other, activity * other], dim=-1
    )
