"""Stage factors: speaker and content in subspaces of their own, both quantised."""

import math
from typing import Dict

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ume.metrics.results import Average, Ratio
from ume.models.echo import Echo
from ume.nn.factors import READERS, Factored
from ume.nn.linear import Linear
from ume.nn.vq import Quantised
from ume.training.stages.content import ctc_loss, token_error_rate
from ume.training.stages.stage import Given, Stage, StageConfig, distance


class FactorsStage(Stage):
    """Tokens are read from contents before the quantiser and after two kinds of it, the speaker
    is told from the mean of quantised speaker vectors, and both together give back the latents.

    The residual quantiser uses a random number of its codebooks, so that fewer will do. Watched:
    token error rates (%), and entries of the codebooks in use (perplexity).
    """

    trains = ("factors",)
    names = ("continuous", "product", "residual", "speaker", "back", "commitment")

    def __init__(
        self, echo: Echo, config: StageConfig, num_speakers: int, precision: torch.dtype
    ) -> None:
        super().__init__(echo, config, num_speakers, precision)
        self.aids["speakers"] = Linear(echo.config.factors.width, max(num_speakers, 2))

    def losses(self, kind: str, given: Given) -> Dict[str, Tensor]:
        """See :class:`Stage`."""
        factors = self.echo.factors
        latents, mask = self.echo.latents(given.batch.audio, given.batch.audio_lens)
        factored = factors(latents, mask)
        count = some(len(factors.residual_books.books), given.progress)
        found = factors.quantise(factored, mask, count)
        made = factors.back(torch.cat([found["speaker"].values, found["product"].values], dim=2))
        weight = (mask / mask.sum(dim=1, keepdim=True)).to(made.dtype)  # (B, F)
        voice = torch.einsum("bfw,bf->bw", found["speaker"].values, weight)
        logits = self.aids["speakers"](voice).float()
        told = cross_entropy(logits, given.speakers[:, 0]) / math.log(logits.shape[1])
        return {
            **{
                name: ctc_loss(factors.log_probs(read, name), mask, given.tokens)
                for name, read in contents(factored, found).items()
            },
            **({"speaker": told} if self.training else {}),  # dev's are none of the classes
            "back": distance(made[:, None], latents.detach()[:, None], mask),
            "commitment": torch.stack([each.commitment for each in found.values()]).mean(),
            **self.kept(latents, given, mask),
        }

    def figures(self, given: Given) -> Dict[str, Ratio]:
        """See :class:`Stage`."""
        factors = self.echo.factors
        latents, mask = self.echo.latents(given.batch.audio, given.batch.audio_lens)
        factored = factors(latents, mask)
        found = factors.quantise(factored, mask)
        rates = {
            f"ter_{name}": token_error_rate(factors.log_probs(read, name), mask, given.tokens)
            for name, read in contents(factored, found).items()
        }
        used = {
            f"perplexity_{name}": Average(float(each.perplexity.mean()), 1)
            for name, each in found.items()
        }
        return {**rates, **used}


def some(most: int, progress: float) -> int:
    """A number from 1 to ``most`` by chance, the same in all processes of a run.

    >>> 1 <= some(8, 0.25) <= 8
    True
    """
    return int(np.random.default_rng(round(1e6 * progress)).integers(1, most + 1))


def contents(factored: Factored, found: Dict[str, Quantised]) -> Dict[str, Tensor]:
    """What each of READERS reads, (B, F, W)."""
    read = {"continuous": factored.content}
    return {name: read[name] if name in read else found[name].values for name in READERS}
