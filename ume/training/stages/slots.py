"""Stage 5: the voices of a mixture in slots, in latents and in sound; how many is not told."""

import math
from typing import Dict, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ume.dataset.batch import MixtureBatch
from ume.losses.costs import SI_SDR_SCALE, separation_cost
from ume.losses.slots import slot_loss
from ume.metrics.frame_der import frame_der
from ume.metrics.permutations import permute
from ume.metrics.results import Average, Ratio
from ume.models.echo import Echo
from ume.nn.encoder import full_precision
from ume.nn.lengths import valid_frames
from ume.nn.slots import Slots
from ume.training.stages.stage import Given, Stage, StageConfig, frozen


class Routed(NamedTuple):
    """A mixture in slots, each reference r with its slot ``perm[b, r]``."""

    losses: Dict[str, Tensor]
    slots: Slots
    voices: Tensor  # (B, K, T), in the order of the references
    perm: Tensor  # (B, K)
    mask: Tensor  # (B, F)


class SlotsStage(Stage):
    """Null-target separation. The targets are what the encoder, as it was before this stage, makes
    of each source alone; the latent and null losses are over their variance.

    A source counts as there if it speaks in the window. Watched: mixtures with as many live slots
    as speakers (%), DER of the slots (%), SI-SDRi (dB) of mixtures of two speakers and more.
    """

    trains = ("slots", "voices")

    def __init__(
        self, echo: Echo, config: StageConfig, num_speakers: int, precision: torch.dtype
    ) -> None:
        super().__init__(echo, config, num_speakers, precision)
        self.teacher = self.anchor if self.anchor is not None else frozen(echo.encoder)

    def losses(self, kind: str, given: Given) -> Dict[str, Tensor]:
        """See :class:`Stage`."""
        return self.routed(given).losses

    def routed(self, given: Given) -> Routed:
        """All that happens to a batch."""
        batch = given.batch
        latents, mask = self.echo.latents(batch.audio, batch.audio_lens)
        slots = self.echo.route(latents, mask)
        exists = batch.activity.any(dim=1)  # (B, K)
        targets = self.taught(batch, exists)  # (B, K, F, D)
        loss = slot_loss(
            slots.latents.float(), slots.existence.float(), targets, self.echo.slots.null,
            exists, mask,
        )  # fmt: skip
        scale = variance(targets[exists], mask.repeat_interleave(exists.sum(dim=1), dim=0))
        activity = permute(slots.activity.float(), loss.perm, dim=2)  # (B, F, K)
        speaks = binary_cross_entropy_with_logits(activity[mask], batch.activity[mask])
        with full_precision(batch.audio):
            voices = self.echo.voices(batch.audio, batch.audio_lens, slots.latents.float(), mask)
        voices = permute(voices, loss.perm)
        return Routed(
            {
                "latent": loss.latent / scale,
                "null": loss.null / scale,
                "existence": loss.existence,
                "activity": speaks / math.log(2),
                "separation": separation_loss(voices, batch, exists),
                **self.kept(latents, given, mask),
            },
            slots,
            voices,
            loss.perm,
            mask,
        )

    @torch.no_grad()
    def taught(self, batch: MixtureBatch, exists: Tensor) -> Tensor:
        """Latents (B, K, F, D) of the sources that ``exists`` (B, K); zero of the others."""
        lens = batch.audio_lens.repeat_interleave(exists.sum(dim=1))
        heard = self.teacher(batch.sources[exists], lens).layers[-1].float()  # (N, F, D)
        targets = heard.new_zeros(*exists.shape, *heard.shape[1:])
        targets[exists] = heard
        return targets

    def figures(self, given: Given) -> Dict[str, Ratio]:
        """See :class:`Stage`."""
        batch = given.batch
        found = self.routed(given)
        live = found.slots.existence > 0  # (B, K)
        right = live.sum(dim=1) == batch.activity.any(dim=1).sum(dim=1)
        active = (found.slots.activity > 0) & live[:, None] & found.mask[..., None]
        return {
            "accuracy": Average(100.0 * float(right.sum()), len(right)),
            "der": percent(frame_der(active, batch.activity)),
            "si_sdri": improvement(found.voices, batch, batch.activity.any(dim=1)),
        }


def variance(states: Tensor, mask: Tensor) -> Tensor:
    """Mean variance of ``states`` (N, F, D) over the frames of ``mask`` (N, F)."""
    return states[mask].var(dim=0, unbiased=False).mean().clamp(min=1e-5)


def improvements(voices: Tensor, batch: MixtureBatch, exists: Tensor) -> Tensor:
    """SI-SDRi (N,) over 10 dB of all sources of mixtures of two and more, negated.

    ``voices`` (B, K, T) are in the order of the references.
    """
    samples = valid_frames(batch.audio_lens, batch.audio.shape[1])
    cost, audible = separation_cost(voices, batch.sources, batch.audio, samples)
    own = cost.diagonal(dim1=1, dim2=2)  # (B, K)
    return own[exists & audible & (exists.sum(dim=1, keepdim=True) > 1)]


def separation_loss(voices: Tensor, batch: MixtureBatch, exists: Tensor) -> Tensor:
    """The mean of :func:`improvements`; 0 where nobody is mixed with anybody."""
    own = improvements(voices, batch, exists)
    return own.sum() / max(len(own), 1)


def improvement(voices: Tensor, batch: MixtureBatch, exists: Tensor) -> Average:
    """SI-SDRi (dB)."""
    own = improvements(voices, batch, exists)
    return Average(-SI_SDR_SCALE * float(own.sum()), len(own))


def percent(errors: Ratio) -> Average:
    """A rate as a mean in percent."""
    return Average(100.0 * errors.numerator, round(errors.denominator))
