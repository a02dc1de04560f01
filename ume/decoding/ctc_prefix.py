"""Probability, by CTC, that a text begins with a prefix: for search together with a decoder.

After Watanabe et al. 2017 (hybrid CTC/attention), for many prefixes at once and without a loop over
frames: the recursions are linear in probabilities, so that cumulative sums solve them.
"""

from dataclasses import dataclass
from typing import Tuple

import torch
from torch import Tensor

LOG_ZERO = -1e10  # of what cannot be: finite, so that no difference is undefined


@dataclass
class PrefixState:
    """Log-probabilities of all alignments of R prefixes with the first 0..F frames, (R, F + 1).

    ``by_token`` of those that end in the prefix's last token, ``by_blank`` of those that end in
    blank.
    """

    by_token: Tensor
    by_blank: Tensor

    def whole(self) -> Tensor:
        """Log-probability (R,) of the prefixes as whole texts."""
        return torch.logaddexp(self.by_token[:, -1], self.by_blank[:, -1])


class CTCPrefixScorer:
    """Scores the prefixes of N streams.

    Args:
        log_probs: (N, F, V) with blank 0.
        lens: (N,) frames of each stream.
    """

    def __init__(self, log_probs: Tensor, lens: Tensor) -> None:
        frames = torch.arange(log_probs.shape[1], device=log_probs.device)
        beyond = (frames >= lens.to(frames.device)[:, None]).unsqueeze(2)  # (N, F, 1)
        x = log_probs.double().clamp(min=LOG_ZERO).masked_fill(beyond, LOG_ZERO)
        x[..., 0] = x[..., 0].masked_fill(beyond[..., 0], 0.0)  # after a stream lie sure blanks
        self.x = x

    def start(self) -> PrefixState:
        """The empty prefix of every stream."""
        blanks = self.x[..., 0].cumsum(dim=1)  # (N, F)
        by_blank = torch.nn.functional.pad(blanks, (1, 0))
        return PrefixState(torch.full_like(by_blank, LOG_ZERO), by_blank)

    def extend(
        self, state: PrefixState, streams: Tensor, last: Tensor, tokens: Tensor
    ) -> Tuple[Tensor, PrefixState]:
        """Every prefix of ``state`` with every one of its candidates.

        Args:
            state: of R prefixes.
            streams: (R,) the stream each prefix is of.
            last: (R,) last token of each prefix; -1 of the empty one.
            tokens: (R, K) candidates, not blank.

        Returns:
            Log-probabilities (R, K) that a text begins so, and the state of the R * K longer
            prefixes.
        """
        x = self.x[streams]  # (R, F, V)
        own = x.gather(2, tokens[:, None].expand(-1, x.shape[1], -1)).transpose(1, 2)  # (R, K, F)
        either = torch.logaddexp(state.by_token, state.by_blank)[:, None]
        again = (tokens == last[:, None])[..., None]  # a repeated token needs a blank between
        before = torch.where(again, state.by_blank[:, None], either)[..., :-1]  # (R, K, F)
        begins = torch.logsumexp(before + own, dim=2)
        by_token = accumulate(before, own)
        ended = torch.nn.functional.pad(by_token[..., :-1], (1, 0), value=LOG_ZERO)
        by_blank = accumulate(ended, x[:, None, :, 0].expand_as(own))
        longer = (
            torch.nn.functional.pad(part.flatten(0, 1), (1, 0), value=LOG_ZERO)
            for part in (by_token, by_blank)
        )
        return begins, PrefixState(*longer)


def accumulate(entering: Tensor, staying: Tensor) -> Tensor:
    """r (..., F) with r[t] = log(exp r[t - 1] + exp entering[t]) + staying[t], r[-1] impossible."""
    total = staying.cumsum(dim=-1)
    return (total + torch.logcumsumexp(entering - (total - staying), dim=-1)).clamp(min=LOG_ZERO)
