"""What a model is worth on a few dev mixtures, between training steps."""

from typing import Dict, Iterable, List, Mapping, Optional

import torch
from kaldialign import edit_distance
from torch import Tensor

from ume.dataset.batch import MixtureBatch
from ume.dataset.tokenizer import Tokenizer
from ume.decoding.ctc_search import collapse
from ume.losses.costs import SI_SDR_SCALE
from ume.losses.joint import TaskCost
from ume.metrics.frame_der import frame_der
from ume.metrics.permutations import best_permutation
from ume.metrics.results import DiarizationErrors
from ume.models.ume import UME

Tokens = List[List[Optional[List[int]]]]


def encode_texts(batch: MixtureBatch, tokenizer: Optional[Tokenizer]) -> Tokens:
    """Token ids [B][S]; None where there is no text, or no tokenizer."""
    return [
        [tokenizer.encode(text) if tokenizer and text else None for text in texts]
        for texts in batch.texts
    ]


@torch.no_grad()
def validate(
    model: UME, batches: Iterable[MixtureBatch], tokenizer: Optional[Tokenizer]
) -> Dict[str, float]:
    """Losses (means over batches), DER at threshold 0.5 (%), SI-SDRi (dB), token error rate (%).

    SI-SDRi is of the separation head over the whole signal, under the permutation of the loss: its
    own best one, or where ``loss.tied`` that of all heads.
    ``one_label`` is the share of mixtures (%) whose heads all have the same best permutation.
    """
    training = model.training
    model.eval()
    sums: Dict[str, float] = {}
    count, tokens_wrong, tokens_all = 0, 0, 0
    activity = DiarizationErrors()
    agree: List[bool] = []
    for batch in batches:
        tokens = encode_texts(batch, tokenizer)
        output = model(batch.audio, batch.audio_lens)
        costs = model.costs(output, batch, tokens)
        loss = model.joint_loss(costs, output, batch, tokens)
        agree += heads_agree(costs)
        values = {"loss": loss.total, **loss.tasks}
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        count += 1
        if output.activity_logits is not None:
            found = output.activity_logits > 0
            activity += frame_der(found, batch.activity, output.activity_lens)
        if output.ctc_log_probs is not None:
            wrong, total = token_errors(output.ctc_log_probs, output.frame_lens, tokens)
            tokens_wrong, tokens_all = tokens_wrong + wrong, tokens_all + total
    model.train(training)
    result = {f"valid/{name}": value / max(count, 1) for name, value in sums.items()}
    if agree:
        result["valid/one_label"] = 100 * sum(agree) / len(agree)
    if activity.total:
        result["valid/der"] = 100 * activity.rate
    if "valid/separation" in result:
        scale = SI_SDR_SCALE if model.config.loss.normalised else 1.0
        result["valid/si_sdri"] = -scale * result["valid/separation"]
    if tokens_all:
        result["valid/ter"] = 100 * tokens_wrong / tokens_all
    return result


def heads_agree(costs: Mapping[str, TaskCost]) -> List[bool]:
    """Whether all heads have the same best permutation, for each clip with all its references.

    Where it is not so, one permutation for all heads costs some of them.
    """
    perms = [best_permutation(cost.cost)[0] for cost in costs.values()]
    same = torch.stack([(perm == perms[0]).all(dim=1) for perm in perms]).all(dim=0)
    whole = torch.stack([cost.exists.all(dim=1) for cost in costs.values()]).all(dim=0)
    return list(same[whole].tolist())


def summary(scores: Dict[str, float]) -> str:
    """One line of validation figures."""
    units = {"der": "DER {:.1f} %", "si_sdri": "SI-SDRi {:.2f} dB", "ter": "TER {:.1f} %"}
    parts = [f"loss {scores['valid/loss']:.3f}"]
    parts += [
        text.format(scores[f"valid/{name}"])
        for name, text in units.items()
        if f"valid/{name}" in scores
    ]
    return ", ".join(parts)


def token_errors(log_probs: Tensor, lens: Tensor, tokens: Tokens) -> "tuple[int, int]":
    """Errors of greedy search under the best permutation, and reference tokens.

    ``log_probs`` (B, S, F, V), ``lens`` (B,); clips without all their texts are left out.
    """
    best = log_probs.argmax(dim=-1)  # (B, S, F)
    wrong = total = 0
    for clip, length, texts in zip(best, lens.tolist(), tokens):
        if any(text is None for text in texts) or len(texts) != len(clip):
            continue
        streams = [collapse(stream[:length]) for stream in clip]
        cost = torch.tensor(
            [[float(edit_distance(text, stream)["total"]) for stream in streams] for text in texts]
        )
        wrong += int(best_permutation(cost)[1])
        total += sum(len(text) for text in texts if text)
    return wrong, total
