"""Text decoders with attention, Whisper's above all, and its greedy search; all in batches.

Keys and values of what has been seen are kept.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from ume.nn.gelu import GELU
from ume.nn.lengths import valid_frames
from ume.nn.linear import Linear
from ume.nn.whisper import Attention, WhisperSize

MAX_TOKENS = 448  # positions of the decoder
MAX_NEW_TOKENS = 224  # per 30 s, as in openai-whisper
LOOP = 16  # tokens that are copies of what is just before them: nobody speaks like that

KeysValues = Tuple[Tensor, Tensor]  # each (B, heads, U or F, D / heads)


@dataclass
class DecoderState:
    """What the layers have seen: the encoder's output, and the tokens so far."""

    audio: List[KeysValues]
    text: List[Optional[KeysValues]]
    valid: Optional[Tensor] = None  # (B, 1, 1, F) frames that exist; None: all

    def keep(self, rows: Tensor) -> "DecoderState":
        """The state of some ``rows`` of the batch."""
        audio = [(key[rows], value[rows]) for key, value in self.audio]
        valid = None if self.valid is None else self.valid[rows]
        return DecoderState(audio, self.keep_text(rows), valid)

    def keep_text(self, rows: Tensor) -> List[Optional[KeysValues]]:
        """The tokens so far of some ``rows``: for hypotheses of the same audio."""
        return [past and (past[0][rows], past[1][rows]) for past in self.text]


