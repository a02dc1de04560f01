"""Diarization error rate on frames, for validation: fast, batched, permutation invariant.

Published figures come from segments (``ume.scoring``); this one follows them closely at collar 0.
"""

from typing import Optional

import torch
from torch import Tensor

from ume.metrics.permutations import best_permutation
from ume.metrics.results import DiarizationErrors


def frame_der(
    estimate: Tensor, reference: Tensor, frame_lens: Optional[Tensor] = None
) -> DiarizationErrors:
    """Frame errors of a batch under each recording's best permutation.

    Args:
        estimate, reference: ``(B, F, S)``, bool or 0/1: who speaks in which frame.
        frame_lens: ``(B,)``, frames that exist; all by default.

    Returns:
        Frames in error, summed over the batch: per frame, missed are the reference speakers above
        the number found, false alarms the reverse, and confused are those found but wrong.

    >>> reference = torch.tensor([[[1, 0], [1, 1], [0, 1], [0, 0]]])
    >>> frame_der(reference.flip(-1), reference).rate
    0.0
    """
    if estimate.shape != reference.shape or estimate.ndim != 3:
        raise ValueError(
            f"activities must both be (B, F, S), not {tuple(estimate.shape)} "
            f"and {tuple(reference.shape)}"
        )
    estimate, reference = estimate.bool(), reference.bool()  # (B, F, S)
    if frame_lens is not None:
        frames = torch.arange(reference.shape[1], device=reference.device)
        exists = (frames < frame_lens.to(frames.device).unsqueeze(1)).unsqueeze(2)  # (B, F, 1)
        estimate, reference = estimate & exists, reference & exists
    together = reference.float().transpose(1, 2) @ estimate.float()  # (B, S, S) frames of both
    _, value = best_permutation(-together)  # (B,)
    correct = round(-value.sum().item())
    found, spoken = estimate.sum(dim=2), reference.sum(dim=2)  # (B, F)
    overlap = int(torch.minimum(found, spoken).sum())
    return DiarizationErrors(
        miss=int(spoken.sum()) - overlap,
        false_alarm=int(found.sum()) - overlap,
        confusion=overlap - correct,
        total=int(spoken.sum()),
    )
