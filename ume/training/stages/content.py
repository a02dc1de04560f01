"""Stage content: tokens are read from the latents, which stay near the anchor."""

from typing import Dict

from torch import Tensor

from ume.losses.costs import ctc_cost
from ume.losses.joint import TaskCost
from ume.metrics.results import Average, Ratio
from ume.training.stages.stage import Given, Stage
from ume.training.validation import Tokens, token_errors


class ContentStage(Stage):
    """CTC injection. Watched: the token error rate of greedy search (%)."""

    trains = ("content",)
    names = ("ctc",)

    def losses(self, kind: str, given: Given) -> Dict[str, Tensor]:
        """See :class:`Stage`."""
        latents, mask = self.echo.latents(given.batch.audio, given.batch.audio_lens)
        return {
            "ctc": ctc_loss(self.echo.log_probs(latents), mask, given.tokens),
            **self.kept(latents, given, mask),
        }

    def figures(self, given: Given) -> Dict[str, Ratio]:
        """See :class:`Stage`."""
        latents, mask = self.echo.latents(given.batch.audio, given.batch.audio_lens)
        return {"ter": token_error_rate(self.echo.log_probs(latents), mask, given.tokens)}


def ctc_loss(log_probs: Tensor, mask: Tensor, tokens: Tokens) -> Tensor:
    """CTC loss per token over ln V, of clips with one text; 0 where none has any.

    ``log_probs`` (B, F, V), ``mask`` (B, F) of frames that exist, ``tokens`` [B][1].
    """
    cost = TaskCost(*ctc_cost(log_probs.float()[:, None], mask.sum(dim=1), tokens))
    return (cost.cost[:, 0, 0] * cost.exists[:, 0]).sum() / cost.exists.sum().clamp(min=1)


def token_error_rate(log_probs: Tensor, mask: Tensor, tokens: Tokens) -> Average:
    """Token errors (%) of greedy search."""
    wrong, total = token_errors(log_probs[:, None], mask.sum(dim=1), tokens)
    return Average(100.0 * wrong, total)
