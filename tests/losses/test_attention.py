"""The attention decoder's loss against the decoder token by token."""

import pytest
import torch

from ume.errors import UmeError
from ume.losses.attention import attention_loss
from ume.nn.whisper import WhisperSize
from ume.nn.whisper_decoder import WhisperDecoder

END, VOCAB, WIDTH = 1, 6, 8
TEXTS = [[3, 4, 4, 5], [2], []]
LENS = torch.tensor([9, 5, 7])


@pytest.fixture
def decoder() -> WhisperDecoder:
    torch.manual_seed(0)
    size = WhisperSize(width=WIDTH, num_heads=2, decoder_layers=2, vocab_size=VOCAB)
    decoder = WhisperDecoder(size).double()
    torch.nn.init.normal_(decoder.positions)
    return decoder


def test_it_is_the_sum_over_the_tokens_and_the_end(decoder) -> None:
    states = torch.randn(3, 9, WIDTH, dtype=torch.double)
    losses = attention_loss(decoder, states, LENS, TEXTS, [END], END, smoothing=0.0)
    for row, text in enumerate(TEXTS):
        state = decoder.start(states[row : row + 1, : LENS[row]])
        nats = 0.0
        for given, wanted in zip([END, *text], [*text, END]):
            logits = decoder(torch.tensor([[given]]), state)[0, -1]
            nats -= float(logits.log_softmax(dim=0)[wanted])
        assert float(losses[row]) == pytest.approx(nats)


def test_what_is_padded_does_not_count(decoder) -> None:
    states = torch.randn(3, 9, WIDTH, dtype=torch.double)
    together = attention_loss(decoder, states, LENS, TEXTS, [END], END, smoothing=0.1)
    states[1, 5:], states[2, 7:] = 1e6, -1e6
    torch.testing.assert_close(
        attention_loss(decoder, states, LENS, TEXTS, [END], END, smoothing=0.1), together
    )
    alone = attention_loss(
        decoder, states[1:2, :5], LENS[1:2], TEXTS[1:2], [END], END, smoothing=0.1
    )
    torch.testing.assert_close(together[1:2], alone)


def test_smoothing_charges_for_certainty(decoder) -> None:
    states = torch.randn(3, 9, WIDTH, dtype=torch.double)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.02)
    for _ in range(60):
        loss = attention_loss(decoder, states, LENS, TEXTS, [END], END, smoothing=0.1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    plain = attention_loss(decoder, states, LENS, TEXTS, [END], END, smoothing=0.0).sum()
    tokens = sum(map(len, TEXTS)) + len(TEXTS)
    assert 0 < plain / tokens < 0.3 < loss / tokens  # the entropy of the smoothed target is 0.49


def test_a_text_beyond_the_decoders_positions_is_refused(decoder) -> None:
    states = torch.randn(1, 9, WIDTH, dtype=torch.double)
    with pytest.raises(UmeError, match="448 tokens and the attention decoder takes 447; lower"):
        attention_loss(decoder, states, LENS[:1], [[3] * 448], [END], END, 0.0)
