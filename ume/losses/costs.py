"""Cost of giving estimate e to reference r, one matrix (B, S, S) per clip and task.

Each task has a scale of its own (nats per frame, decibels, nats per token). Summed as they are,
the largest drowns the others, so each is divided by what knowing nothing costs: a cost of one
means "no better than chance" (for separation: "10 dB worse than the mixture").
"""

import math
from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss, logsigmoid

from ume.metrics.si_sdr import is_silent, pairwise_si_sdr, si_sdr

LN2 = math.log(2)  # nats that a yes or no costs who does not know
SI_SDR_SCALE = 10.0  # dB
SI_SDR_CEILING = 30.0  # dB; beyond, a clip that is solved already would take over the gradient


def diarization_cost(logits: Tensor, activity: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy per frame over ln 2.

    Args:
        logits: (B, F, S) estimated speech activity.
        activity: (B, F, S) reference, 0 or 1.
        mask: (B, F), true where the frame exists.

    Returns:
        (B, S, S), rows are references.
    """
    weight = mask / mask.sum(dim=1, keepdim=True)  # (B, F)
    active = torch.einsum("bf,bfr,bfe->bre", weight, activity, logsigmoid(logits))
    silent = torch.einsum("bf,bfr,bfe->bre", weight, 1 - activity, logsigmoid(-logits))
    return -(active + silent) / LN2


def separation_cost(
    estimates: Tensor, sources: Tensor, mixture: Tensor, mask: Tensor
) -> Tuple[Tensor, Tensor]:
    """Minus the improvement in SI-SDR over the mixture, over 10 dB.

    Args:
        estimates, sources: (B, S, T).
        mixture: (B, T).
        mask: (B, T), true where the sample exists.

    Returns:
        Costs (B, S, S), rows are references, and which references exist (B, S); the rows of
        silent references are zero.
    """
    exists = ~is_silent(sources, mask[:, None])  # (B, S)
    pairs = pairwise_si_sdr(estimates, sources, mask)
    before = si_sdr(mixture[:, None].expand_as(sources), sources, mask[:, None])  # (B, S)
    improvement = pairs - (pairs - SI_SDR_CEILING).clamp(min=0)
    improvement = improvement - before.clamp(max=SI_SDR_CEILING)[..., None]  # of a source alone
    return -improvement.masked_fill(~exists[..., None], 0.0) / SI_SDR_SCALE, exists


def ctc_cost(
    log_probs: Tensor, lens: Tensor, tokens: Sequence[Sequence[Optional[List[int]]]]
) -> Tuple[Tensor, Tensor]:
    """CTC loss per token over ln V.

    Args:
        log_probs: (B, S, F, V), blank is 0.
        lens: (B,) frames of each clip.
        tokens: [B][S] token ids of each reference; None or empty where there is no text.

    Returns:
        Costs (B, S, S), rows are references, and which references have text (B, S). Rows without
        text, or whose text does not fit into the frames, are zero.
    """
    batch, speakers, frames, vocab = log_probs.shape
    device = log_probs.device
    exists = torch.tensor([[bool(t) for t in row] for row in tokens], device=device)  # (B, S)
    rows = exists.nonzero()  # (R, 2): clip, reference
    cost = log_probs.new_zeros(batch, speakers, speakers)
    if len(rows) == 0:
        return cost, exists
    targets = [torch.tensor(tokens[b][s]) for b, s in rows.tolist()]
    target_lens = torch.tensor([len(t) for t in targets]).repeat_interleave(speakers)  # (R * S,)
    padded = torch.nn.utils.rnn.pad_sequence(targets, batch_first=True)  # (R, U)
    estimates = log_probs[rows[:, 0]].flatten(0, 1)  # (R * S, F, V)
    losses = ctc_loss(
        estimates.transpose(0, 1),  # (F, R * S, V)
        padded.repeat_interleave(speakers, dim=0).to(device),
        lens[rows[:, 0]].repeat_interleave(speakers).cpu(),
        target_lens,
        reduction="none",
        zero_infinity=True,
    )
    losses = losses / (target_lens.to(device) * math.log(vocab))
    return cost.index_put((rows[:, 0], rows[:, 1]), losses.view(-1, speakers)), exists


def distillation_cost(
    streams: Tensor, targets: Tensor, mask: Tensor, exists: Tensor
) -> Tuple[Tensor, Tensor]:
    """Squared distance to a teacher's states, over their variance in the clip.

    Args:
        streams: (B, S, F, D), estimates.
        targets: (B, S, F, D), of the true sources.
        mask: (B, F), true where the frame exists.
        exists: (B, S), whether there is such a source.

    Returns:
        Costs (B, S, S), rows are references, and ``exists``; the rows of other references are
        zero. A stream that is the mean of a source's states all the time costs one.
    """
    weight = (mask / mask.sum(dim=1, keepdim=True))[:, None, :, None]  # (B, 1, F, 1)
    mean = (targets * weight).sum(dim=2, keepdim=True)
    variance = ((targets - mean).square() * weight).sum(dim=(2, 3))  # (B, S)
    apart = (streams[:, None] - targets[:, :, None]).square()  # (B, S, S, F, D)
    distance = (apart * weight[:, None]).sum(dim=(3, 4))  # (B, S, S)
    cost = distance / variance.clamp(min=1e-5)[..., None]
    return cost * exists[..., None], exists
