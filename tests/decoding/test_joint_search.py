"""Joint beam search against the best of all texts."""

import itertools
from typing import List

import pytest
import torch

from ume.decoding.joint_search import NEVER, Search, joint_search
from ume.nn.whisper import WhisperSize
from ume.nn.whisper_decoder import WhisperDecoder

END, VOCAB, WIDTH = 1, 5, 8


@pytest.fixture
def decoder() -> WhisperDecoder:
    """One that makes up its mind, at random."""
    torch.manual_seed(3)
    size = WhisperSize(width=WIDTH, num_heads=2, decoder_layers=2, vocab_size=VOCAB)
    decoder = WhisperDecoder(size).eval()
    torch.nn.init.normal_(decoder.positions)
    return decoder


def streams(frames: int, count: int = 1):
    memory = torch.randn(count, frames, WIDTH)
    log_probs = (2 * torch.randn(count, frames, VOCAB)).log_softmax(dim=2)
    return memory, log_probs


@torch.no_grad()
def score(decoder, memory, log_probs, text: List[int], ctc_weight: float) -> float:
    """Of one stream's text: the decoder told all of it, and CTC's loss."""
    tokens = torch.tensor([[END, *text]])
    logits = decoder(tokens, decoder.start(memory))[0].double().log_softmax(dim=1)
    heard = sum(float(logits[place, token]) for place, token in enumerate([*text, END]))
    loss = torch.nn.functional.ctc_loss(
        log_probs.double().transpose(0, 1), torch.tensor([text]).long().view(1, -1),
        torch.tensor([log_probs.shape[1]]), torch.tensor([len(text)]), reduction="sum",
    )  # fmt: skip
    return (1 - ctc_weight) * heard - (ctc_weight * float(loss) if ctc_weight else 0)


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_with_a_wide_beam_it_finds_the_best_of_all_texts(decoder, ctc_weight, seed) -> None:
    torch.manual_seed(seed)
    frames = 4
    memory, log_probs = streams(frames)
    texts = [list(t) for n in range(frames + 1) for t in itertools.product([2, 3, 4], repeat=n)]
    best = max(texts, key=lambda text: score(decoder, memory, log_probs, text, ctc_weight))
    lens = torch.tensor([frames])
    found = joint_search(decoder, memory, log_probs, lens, END, 100, ctc_weight)
    assert found == [best]


def test_there_may_be_as_many_tokens_as_frames(decoder) -> None:
    log_probs = torch.full((1, 3, VOCAB), -20.0)
    for frame, token in enumerate((2, 4, 3)):
        log_probs[0, frame, token] = 0.0
    memory = torch.randn(1, 3, WIDTH)
    assert joint_search(decoder, memory, log_probs, torch.tensor([3]), END, 8, 0.99) == [[2, 4, 3]]


def test_a_stream_has_the_same_words_in_any_batch(decoder) -> None:
    memory, log_probs = streams(20, 3)
    lens = torch.tensor([20, 11, 5])
    together = joint_search(decoder, memory, log_probs, lens, END, 6)
    for stream, frames in enumerate(lens.tolist()):
        alone = (part[stream : stream + 1, :frames] for part in (memory, log_probs))
        assert joint_search(decoder, *alone, lens[[stream]], END, 6) == [together[stream]]


@pytest.mark.parametrize("weight", [0.999, 1.0])
def test_ctc_alone_reads_what_its_peaks_say(decoder, weight) -> None:
    text = [3, 3, 2, 4]
    log_probs = torch.full((1, 12, VOCAB), -9.0)
    for place, token in enumerate([3, 0, 3, 0, 0, 2, 2, 0, 4, 4, 0, 0]):
        log_probs[0, place, token] = 0.0
    memory = torch.randn(1, 12, WIDTH)
    lens = torch.tensor([12])
    found = joint_search(decoder, memory, log_probs.log_softmax(2), lens, END, 8, weight)
    assert found == [text]


def test_a_stream_of_more_frames_than_the_decoder_has_positions_ends(decoder) -> None:
    memory, log_probs = streams(460)
    torch.nn.init.zeros_(decoder.norm.weight)
    torch.nn.init.ones_(decoder.norm.bias)
    decoder.embedding.weight.data[END] = -1000.0  # sooner any number of tokens than the end
    found = joint_search(decoder, memory, log_probs, torch.tensor([460]), END, 2, 0.0)
    assert len(found[0]) < 448


def test_at_the_first_step_there_is_one_hypothesis_whatever_the_weight(decoder) -> None:
    memory, log_probs = streams(20)
    search = Search(decoder, memory, log_probs, torch.tensor([20]), END, 8, 1.0)
    search.step()
    real = search.tokens[search.totals.flatten() > NEVER].tolist()
    assert sorted(real) == [[END, token] for token in range(VOCAB) if token not in (0, END)]
