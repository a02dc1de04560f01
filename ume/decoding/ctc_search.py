"""Texts of CTC log-probabilities alone: the best token of every frame, and prefix beam search."""

from dataclasses import dataclass
from typing import List

import torch
from torch import Tensor

from ume.dataset.tokenizer import Tokenizer

NEVER = -float("inf")
BASE = 6364136223846793005  # of the hash: odd, large (Knuth's MMIX)
NO_HASH = -1  # parent of what must not be merged


def greedy_tokens(log_probs: Tensor) -> List[int]:
    """The best token of every frame, collapsed; ``log_probs`` is (F', V)."""
    return collapse(log_probs.argmax(dim=1))


def collapse(path: Tensor) -> List[int]:
    """CTC's reading of a path (F,): repetitions merged, blanks dropped.

    >>> collapse(torch.tensor([0, 3, 3, 0, 3, 5]))
    [3, 3, 5]
    """
    tokens = torch.unique_consecutive(path)
    return tokens[tokens != Tokenizer.blank].tolist()


@dataclass
class Prefixes:
    """W hypotheses of each of B streams, (B, W) each; at first the empty one alone."""

    by_blank: Tensor
    """Log-probability of the alignments so far that end in blank."""
    by_token: Tensor
    """... and of those that end in the last token."""
    last: Tensor
    """Last token; blank of the empty prefix, which has none."""
    name: Tensor
    """Hash of the prefix (int64, wraps around): equal prefixes have equal ones."""
    parent: Tensor
    """Hash of the prefix without its last token."""

    @classmethod
    def empty(cls, streams: int, beam: int) -> "Prefixes":
        by_blank = torch.full((streams, beam), NEVER, dtype=torch.double)
        by_token = by_blank.clone()
        by_blank[:, 0] = 0.0
        last = torch.full((streams, beam), Tokenizer.blank)
        return cls(by_blank, by_token, last, torch.zeros_like(last), torch.full_like(last, NO_HASH))


def prefix_beam_search(log_probs: Tensor, lens: Tensor, beam: int) -> List[List[int]]:
    """The text of each stream of highest probability over all its alignments, up to the beam.

    After Hannun et al. 2014 (first-pass LVCSR with bidirectional RNNs), without a language model,
    for all streams, hypotheses and tokens at once; in doubles.

    Args:
        log_probs: (B, F, V) with blank 0; need not be normalised.
        lens: (B,) frames of each stream.
        beam: prefixes kept per stream and frame.
    """
    prefixes = Prefixes.empty(len(log_probs), beam)
    beyond = torch.arange(log_probs.shape[1]) >= lens[:, None]  # (B, F)
    x = log_probs.double().masked_fill(beyond[..., None], NEVER)
    x[..., Tokenizer.blank] = x[..., Tokenizer.blank].masked_fill(beyond, 0.0)  # sure blanks
    history = []
    for frame in x.unbind(dim=1):
        prefixes, parents, tokens = advance(prefixes, frame)
        history.append((parents, tokens))
    best = torch.logaddexp(prefixes.by_blank, prefixes.by_token).argmax(dim=1)  # (B,)
    said = []
    for parents, tokens in reversed(history):
        said.append(tokens.gather(1, best[:, None])[:, 0])
        best = parents.gather(1, best[:, None])[:, 0]
    texts = torch.stack(said[::-1], dim=1)  # (B, F), blank where nothing was added
    return [text[text != Tokenizer.blank].tolist() for text in texts]


def advance(prefixes: Prefixes, frame: Tensor) -> "tuple[Prefixes, Tensor, Tensor]":
    """One frame (B, V) on: the best W prefixes, of which (B, W) each comes, and what was added.

    What was added is blank where a prefix has stayed what it was.
    """
    width = prefixes.last.shape[1]
    either = torch.logaddexp(prefixes.by_blank, prefixes.by_token)  # (B, W)
    stays_blank = either + frame[:, :1]
    stays_token = prefixes.by_token + frame.gather(1, prefixes.last)  # -inf of the empty prefix
    longer = either[..., None] + frame[:, None]  # (B, W, V)
    again = (prefixes.by_blank + frame.gather(1, prefixes.last))[..., None]
    longer.scatter_(2, prefixes.last[..., None], again)  # a repeated token needs a blank between
    longer[..., Tokenizer.blank] = NEVER
    # a longer prefix that is in the beam already is one with it
    same = prefixes.name[:, :, None] == prefixes.parent[:, None]  # (B, W of parent, W of child)
    last = prefixes.last[:, None].expand_as(same)
    entering = longer.gather(2, last).masked_fill(~same, NEVER).logsumexp(dim=1)
    stays_token = torch.logaddexp(stays_token, entering)
    merged = torch.zeros_like(longer).scatter_add_(2, last, same.to(longer.dtype)) > 0
    longer = longer.masked_fill(merged, NEVER)

    stays = torch.logaddexp(stays_blank, stays_token)
    scores, chosen = torch.cat([stays, longer.flatten(1)], dim=1).topk(width)  # (B, W)
    grown = chosen >= width
    place = (chosen - width).clamp(min=0)
    vocab = frame.shape[1]
    parents = torch.where(grown, torch.div(place, vocab, rounding_mode="floor"), chosen)
    tokens = torch.where(grown, place % vocab, torch.full_like(place, Tokenizer.blank))

    def kept(values: Tensor) -> Tensor:
        return values.gather(1, parents)

    name = kept(prefixes.name)
    parent = torch.where(grown, name, kept(prefixes.parent))
    return (
        Prefixes(
            by_blank=kept(stays_blank).masked_fill(grown, NEVER),
            by_token=torch.where(grown, scores, kept(stays_token)),
            last=torch.where(grown, tokens, kept(prefixes.last)),
            name=torch.where(grown, name * BASE + tokens, name),
            parent=parent.masked_fill(scores == NEVER, NO_HASH),
        ),
        parents,
        tokens,
    )
