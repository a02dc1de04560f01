"""Prefix beam search against sums over all alignments, and against a plain loop."""

import itertools
import math
from collections import defaultdict
from typing import Dict, List, Tuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.decoding.ctc_search import greedy_tokens, prefix_beam_search

Text = Tuple[int, ...]


def random_log_probs(frames: int, vocab: int, seed: int, streams: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(streams, frames, vocab, dtype=torch.double, generator=generator)
    return scores.log_softmax(dim=2)


def search(log_probs: torch.Tensor, beam: int) -> List[int]:
    """Of one stream (F, V)."""
    return prefix_beam_search(log_probs[None], torch.tensor([len(log_probs)]), beam)[0]


def text_of(alignment: Text) -> Text:
    return tuple(token for token, _ in itertools.groupby(alignment) if token)


def all_texts(log_probs: torch.Tensor) -> Dict[Text, float]:
    """Probability of every text, alignment by alignment."""
    frames, vocab = log_probs.shape
    probs = log_probs.exp().tolist()
    found: Dict[Text, float] = defaultdict(float)
    for alignment in itertools.product(range(vocab), repeat=frames):
        found[text_of(alignment)] += math.prod(probs[t][k] for t, k in enumerate(alignment))
    return found


def by_loops(log_probs: torch.Tensor, beam: int) -> Text:
    """The same search, prefix by prefix and token by token: {prefix: (by blank, by token)}."""
    beams: Dict[Text, Tuple[float, float]] = {(): (1.0, 0.0)}
    for probs in log_probs.exp().tolist():
        new: Dict[Text, List[float]] = defaultdict(lambda: [0.0, 0.0])
        for prefix, (blank, token) in beams.items():
            new[prefix][0] += (blank + token) * probs[0]
            if prefix:
                new[prefix][1] += token * probs[prefix[-1]]
            for k in range(1, len(probs)):
                again = bool(prefix) and prefix[-1] == k
                new[(*prefix, k)][1] += (blank if again else blank + token) * probs[k]
        best = sorted(new.items(), key=lambda item: -sum(item[1]))[:beam]
        beams = {prefix: (blank, token) for prefix, (blank, token) in best}
    return max(beams, key=lambda prefix: sum(beams[prefix]))


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 5), vocab=st.integers(2, 4), seed=st.integers(0, 10_000))
def test_a_beam_of_all_prefixes_finds_the_best_text(frames: int, vocab: int, seed: int) -> None:
    log_probs = random_log_probs(frames, vocab, seed)[0]
    texts = all_texts(log_probs)
    assert sum(texts.values()) == pytest.approx(1)
    assert tuple(search(log_probs, beam=vocab**frames)) == max(texts, key=lambda t: texts[t])


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 25),
    vocab=st.integers(2, 5),
    beam=st.integers(1, 6),
    seed=st.integers(0, 10_000),
)
def test_a_narrow_beam_keeps_what_a_plain_loop_keeps(
    frames: int, vocab: int, beam: int, seed: int
) -> None:
    log_probs = random_log_probs(frames, vocab, seed)[0]
    assert tuple(search(log_probs, beam)) == by_loops(log_probs, beam)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), beam=st.integers(1, 8))
def test_a_stream_has_the_same_text_in_any_batch(seed: int, beam: int) -> None:
    log_probs = random_log_probs(20, 6, seed, streams=4)
    lens = torch.tensor([20, 13, 1, 7])
    together = prefix_beam_search(log_probs, lens, beam)
    assert together == [search(x[:n], beam) for x, n in zip(log_probs, lens.tolist())]


def test_alignments_of_a_text_add_up() -> None:
    """Blank is the best token of either frame, yet the text of one token has 0.64."""
    log_probs = torch.tensor([[0.6, 0.4]]).log().expand(2, -1)
    assert greedy_tokens(log_probs) == []
    assert search(log_probs, beam=2) == [1]


def test_a_repeated_token_needs_a_blank_between() -> None:
    tokens = [3, 3, 0, 3, 2, 2]
    certain = torch.eye(4)[tokens].log()  # -inf but for one token
    assert search(certain, beam=4) == [3, 3, 2] == greedy_tokens(certain)
