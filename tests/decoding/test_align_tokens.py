"""Forced alignment against the best of all paths."""

from itertools import product

import pytest
import torch

from ume.decoding.align_tokens import align, middles
from ume.training.validation import collapse


def brute_force(log_probs: torch.Tensor, text: list) -> list:
    """The middles of the tokens on the best of all paths that say ``text``."""
    frames, vocab = log_probs.shape
    paths = [p for p in product(range(vocab), repeat=frames) if collapse(torch.tensor(p)) == text]
    if not paths:
        return []
    best = max(paths, key=lambda p: sum(float(log_probs[f, v]) for f, v in enumerate(p)))
    states, number, before = [], -1, 0
    for token in best:
        if token and token != before:
            number += 1
        states.append(2 * number + 1 if token else 2 * (number + 1))
        before = token
    return middles(states, len(text))


@pytest.mark.parametrize("seed", range(12))
def test_the_path_is_the_best_of_all(seed: int) -> None:
    torch.manual_seed(seed)
    texts = [[1, 2], [2, 2], [1], [2, 1, 2]]
    lens = torch.tensor([6, 5, 4, 6])
    log_probs = torch.randn(4, 6, 3).mul(2).log_softmax(dim=-1)
    found = align(log_probs, lens, texts)
    for b, text in enumerate(texts):
        assert found[b] == brute_force(log_probs[b, : lens[b]], text)


def test_a_text_that_does_not_fit_has_no_alignment() -> None:
    log_probs = torch.zeros(2, 3, 4).log_softmax(dim=-1)
    found = align(log_probs, torch.tensor([3, 3]), [[1, 1, 1], [1, 2, 3]])
    assert found == [[], [0, 1, 2]]
