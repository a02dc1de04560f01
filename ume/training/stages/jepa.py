"""Stage jepa: a student guesses what a teacher makes of what it does not see of a clip."""

from typing import Dict, cast

import torch
from torch import Tensor

from ume.errors import UmeError
from ume.losses.jepa import (
    collapse,
    draw_hidden,
    momentum_at,
    prediction_loss,
    redundancy,
    update_teacher,
)
from ume.metrics.results import Average, Ratio
from ume.models.echo import Echo
from ume.nn.encoder import full_precision
from ume.nn.lengths import valid_frames
from ume.nn.norm import batch_norm, instance_norm
from ume.nn.vit import Predictor, ViTEncoder
from ume.training.stages.stage import Given, Stage, StageConfig, frozen


class JepaStage(Stage):
    """The encoder is the student. Watched: whether the latents collapse (``ume.losses.jepa``)."""

    names = ("prediction", "redundancy")
    anchored = False

    def __init__(
        self, echo: Echo, config: StageConfig, num_speakers: int, precision: torch.dtype
    ) -> None:
        super().__init__(echo, config, num_speakers, precision)
        if not isinstance(echo.encoder, ViTEncoder):
            raise UmeError("stage jepa trains an encoder of kind vit; leave it out for the others")
        if config.targets not in ("batch", "clip"):
            raise UmeError(f"learn.targets is {config.targets!r}; give batch or clip")
        self.aids["teacher"] = frozen(echo.encoder)
        self.aids["predictor"] = Predictor(
            echo.encoder.width, config.predictor_width, config.predictor_layers
        )

    def losses(self, kind: str, given: Given) -> Dict[str, Tensor]:
        """See :class:`Stage`."""
        batch = given.batch
        student = cast(ViTEncoder, self.echo.encoder)
        x, lens = student.embed(batch.audio, batch.audio_lens)  # (B, F, D)
        valid = valid_frames(lens, x.shape[1])
        hidden = draw_hidden(lens)  # (B, F)
        seen = valid & ~hidden
        states = student.look(x, seen)
        guesses = self.aids["predictor"](states, seen, valid)
        with torch.no_grad():
            taught = self.aids["teacher"](batch.audio, batch.audio_lens).layers[-1]
        normalise = {"batch": batch_norm, "clip": instance_norm}[self.config.targets]
        targets = normalise(taught.float(), valid)
        with full_precision(batch.audio):
            return {
                "prediction": prediction_loss(guesses.float(), targets, hidden),
                "redundancy": redundancy(states[seen].float()),
            }

    def figures(self, given: Given) -> Dict[str, Ratio]:
        """See :class:`Stage`."""
        latents, mask = self.echo.latents(given.batch.audio, given.batch.audio_lens)
        return {name: Average(value, 1) for name, value in collapse(latents[mask]).items()}

    def updated(self, progress: float) -> None:
        """The teacher follows the student."""
        momentum = momentum_at(progress, self.config.momentum)
        update_teacher(self.aids["teacher"], self.echo.encoder, momentum)
