"""Make label k one person in activity, voice and words.

Heads trained with one permutation agree by training. Heads trained with a permutation each name
the speakers in orders of their own; they are aligned by when each stream is busy.
"""

import torch
from torch import Tensor

from ume.activity import FRAME_SHIFT, frame_samples
from ume.metrics.permutations import best_permutation, permute
from ume.models.ume import UMEOutput
from ume.nn.lengths import num_frames, pool_frames, valid_frames

TIED = "none: the heads were trained with one permutation"
CORRELATED = (
    "activity and words are reordered, per recording, to the permutation in which their busy "
    "frames correlate best with the energy of the separated signals"
)


def align_heads(output: UMEOutput, audio_lens: Tensor, activity_shift: float) -> UMEOutput:
    """Reorder the streams of ``output`` to those of its separated sources.

    ``activity_shift`` is the time between two frames of activity in seconds.
    """
    assert output.sources is not None and output.activity_logits is not None
    activity = output.activity_logits.sigmoid().transpose(1, 2)  # (B, S, F_a)
    order = busy_order(output.sources, activity, audio_lens, activity_shift)
    output.activity_logits = permute(output.activity_logits, order, dim=2)
    if output.ctc_log_probs is not None:
        spoken = 1 - output.ctc_log_probs[..., 0].exp()  # (B, S, F): not blank
        smooth = torch.nn.functional.avg_pool1d(spoken, 25, 1, 12)  # 0.5 s
        order = busy_order(output.sources, smooth, audio_lens, FRAME_SHIFT)
        output.ctc_log_probs = permute(output.ctc_log_probs, order, dim=1)
        if output.word_states is not None:
            output.word_states = permute(output.word_states, order, dim=1)
    return output


def busy_order(sources: Tensor, curves: Tensor, audio_lens: Tensor, shift: float) -> Tensor:
    """Permutation (B, S) in which ``curves`` follow the energy of ``sources`` (B, S, T) best.

    ``curves`` (B, S, F) have a value every ``shift`` seconds.
    """
    batch, speakers, _ = sources.shape
    size = frame_samples(shift)
    energy = pool_frames(
        sources.flatten(0, 1).square()[:, None], audio_lens.repeat_interleave(speakers), size
    )
    mask = valid_frames(num_frames(audio_lens, size), energy.shape[2])[:, None]
    anchor = energy.view(batch, speakers, -1).sqrt()  # (B, S, F)
    correlation = _standard(anchor, mask) @ _standard(curves, mask).transpose(1, 2)  # (B, S, S)
    return best_permutation(-correlation)[0]


def _standard(curves: Tensor, mask: Tensor) -> Tensor:
    mean = (curves * mask).sum(dim=2, keepdim=True) / mask.sum(dim=2, keepdim=True)
    centred = (curves - mean) * mask
    return centred / centred.norm(dim=2, keepdim=True).clamp(min=1e-8)
