"""Whisper's layers against a plain NumPy transcription of the paper's, and their independence."""

import math
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from ume.nn import whisper_decoder
from ume.nn.whisper import WINDOW, WhisperEncoder, WhisperSize, sinusoids
from ume.nn.whisper_decoder import (
    LOOP,
    DecodingRules,
    WhisperDecoder,
    allowed,
    greedy_search,
    repeated,
)

SIZE = WhisperSize(width=64, num_heads=2, encoder_layers=2, decoder_layers=2, vocab_size=40)
RULES = DecodingRules(
    prompt=[31, 33], end=30, no_speech=32, suppressed=[3, 7], suppressed_first=[5]
)
Arrays = Dict[str, np.ndarray]


@pytest.fixture(scope="module")
def encoder() -> WhisperEncoder:
    torch.manual_seed(0)
    return WhisperEncoder(SIZE).eval()


@pytest.fixture(scope="module")
def decoder() -> WhisperDecoder:
    torch.manual_seed(1)
    decoder = WhisperDecoder(SIZE).eval()
    torch.nn.init.normal_(decoder.positions)
    return decoder


def linear(p: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0.0)


def norm(p: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return centred / scale * p[f"{name}.weight"] + p[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def conv(p: Arrays, name: str, x: np.ndarray, stride: int) -> np.ndarray:
    """Kernel 3 over frames ``x`` (F, C), zeros around."""
    padded = np.pad(x, ((1, 1), (0, 0)))
    taps = [p[f"{name}.weight"][:, :, k] @ padded[k : k + len(x)].T for k in range(3)]
    return (sum(taps).T + p[f"{name}.bias"])[::stride]


def attention(p: Arrays, name: str, x: np.ndarray, source: np.ndarray, causal: bool) -> np.ndarray:
    query, key, value = (
        linear(p, f"{name}.{part}", signal).reshape(len(signal), 2, 32)
        for part, signal in (("query", x), ("key", source), ("value", source))
    )
    out = np.zeros_like(query)
    for head in range(2):
        scores = query[:, head] @ key[:, head].T / math.sqrt(32)
        if causal:
            scores[np.triu_indices(len(x), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, head] = weights / weights.sum(-1, keepdims=True) @ value[:, head]
    return linear(p, f"{name}.out", out.reshape(len(x), 64))


def mlp(p: Arrays, layer: str, x: np.ndarray) -> np.ndarray:
    inner = gelu(linear(p, f"{layer}.feed_forward.0", norm(p, f"{layer}.feed_forward_norm", x)))
    return linear(p, f"{layer}.feed_forward.2", inner)


def arrays(module: torch.nn.Module) -> Arrays:
    return {name: value.double().numpy() for name, value in module.state_dict().items()}


def test_encoder_equals_a_plain_transcription(encoder: WhisperEncoder) -> None:
    audio, lens = torch.randn(1, 5000), torch.tensor([5000])
    p = arrays(encoder)
    x = encoder.features(audio, lens)[0][0].double().numpy()  # (F_mel, 80)
    x = gelu(conv(p, "conv2", gelu(conv(p, "conv1", x, 1)), 2))
    x = x + p["positions"][: len(x)]
    expected = []
    for n in range(2):
        normed = norm(p, f"layers.{n}.attention_norm", x)
        x = x + attention(p, f"layers.{n}.attention", normed, normed, causal=False)
        x = x + mlp(p, f"layers.{n}", x)
        expected.append(x)
    expected[-1] = norm(p, "norm", x)
    output = encoder(audio, lens)
    assert output.lens.tolist() == [16] and output.frame_shift == 0.02
    np.testing.assert_allclose(output.layers[:, 0].detach().numpy(), expected, atol=1e-5)


def test_decoder_equals_a_plain_transcription(decoder: WhisperDecoder) -> None:
    p, audio = arrays(decoder), torch.randn(1, 9, 64)
    tokens = [31, 33, 2, 9, 4]
    x = p["embedding.weight"][tokens] + p["positions"][: len(tokens)]
    for n in range(2):
        normed = norm(p, f"layers.{n}.attention_norm", x)
        x = x + attention(p, f"layers.{n}.attention", normed, normed, causal=True)
        normed = norm(p, f"layers.{n}.cross_attention_norm", x)
        memory = audio[0].double().numpy()
        x = x + attention(p, f"layers.{n}.cross_attention", normed, memory, causal=False)
        x = x + mlp(p, f"layers.{n}", x)
    expected = norm(p, "norm", x) @ p["embedding.weight"].T
    logits = decoder(torch.tensor([tokens]), decoder.start(audio))
    np.testing.assert_allclose(logits[0].detach().numpy(), expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 9000), padding=st.integers(0, 9000))
def test_padding_does_not_matter(length: int, padding: int) -> None:
    torch.manual_seed(length)
    encoder = WhisperEncoder(SIZE).eval()
    batch = torch.randn(2, length + padding)
    together = encoder(batch, torch.tensor([length, length + padding]))
    alone = encoder(batch[:1, :length], torch.tensor([length]))
    frames = math.ceil(length / 320)
    assert together.lens[0] == frames == alone.layers.shape[2]
    torch.testing.assert_close(together.layers[:, :1, :frames], alone.layers, atol=1e-5, rtol=1e-4)
    assert not together.layers[:, 0, frames:].any()


@torch.no_grad()
def test_a_long_clip_is_heard_in_pieces_of_30_seconds(encoder: WhisperEncoder) -> None:
    states = torch.randn(2, 1700, SIZE.width)
    layers = encoder.run_layers(states, torch.tensor([1700, 900]))
    for clip, first, last in ((0, 0, 1500), (0, 1500, 1700), (1, 0, 900)):
        piece = states[clip : clip + 1, first:last]
        alone = encoder.run_layers(piece, torch.tensor([last - first]))
        found = layers[:, clip : clip + 1, first:last]
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_positions_begin_anew_after_30_seconds() -> None:
    torch.manual_seed(0)
    no_layers = WhisperEncoder(WhisperSize(width=64, num_heads=2, encoder_layers=0)).eval()
    twice = torch.randn(1, WINDOW).repeat(1, 2)
    (heard,) = no_layers(twice, torch.tensor([2 * WINDOW])).layers[:, 0]  # (3000, D)
    inner = slice(2, 1498)  # without the frames that hear the border
    torch.testing.assert_close(heard[:1500][inner], heard[1500:][inner], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_padding_to_more_than_30_seconds_does_not_matter(encoder: WhisperEncoder) -> None:
    audio = torch.randn(2, WINDOW + 16000)
    together = encoder(audio, torch.tensor([16000, WINDOW + 16000]))
    assert together.lens.tolist() == [50, 1550]
    alone = encoder(audio[:1, :16000], torch.tensor([16000]))
    torch.testing.assert_close(together.layers[:, :1, :50], alone.layers, atol=1e-5, rtol=1e-4)
    assert not together.layers[:, 0, 50:].any()


def test_positions_are_sines_then_cosines() -> None:
    table = sinusoids(1500, 384)
    assert table[7, 0].item() == pytest.approx(math.sin(7))
    assert table[7, 192].item() == pytest.approx(math.cos(7))
    assert table[1000, 191].item() == pytest.approx(math.sin(0.1), abs=1e-5)


def test_cache_gives_what_the_whole_text_gives(decoder: WhisperDecoder) -> None:
    audio, tokens = torch.randn(2, 9, 64), torch.randint(0, 40, (2, 6))
    whole = decoder(tokens, decoder.start(audio))
    state = decoder.start(audio)
    parts = [decoder(part, state) for part in tokens.split([2, 1, 3], dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-4)


def naive_greedy(decoder: WhisperDecoder, audio: torch.Tensor, limit: int) -> List[int]:
    """Greedy decoding of one clip (1, F, D) without cache or batch."""
    text: List[int] = []
    while len(text) < limit:
        logits = decoder(torch.tensor([RULES.prompt + text]), decoder.start(audio))[:, -1]
        token = int(allowed(logits, RULES, first=not text).argmax())
        if token == RULES.end:
            break
        text.append(token)
    return text


def test_greedy_search_equals_a_naive_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper_decoder, "MAX_NEW_TOKENS", 20)
    monkeypatch.setattr(whisper_decoder, "LOOP", 20)
    lengths = set()
    for seed in range(4):
        torch.manual_seed(seed)
        decoder = WhisperDecoder(SIZE).eval()
        torch.nn.init.normal_(decoder.positions, std=2.0)
        decoder.embedding.weight.data[RULES.end] *= 1.5  # so that it is sometimes the best
        audio = 3 * torch.randn(4, 9, 64)
        texts = greedy_search(decoder, audio, RULES)
        assert texts == [naive_greedy(decoder, clip[None], 20) for clip in audio]
        lengths |= {len(text) for text in texts}
    assert len(lengths) >= 3  # clips ended at different steps


def test_a_clip_ends_where_the_decoder_says_the_same_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whisper_decoder, "LOOP", 4)
    looped = 0
    for seed in range(4):
        torch.manual_seed(seed)
        decoder = WhisperDecoder(SIZE).eval()  # without positions: most texts run into a loop
        audio = 3 * torch.randn(4, 9, 64)
        for text, clip in zip(greedy_search(decoder, audio, RULES), audio, strict=True):
            said = naive_greedy(decoder, clip[None], 60)
            expected = [said[:end] for end in range(len(said)) if repeated(said[:end])][:1]
            looped += len(expected)
            for loop in expected:
                assert text == loop[: -repeated(loop)]
            if not expected:
                assert text[:60] == said
    assert looped >= 4


@given(st.lists(st.integers(0, 2), max_size=30), st.integers(1, 12), st.integers(1, 30))
def test_copies_at_the_end_are_counted(head: List[int], period: int, times: int) -> None:
    pattern = list(range(3, 3 + period))  # without copies inside, and unlike the head
    copies = period * (times - 1)
    assert repeated(head + pattern * times) == (copies if copies >= LOOP else 0)


def test_suppressed_tokens_are_impossible() -> None:
    first, later = (allowed(torch.zeros(1, 40), RULES, first)[0] for first in (True, False))
    assert torch.isinf(later).nonzero().flatten().tolist() == [3, 7, *range(31, 40)]
    assert torch.isinf(first).nonzero().flatten().tolist() == [3, 5, 7, *range(31, 40)]


def test_no_tokens_need_be_suppressed() -> None:
    none = DecodingRules(**{**vars(RULES), "suppressed": [], "suppressed_first": []})
    found = allowed(torch.zeros(1, 40), none, True)[0]
    assert torch.isinf(found).nonzero().flatten().tolist() == list(range(31, 40))


def test_every_clip_has_a_limit_of_its_own() -> None:
    torch.manual_seed(0)
    decoder = WhisperDecoder(SIZE).eval()
    torch.nn.init.normal_(decoder.positions, std=2.0)
    audio = 3 * torch.randn(3, 9, 64)
    whole = greedy_search(decoder, audio, RULES, limits=torch.tensor([30, 30, 30]))
    cut = greedy_search(decoder, audio, RULES, limits=torch.tensor([30, 2, 5]))
    assert cut == [text[:limit] for text, limit in zip(whole, (30, 2, 5))]
    assert max(map(len, whole[1:])) > 5


def test_words_before_a_loop_are_not_silence_for_the_loops_sake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten tokens of -0.6 each and a loop of -0.4 are above a threshold of -1 in the mean."""
    said = [*range(10, 20), *[20] * 18]

    class Script:
        """Says what it is told to."""

        def start(self, encoded, lens):
            return self

        def keep(self, rows):
            return self

        def __call__(self, new, state):
            token = said[self.step]
            chance = math.exp(-0.6 if self.step < 10 else -0.4)
            logits = torch.full((1, 1, 40), math.log((1 - chance) / 28))
            logits[..., [3, 7, *range(31, 40)]] = -1e9
            logits[..., token] = math.log(chance)
            self.step += 1
            return logits

    script: Any = Script()
    script.step = 0
    rules = DecodingRules(
        **{**vars(RULES), "no_speech_threshold": -1.0, "log_prob_threshold": -1.0}
    )
    (text,) = greedy_search(script, torch.zeros(1, 2, 3), rules)
    assert text == [*range(10, 20), 20]


def test_silence_has_no_tokens(decoder: WhisperDecoder) -> None:
    audio = torch.randn(3, 9, 64)
    assert all(greedy_search(decoder, audio, RULES))
    silent = DecodingRules(
        **{**vars(RULES), "no_speech_threshold": -1.0, "log_prob_threshold": 0.0}
    )
    assert greedy_search(decoder, audio, silent) == [[], [], []]
