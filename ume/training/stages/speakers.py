"""Stage 4: embeddings that tell speakers apart, by ArcFace."""

from typing import Dict

import torch
from torch import Tensor

from ume.losses.arcface import ArcFace, margin_at
from ume.metrics.results import Average, Ratio
from ume.models.echo import Echo
from ume.training.stages.stage import Given, Stage, StageConfig

LARGE_MARGIN = "margin"  # the kind of batches of fine-tuning


class SpeakersStage(Stage):
    """ArcFace on the training speakers. Watched: for the first half of each dev clip, whether the
    second half nearest to it, of all in the batch, is of the same speaker (%)."""

    trains = ("speaker",)

    def __init__(
        self, echo: Echo, config: StageConfig, num_speakers: int, precision: torch.dtype
    ) -> None:
        super().__init__(echo, config, num_speakers, precision)
        self.aids["arcface"] = ArcFace(num_speakers, echo.config.embedding)

    def losses(self, kind: str, given: Given) -> Dict[str, Tensor]:
        """See :class:`Stage`."""
        latents, mask = self.echo.latents(given.batch.audio, given.batch.audio_lens)
        if kind == LARGE_MARGIN:
            margin = self.config.large_margin
        else:
            margin = margin_at(given.progress, self.config.margin)
        embeddings = self.echo.embed(latents, mask).float()
        loss = self.aids["arcface"](embeddings, given.speakers, margin)
        return {"arcface": loss, **self.kept(latents, given, mask)}

    def figures(self, given: Given) -> Dict[str, Ratio]:
        """See :class:`Stage`."""
        latents, mask = self.echo.latents(given.batch.audio, given.batch.audio_lens)
        half = torch.div(mask.sum(dim=1, keepdim=True), 2, rounding_mode="floor")  # (B, 1)
        first = mask & (torch.arange(mask.shape[1], device=mask.device) < half)
        one, other = (self.echo.embed(latents, part) for part in (first, mask & ~first))
        names = [names[0] for names in given.batch.speakers]
        nearest = (one @ other.T).argmax(dim=1).tolist()
        right = sum(name == names[found] for name, found in zip(names, nearest))
        return {"accuracy": Average(100.0 * right, len(names))}
