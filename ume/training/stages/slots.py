"""Stage slots: the voices of a mixture in slots, in latents and in sound; how many is not told."""

from typing import Dict, NamedTuple

import torch
from torch import Tensor

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
    """What becomes of a batch of mixtures.

    losses: by name.
    slots: of all mixtures.
    improvement: SI-SDRi (N,) of the N voices of mixtures of two speakers and more, dB.
    mask: (B, F), frames that exist.
    """

    losses: Dict[str, Tensor]
    slots: Slots
    improvement: Tensor
    mask: Tensor


class SlotsStage(Stage):
    """Null-target separation. The targets are what the encoder, as it was before this stage, makes
    of each source, heard as a part of its mixture.

    A source counts as there if it speaks in the window. Watched: mixtures with as many live slots
    as speakers (%), DER of the slots (%), SI-SDRi (dB) of mixtures of two speakers and more.
    """

    trains = ("slots", "voices")
    names = ("latent", "null", "existence", "activity", "separation")

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
        with full_precision(batch.audio):
            loss = slot_loss(slots, targets, batch.activity, self.echo.slots.null, exists, mask)
        own = self.improvements(batch, exists, slots, loss.perm, mask)
        return Routed(
            {
                "latent": loss.latent,
                "null": loss.null,
                "existence": loss.existence,
                "activity": loss.activity,
                "separation": -own.sum() / max(len(own), 1),
                **self.kept(latents, given, mask),
            },
            slots,
            SI_SDR_SCALE * own,
            mask,
        )

    @torch.no_grad()
    def taught(self, batch: MixtureBatch, exists: Tensor) -> Tensor:
        """Latents (B, K, F, D) of the sources that ``exists`` (B, K); zero of the others.

        A source is heard as a part of its mixture: normalised by itself, it would be the louder
        the less it speaks, and no slot can see that in the mixture.
        """
        counts = exists.sum(dim=1)
        lens, like = (each.repeat_interleave(counts, 0) for each in (batch.audio_lens, batch.audio))
        heard = self.teacher(batch.sources[exists], lens, like).layers[-1].float()  # (N, F, D)
        targets = heard.new_zeros(*exists.shape, *heard.shape[1:])
        targets[exists] = heard
        return targets

    def improvements(
        self, batch: MixtureBatch, exists: Tensor, slots: Slots, perm: Tensor, mask: Tensor
    ) -> Tensor:
        """SI-SDRi (N,) over 10 dB of the voices of mixtures of two speakers and more."""
        several = exists.sum(dim=1) > 1
        heard = several.clone()
        heard[0] |= ~several.any()  # for all parameters to have a gradient, be it zero
        audio, lens = batch.audio[heard], batch.audio_lens[heard]
        with full_precision(audio):
            voices = self.echo.voices(audio, lens, slots.latents[heard].float(), mask[heard])
            voices = permute(voices, perm[heard])
            samples = valid_frames(lens, audio.shape[1])
            cost, audible = separation_cost(voices, batch.sources[heard], audio, samples)
        own = cost.diagonal(dim1=1, dim2=2)  # (B', K)
        return -own[(exists & several[:, None])[heard] & audible]

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
            "si_sdri": Average(float(found.improvement.sum()), len(found.improvement)),
        }


def percent(errors: Ratio) -> Average:
    """A rate as a mean in percent."""
    return Average(100.0 * errors.numerator, round(errors.denominator))