class DecoderLayer(nn.Module):
    """Pre-norm Transformer layer with attention to the text so far and to the audio."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        inner: int,
        activation: nn.Module,
        epsilon: float = 1e-5,
        key_bias: bool = False,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, epsilon)
        self.attention = Attention(width, num_heads, key_bias)
        self.cross_attention_norm = nn.LayerNorm(width, epsilon)
        self.cross_attention = Attention(width, num_heads, key_bias)
        self.feed_forward_norm = nn.LayerNorm(width, epsilon)
        self.feed_forward = nn.Sequential(Linear(width, inner), activation, Linear(inner, width))

    def forward(
        self,
        x: Tensor,
        audio: KeysValues,
        past: Optional[KeysValues],
        mask: Tensor,
        valid: Optional[Tensor],
    ) -> Tuple[Tensor, KeysValues]:
        """New tokens ``x`` (B, U, D) -> (B, U, D), and the keys and values of all so far."""
        normed = self.attention_norm(x)
        key, value = self.attention.project(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        x = x + self.attention.attend(normed, key, value, mask)
        x = x + self.cross_attention.attend(self.cross_attention_norm(x), *audio, valid)
        return x + self.feed_forward(self.feed_forward_norm(x)), (key, value)


class AttentionDecoder(nn.Module, ABC):
    """Tokens so far to the logits of the next one; a clip's frames are attended to."""

    def __init__(
        self, vocab_size: int, width: int, layers: Sequence[DecoderLayer], epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width, epsilon)

    @abstractmethod
    def embed(self, tokens: Tensor, seen: int) -> Tensor:
        """``tokens`` (B, U) after ``seen`` others -> the first layer's input (B, U, D)."""

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """The last layer's output (B, U, D), normed, -> (B, U, V)."""

    def freeze_tokens(self) -> None:
        """Keep what is known of single tokens: little text would spoil it."""
        self.embedding.requires_grad_(False)

    def start(self, encoded: Tensor, lens: Optional[Tensor] = None) -> DecoderState:
        """The state before the first token, for the encoder's output ``encoded`` (B, F, D).

        ``lens`` (B,) are the frames that exist; Whisper itself has all of 30 s.
        """
        audio = [layer.cross_attention.project(encoded) for layer in self.layers]
        valid = None if lens is None else valid_frames(lens, encoded.shape[1])[:, None, None]
        return DecoderState(audio, [None] * len(audio), valid)

    def forward(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """Logits (B, U, V) after each of the new ``tokens`` (B, U); extends ``state``."""
        first = state.text[0]
        seen = 0 if first is None else first[0].shape[2]
        total = seen + tokens.shape[1]
        causal = torch.ones(total, total, dtype=torch.bool, device=tokens.device).tril()[seen:]
        x = self.embed(tokens, seen)  # (B, U, D)
        for index, layer in enumerate(self.layers):
            x, state.text[index] = layer(
                x, state.audio[index], state.text[index], causal, state.valid
            )
        return self.logits(self.norm(x))


class WhisperDecoder(AttentionDecoder):
    """Whisper's decoder; the output layer is the transposed embedding."""

    def __init__(self, size: WhisperSize) -> None:
        width = size.width
        layers = [
            DecoderLayer(width, size.num_heads, 4 * width, GELU())
            for _ in range(size.decoder_layers)
        ]
        super().__init__(size.vocab_size, width, layers)
        self.positions = nn.Parameter(torch.zeros(MAX_TOKENS, width))

    def embed(self, tokens: Tensor, seen: int) -> Tensor:
        """See :class:`AttentionDecoder`."""
        return self.embedding(tokens) + self.positions[seen : seen + tokens.shape[1]]

    def logits(self, x: Tensor) -> Tensor:
        """See :class:`AttentionDecoder`."""
        return x @ self.embedding.weight.T


@dataclass
class DecodingRules:
    """What the decoder is told and what it must not say: token numbers.

    Tokens above ``end`` are special in Whisper and never part of the text.
    """

    prompt: List[int]
    end: int
    no_speech: int
    suppressed: List[int]
    suppressed_first: List[int]
    no_speech_threshold: float = 0.6
    log_prob_threshold: float = -1.0


@torch.no_grad()
def greedy_search(
    decoder: AttentionDecoder,
    encoded: Tensor,
    rules: DecodingRules,
    lens: Optional[Tensor] = None,
    limits: Optional[Tensor] = None,
) -> List[List[int]]:
    """Tokens of each clip, without prompt and end: openai-whisper's decoding at temperature 0.

    ``encoded`` (B, F, D) is the encoder's output, of which ``lens`` (B,) frames exist; Whisper
    itself has all 1500 of audio padded to 30 s. A clip that is taken
    for silence has no tokens: one where ``no_speech`` has more than its threshold of probability
    at the start, and the mean log-probability per token is below its own threshold.

    A clip ends where the decoder says the same over and over (:func:`repeated`). There
    openai-whisper begins anew at higher temperatures, whose text is left to chance. It ends as well
    after ``limits`` (B,) tokens, MAX_NEW_TOKENS by default.
    """
    if limits is None:
        limits = torch.full((len(encoded),), MAX_NEW_TOKENS)
    limits = limits.to(encoded.device)
    said = torch.zeros_like(limits)  # tokens, the end and copies included
    state = decoder.start(encoded, lens)
    texts: List[List[int]] = [[] for _ in encoded]
    scores = torch.zeros(len(encoded), device=encoded.device)
    rows = torch.arange(len(encoded), device=encoded.device)  # of the clips that have not ended
    new = torch.tensor([rules.prompt] * len(encoded), device=encoded.device)  # (B, U)
    for step in range(int(limits.max())):
        logits = decoder(new, state)  # (B', U, V), B' = len(rows)
        if step == 0:
            silence = logits[:, 0].softmax(dim=1)[:, rules.no_speech]
        score, token = allowed(logits[:, -1], rules, first=step == 0).log_softmax(dim=1).max(dim=1)
        scores[rows] += score
        said[rows] += 1
        going = token != rules.end
        for place in going.nonzero().flatten().tolist():
            text = texts[int(rows[place])]
            text.append(int(token[place]))
            copies = repeated(text)
            if copies:
                del text[-copies:]
                going[place] = False
        going &= said[rows] < limits[rows]
        if not going.all():
            state, rows, token = state.keep(going), rows[going], token[going]
        if not len(rows):
            break
        new = token.unsqueeze(1)
    lengths = torch.tensor([len(text) + 1 for text in texts], device=encoded.device)
    mean = scores / torch.maximum(lengths, said)
    silent = (silence > rules.no_speech_threshold) & (mean < rules.log_prob_threshold)
    return [[] if no_speech else text for no_speech, text in zip(silent, texts, strict=True)]


def repeated(text: Sequence[int]) -> int:
    """How many tokens at the end are copies of those before them; 0 unless they are LOOP and more.

    >>> repeated([7, *[1, 2, 3] * 7])
    18
    >>> repeated([1, 2, 3] * 3)
    0
    """
    for period in range(1, len(text) // 2 + 1):
        copies = 0
        while text[-1 - copies] == text[-1 - copies - period]:
            copies += 1
            if copies + period == len(text):
                break
        copies -= copies % period
        if copies >= LOOP:
            return copies
    return 0


def allowed(logits: Tensor, rules: DecodingRules, first: bool) -> Tensor:
    """``logits`` (B, V) where tokens that must not be said (or not first) are impossible."""
    logits = logits.clone()
    logits[:, rules.end + 1 :] = -math.inf
    logits[:, rules.suppressed + (rules.suppressed_first if first else [])] = -math.inf
    return logits
