"""Cross-entropy of an attention decoder that is told the text so far."""

from typing import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ume.errors import UmeError
from ume.nn.whisper_decoder import MAX_TOKENS, AttentionDecoder, DecoderState

IGNORED = -100  # target of what is not there


def attention_loss(
    decoder: AttentionDecoder,
    states: Tensor,
    lens: Tensor,
    texts: Sequence[Sequence[int]],
    prompt: Sequence[int],
    end: int,
    smoothing: float,
) -> Tensor:
    """Nats (N,) of each text and its end, of which the decoder hears ``states``.

    Args:
        states, lens: what it attends to, (N, F, D), and frames of each (N,).

    The rest is as in :func:`text_loss`.
    """
    return text_loss(decoder, decoder.start(states, lens), texts, prompt, end, smoothing)


def text_loss(
    decoder: AttentionDecoder,
    state: DecoderState,
    texts: Sequence[Sequence[int]],
    prompt: Sequence[int],
    end: int,
    smoothing: float,
) -> Tensor:
    """Nats (N,) of each text and its end.

    Args:
        decoder: what is told the texts.
        state: its state before the first token, of each text.
        texts: [N] token ids.
        prompt: tokens that every text begins with, and that need not be guessed.
        end: the token that every text ends with.
        smoothing: share of the target's probability that is spread over all tokens.

    Raises:
        UmeError: a text is longer than the decoder's positions.
    """
    longest = max(map(len, texts)) + len(prompt) - 1
    if longest >= MAX_TOKENS:
        raise UmeError(
            f"a text has {longest} tokens and the attention decoder takes {MAX_TOKENS - 1}; lower "
            "--max_duration, or make a lang folder of larger tokens (--type bpe)"
        )
    device = decoder.embedding.weight.device
    targets = [torch.tensor([*text, end]) for text in texts]
    target = torch.nn.utils.rnn.pad_sequence(targets, True, IGNORED).to(device)  # (N, U + 1)
    begin = torch.tensor([list(prompt)], device=device).expand(len(target), -1)
    given = torch.cat([begin, target[:, :-1]], dim=1)  # (N, P + U)
    logits = decoder(given.masked_fill(given == IGNORED, end), state)
    logits = logits[:, len(prompt) - 1 :]  # (N, U + 1, V)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = cross_entropy(
        logits.transpose(1, 2),
        target,
        ignore_index=IGNORED,
        reduction="none",
        label_smoothing=smoothing,
    )
    return losses.sum(dim=1)
