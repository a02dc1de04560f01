"""CTC's prefix probabilities against sums over all texts."""

import itertools
import math
from typing import Dict, Tuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.decoding.ctc_prefix import LOG_ZERO, CTCPrefixScorer, PrefixState

VOCAB = 4  # blank and three tokens
Text = Tuple[int, ...]


def all_texts(log_probs: torch.Tensor) -> Dict[Text, float]:
    """Probability of every text that (F, V) has room for, by torch's CTC."""
    frames = len(log_probs)
    texts = [t for n in range(frames + 1) for t in itertools.product(range(1, VOCAB), repeat=n)]
    found = {}
    for text in texts:
        loss = torch.nn.functional.ctc_loss(
            log_probs[:, None],
            torch.tensor([text], dtype=torch.long).view(1, -1),
            torch.tensor([frames]),
            torch.tensor([len(text)]),
            reduction="sum",
        )
        found[text] = math.exp(-float(loss))
    return found


def state_of(scorer: CTCPrefixScorer, prefix: Text) -> PrefixState:
    """The state of the first stream after ``prefix``, token by token."""
    state, last = scorer.start(), -1
    state = PrefixState(state.by_token[:1], state.by_blank[:1])
    for token in prefix:
        _, state = scorer.extend(
            state, torch.tensor([0]), torch.tensor([last]), torch.tensor([[token]])
        )
        last = token
    return state


@settings(max_examples=15, deadline=None)
@given(frames=st.integers(1, 5), seed=st.integers(0, 1000), padding=st.integers(0, 3))
def test_prefixes_and_whole_texts_have_the_probability_of_all_that_begins_so(
    frames, seed, padding
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(1, frames + padding, VOCAB, dtype=torch.double, generator=generator)
    log_probs = scores.log_softmax(dim=2)
    scorer = CTCPrefixScorer(log_probs, torch.tensor([frames]))
    texts = all_texts(log_probs[0, :frames])
    assert sum(texts.values()) == pytest.approx(1)
    for prefix in [(), (1,), (2, 2), (3, 1), (1, 1, 2)]:
        state = state_of(scorer, prefix)
        assert math.exp(state.whole()) == pytest.approx(texts.get(prefix, 0), abs=1e-12)
        tokens = torch.arange(1, VOCAB)[None]
        last = torch.tensor([prefix[-1] if prefix else -1])
        begins, longer = scorer.extend(state, torch.tensor([0]), last, tokens)
        for place, token in enumerate(tokens[0].tolist()):
            longer_prefix = (*prefix, token)
            expected = sum(
                p for text, p in texts.items() if text[: len(longer_prefix)] == longer_prefix
            )
            assert math.exp(begins[0, place]) == pytest.approx(expected, abs=1e-12)
            whole = PrefixState(longer.by_token[[place]], longer.by_blank[[place]]).whole()
            assert math.exp(whole) == pytest.approx(texts.get(longer_prefix, 0), abs=1e-12)


def test_several_prefixes_of_several_streams_are_scored_as_each_alone() -> None:
    log_probs = torch.randn(2, 30, VOCAB).log_softmax(dim=2)
    lens = torch.tensor([30, 17])
    together, alone = (
        CTCPrefixScorer(log_probs, lens),
        CTCPrefixScorer(log_probs[1:, :17], lens[1:]),
    )
    streams, last = torch.tensor([0, 1, 1]), torch.tensor([-1, -1, -1])
    tokens = torch.tensor([[1, 2], [2, 3], [3, 1]])
    start = together.start()
    start = PrefixState(start.by_token[streams], start.by_blank[streams])
    begins, state = together.extend(start, streams, last, tokens)
    expected, theirs = alone.extend(alone.start(), torch.tensor([0]), last[:1], tokens[1:2])
    torch.testing.assert_close(begins[1:2], expected)
    ours = PrefixState(state.by_token[2:4], state.by_blank[2:4])
    torch.testing.assert_close(ours.whole(), theirs.whole())


def test_long_streams_and_certain_frames_stay_finite() -> None:
    log_probs = torch.full((1, 2000, VOCAB), -200.0)
    log_probs[:, :, 0] = 0
    log_probs[0, 1000] = torch.tensor([-200.0, 0, -200, -200])
    scorer = CTCPrefixScorer(log_probs, torch.tensor([2000]))
    begins, state = scorer.extend(
        scorer.start(), torch.tensor([0]), torch.tensor([-1]), torch.tensor([[1, 2]])
    )
    assert begins[0, 0] == pytest.approx(0, abs=1e-6)
    assert state.whole()[0] == pytest.approx(0, abs=1e-6)
    assert -400 <= begins[0, 1] < -150 and (state.by_token >= LOG_ZERO).all()
