"""Cross-entropy of an attention decoder that is told the text so far."""

from typing import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ume.errors import UmeError
from ume.nn.whisper_decoder import MAX_TOKENS, WhisperDecoder

IGNORED = -100  # target of what is not there


def attention_loss(
    decoder: WhisperDecoder,
    states: Tensor,
    lens: Tensor,
    texts: Sequence[Sequence[int]],
    end: int,
    smoothing: float,
) -> Tensor:
    """Nats (N,) of each text and its end.

    Args:
        decoder: of tokens among which ``end`` begins and ends every text.
        states, lens: what it attends to, (N, F, D), and frames of each (N,).
        texts: [N] token ids.
        smoothing: share of the target's probability that is spread over all tokens.

    Raises:
        UmeError: a text is longer than the decoder's positions.
    """
    longest = max(map(len, texts))
    if longest >= MAX_TOKENS:
        raise UmeError(
            f"a text has {longest} tokens and the attention decoder takes {MAX_TOKENS - 1}; lower "
            "--max_duration, or make a lang folder of larger tokens (--type bpe)"
        )
    targets = [torch.tensor([*text, end]) for text in texts]
    target = torch.nn.utils.rnn.pad_sequence(targets, True, IGNORED).to(states.device)  # (N, U + 1)
    given = torch.cat([torch.full_like(target[:, :1], end), target[:, :-1]], dim=1)
    logits = decoder(given.masked_fill(given == IGNORED, end), decoder.start(states, lens))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # (N, U + 1, V)
    losses = cross_entropy(
        logits.transpose(1, 2),
        target,
        ignore_index=IGNORED,
        reduction="none",
        label_smoothing=smoothing,
    )
    return losses.sum(dim=1)
