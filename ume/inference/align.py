"""Make label k one person in activity, voice and words.

Heads trained with one permutation agree by training. Heads trained with a permutation each name
the speakers in orders of their own; they are aligned by when each stream is busy.
"""

from typing import List, Sequence

import torch
from torch import Tensor

from ume.activity import FRAME_SHIFT, frame_samples
from ume.metrics.permutations import best_permutation, permute
from ume.models.ume import UME, UMEOutput, heads_heard
from ume.nn.lengths import num_frames, pool_frames, valid_frames

TIED = "none: the heads were trained with one permutation"
NOTHING = "none: there are no voices beside other answers"
CORRELATED = (
    "reordered, per recording, to the permutation in which their busy frames correlate best with "
    "the energy of the separated signals"
)


def heads_to_align(model: UME, words: bool = True) -> List[str]:
    """The heads whose streams may be in another order than the separated sources.

    Words that are read of each voice, or by its masks, are in the voices' order.
    """
    answers = model.answers(words)
    if model.config.loss.tied or "separation" not in answers:
        return []
    own = {"separation"} | ({"asr"} if "separation" in heads_heard(model.config.asr) else set())
    return [task for task in answers if task not in own]


def alignment_rule(model: UME) -> str:
    """What is done to make label k one person."""
    if model.config.loss.tied:
        return TIED
    names = {"diarization": "activity", "asr": "words"}
    heads = [names[task] for task in heads_to_align(model)]
    return f"{' and '.join(heads)}: {CORRELATED}" if heads else NOTHING


def align_heads(
    output: UMEOutput, audio_lens: Tensor, activity_shift: float, heads: Sequence[str]
) -> UMEOutput:
    """Reorder the streams of ``heads``, diarization or asr, to those of the separated sources.

    ``activity_shift`` is the time between two frames of activity in seconds.
    """
    assert output.sources is not None
    if "diarization" in heads and output.activity_logits is not None:
        activity = output.activity_logits.sigmoid().transpose(1, 2)  # (B, S, F_a)
        order = busy_order(output.sources, activity, audio_lens, activity_shift)
        output.activity_logits = permute(output.activity_logits, order, dim=2)
    if "asr" in heads and output.ctc_log_probs is not None:
        spoken = 1 - output.ctc_log_probs[..., 0].exp()  # (B, S, F): not blank
        spoken = spoken * valid_frames(output.frame_lens, spoken.shape[2])[:, None]
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
