"""What a stage of Echo knows of utterances: probes, token errors, embeddings."""

from collections import Counter
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from ume.activity import FRAME_SHIFT
from ume.dataset.batch import MixtureBatch
from ume.dataset.tokenizer import Tokenizer
from ume.losses.jepa import collapse
from ume.models.echo import Echo
from ume.scoring.probes import Measure, draw_halves, equal_error_rate, knn_probe, pooled
from ume.training.validation import encode_texts, token_errors

PIECE = 2.0  # seconds of an utterance's halves that are compared
FRAMES = 40  # tokens of an utterance whose frames are probed, at most
RESIDUAL = (1, 2, 4, 8)  # codebooks
RATE = round(1 / FRAME_SHIFT)  # frames a second
SPACES = ("latents", "speaker subspace", "content subspace", "quantised speaker subspace",
          "quantised content subspace")  # fmt: skip


class Utterances:
    """What is kept of the utterances of speakers who were not trained on."""

    def __init__(
        self, echo: Echo, tokenizer: Optional[Tokenizer], alignment: Dict[str, List[List[int]]]
    ) -> None:
        self.echo, self.tokenizer, self.alignment = echo, tokenizer, alignment
        self.speakers: List[str] = []
        self.halves: List[Tensor] = []  # (2, D), means of the latents of PIECE s of each half
        self.voices: List[Tensor] = []  # (2, E), their embeddings
        self.sample: List[Tensor] = []  # latents, for signs of collapse
        self.frames: Dict[str, List[Tensor]] = {space: [] for space in SPACES}
        self.frame_tokens: List[int] = []
        self.frame_speakers: List[str] = []
        self.frame_utterances: List[str] = []
        self.errors: Dict[str, List[Tuple[int, int, str]]] = {}  # reader -> wrong, all, speaker
        self.perplexity: Dict[str, List[Tensor]] = {}
        self.sums = (torch.zeros(echo.encoder.width), torch.zeros(()))

    def add(self, batch: MixtureBatch) -> None:
        """Hear a batch."""
        latents, mask = self.echo.latents(batch.audio, batch.audio_lens)
        self.sums = (self.sums[0] + latents[mask].sum(dim=0), self.sums[1] + mask.sum())
        self.sample.append(latents[mask][:: 4 * RATE])
        for clip, length, names in zip(latents, mask.sum(dim=1).tolist(), batch.speakers):
            pieces = halves(length, round(PIECE * RATE))
            self.speakers.append(names[0])
            self.halves.append(torch.stack([clip[piece].mean(dim=0) for piece in pieces]))
            if "speakers" in self.echo.config.stages:
                embedded = [
                    self.echo.embed(clip[None, piece], torch.ones(1, piece.stop - piece.start))[0]
                    for piece in pieces
                ]
                self.voices.append(torch.stack(embedded))
        spaces = {"latents": latents}
        if "factors" in self.echo.config.stages:
            spaces.update(self.factorise(latents, mask, batch))
        if "content" in self.echo.config.stages:
            self.read("content", self.echo.log_probs(latents), mask, batch)
        for b, name in enumerate(batch.ids):
            pairs = self.alignment.get(name, [])
            chosen = pairs[:: max(1, len(pairs) // FRAMES)][:FRAMES]
            places = [min(frame, int(mask[b].sum()) - 1) for _, frame in chosen]
            for space, states in spaces.items():
                self.frames[space].append(states[b, places])
            self.frame_tokens += [token for token, _ in chosen]
            self.frame_speakers += [batch.speakers[b][0]] * len(chosen)
            self.frame_utterances += [name] * len(chosen)

    def factorise(self, latents: Tensor, mask: Tensor, batch: MixtureBatch) -> Dict[str, Tensor]:
        """The subspaces before and after the quantisers; tokens are read from contents."""
        factors = self.echo.factors
        factored = factors(latents, mask)
        found = factors.quantise(factored, mask)
        self.read("continuous", factors.log_probs(factored.content, "continuous"), mask, batch)
        self.read("product", factors.log_probs(found["product"].values, "product"), mask, batch)
        books = len(factors.residual_books.books)
        for count in [number for number in RESIDUAL if number <= books]:
            values = factors.quantise(factored, mask, count)["residual"].values
            self.read(f"residual, {count}", factors.log_probs(values, "residual"), mask, batch)
        for name, quantised in found.items():
            self.perplexity.setdefault(name, []).append(quantised.codes)
        return {
            "speaker subspace": factored.speaker,
            "content subspace": factored.content,
            "quantised speaker subspace": found["speaker"].values,
            "quantised content subspace": found["product"].values,
        }

    def read(self, reader: str, log_probs: Tensor, mask: Tensor, batch: MixtureBatch) -> None:
        """Count token errors of greedy search."""
        texts = encode_texts(batch, self.tokenizer)
        own = self.errors.setdefault(reader, [])
        for clip, length, text, names in zip(log_probs, mask.sum(dim=1), texts, batch.speakers):
            wrong, total = token_errors(clip[None, None], length[None], [text])
            if total:
                own.append((wrong, total, names[0]))

    def measures(self, num_seeds: int) -> List[Measure]:
        """All of it, by the draws of each evaluation seed."""
        rngs = [np.random.default_rng(seed) for seed in range(num_seeds)]
        found = self.signs_of_collapse()
        found += self.speaker_probes(rngs)
        if self.frame_tokens:
            found += self.content_probes(rngs)
        found += self.perplexities()
        found += self.token_error_rates()
        if self.voices:
            found += self.verification(rngs)
        return found

    def signs_of_collapse(self) -> List[Measure]:
        """Of latents."""
        states = torch.cat(self.sample)
        return [
            Measure(name, value, "", "a frame of latents every 4 s", count=len(states))
            for name, value in collapse(states).items()
        ]

    def one_each(self, rng: np.random.Generator) -> List[int]:
        """An utterance of every speaker, by chance."""
        return [
            int(rng.choice([k for k, name in enumerate(self.speakers) if name == speaker]))
            for speaker in sorted(set(self.speakers))
        ]

    def speaker_probes(self, rngs: Sequence[np.random.Generator]) -> List[Measure]:
        """Halves of one utterance of every speaker; and utterances of those who have several."""
        halves, others = [], []
        for rng in rngs:
            chosen = self.one_each(rng)
            names = [self.speakers[k] for k in chosen]
            first, second = torch.stack([self.halves[k] for k in chosen]).unbind(dim=1)
            halves.append((first, names, second, names, names))
            known, asked = draw_halves(self.speakers, rng)
            whose = [self.speakers[k] for k in asked]
            vectors = torch.stack([pair.mean(dim=0) for pair in self.halves])
            others.append(
                (vectors[known], [self.speakers[k] for k in known], vectors[asked], whose, whose)
            )
        return [
            knn_probe(
                "speaker probe, halves", halves,
                f"mean latents of {PIECE:g} s of each half of an utterance, one a speaker; top-1",
            ),
            knn_probe(
                "speaker probe, utterances", others,
                f"mean latents of {2 * PIECE:g} s of an utterance against other utterances; top-1",
            ),
        ]  # fmt: skip

    def content_probes(self, rngs: Sequence[np.random.Generator]) -> List[Measure]:
        """Tokens of speakers by those of others; and what each subspace knows of both."""
        found = []
        tokens = [str(token) for token in self.frame_tokens]
        speakers = sorted(set(self.frame_speakers))
        spaces = {space: torch.cat(own) for space, own in self.frames.items() if own}
        drawn = []
        for rng in rngs:
            half = set(rng.permutation(speakers)[: len(speakers) // 2].tolist())
            known = [k for k, name in enumerate(self.frame_speakers) if name in half]
            asked = [k for k, name in enumerate(self.frame_speakers) if name not in half]
            drawn.append((known, asked))
        found.append(knn_probe(
            "content probe",
            [self.asked(spaces["latents"], tokens, *pair) for pair in drawn],
            "latents of the middle frames of tokens, against those of other speakers; top-1",
        ))  # fmt: skip
        if len(spaces) == 1:
            return found
        drawn = [self.by_utterance(rng) for rng in rngs]
        for space in SPACES[1:]:
            told = {
                kind: knn_probe(
                    f"{kind} top-1, {space}",
                    [self.asked(spaces[space], labels, *pair) for pair in drawn],
                    "middle frames of tokens, against those of other utterances",
                )
                for kind, labels in (("speaker", self.frame_speakers), ("content", tokens))
            }
            ours, other = ("speaker", "content") if "speaker" in space else ("content", "speaker")
            found += told.values()
            found.append(Measure(
                f"factorisation gap, {space}", told[ours].value - told[other].value, "points",
                f"top-1 of {ours} minus that of {other}", count=told[ours].count,
                num_speakers=told[ours].num_speakers, num_classes=told["content"].num_classes,
            ))  # fmt: skip
        return found

    def perplexities(self) -> List[Measure]:
        """Entries of the codebooks in use."""
        found = []
        for name, codes in self.perplexity.items():
            used = torch.cat(codes)
            value = float(np.mean([np.exp(entropy(column)) for column in used.T.tolist()]))
            found.append(Measure(
                f"perplexity, {name}", value, "entries", "mean over codebooks; chance: all of them",
                chance=self.echo.config.factors.entries, count=len(used),
            ))  # fmt: skip
        return found

    def by_utterance(self, rng: np.random.Generator) -> Tuple[List[int], List[int]]:
        """Frames known and asked, of different utterances of the same speakers."""
        names = sorted(set(self.frame_utterances))
        whose = dict(zip(self.frame_utterances, self.frame_speakers))
        known, asked = draw_halves([whose[name] for name in names], rng)
        one, other = ({names[k] for k in half} for half in (known, asked))
        return (
            [k for k, name in enumerate(self.frame_utterances) if name in one],
            [k for k, name in enumerate(self.frame_utterances) if name in other],
        )

    def asked(
        self, vectors: Tensor, labels: Sequence[str], known: List[int], asked: List[int]
    ) -> Tuple[Tensor, List[str], Tensor, List[str], List[str]]:
        """What :func:`knn_probe` takes."""
        return (
            vectors[known],
            [labels[k] for k in known],
            vectors[asked],
            [labels[k] for k in asked],
            [self.frame_speakers[k] for k in asked],
        )

    def token_error_rates(self) -> List[Measure]:
        """Of every reader that has read something, beside its bits per second."""
        config = self.echo.config.factors
        bits = {
            "continuous": 32.0 * config.width,
            "product": config.codebooks * np.log2(config.entries),
            **{f"residual, {count}": count * np.log2(config.entries) for count in RESIDUAL},
        }
        found = []
        for reader, rows in self.errors.items():
            if not rows:
                continue
            wrong, total, speakers = zip(*rows)
            found.append(pooled(
                f"token error rate, {reader}", [(100.0 * np.array(wrong), total, speakers)], "%",
                "greedy CTC; chance: the empty answer", chance=100.0,
                num_speakers=len(set(speakers)),
                rows={"bits per second": RATE * bits[reader]} if reader in bits else {},
            ))  # fmt: skip
        return found

    def verification(self, rngs: Sequence[np.random.Generator]) -> List[Measure]:
        """Embeddings: identification and equal error rate by halves."""
        drawn, rates = [], []
        for rng in rngs:
            chosen = self.one_each(rng)
            names = [self.speakers[k] for k in chosen]
            first, second = torch.stack([self.voices[k] for k in chosen]).unbind(dim=1)
            drawn.append((first, names, second, names, names))
            scores = (second @ first.T).numpy()
            rates.append(equal_error_rate(scores.ravel(), np.eye(len(names), dtype=bool).ravel()))
        halves = f"embeddings of {PIECE:g} s of each half of an utterance, one a speaker"
        return [
            knn_probe("identification by embeddings", drawn, f"{halves}; top-1"),
            Measure(
                "equal error rate of embeddings", float(np.mean(rates)), "%",
                f"{halves}; all pairs", chance=50.0, num_speakers=len(set(self.speakers)),
                count=len(names) ** 2,
            ),
        ]  # fmt: skip


def halves(length: int, piece: int) -> Tuple[slice, slice]:
    """The middle ``piece`` frames of each half of ``length`` frames, or all of a shorter half.

    >>> halves(100, 20)
    (slice(15, 35, None), slice(65, 85, None))
    """
    half = length // 2
    size = max(min(piece, half), 1)
    start = (half - size) // 2
    return slice(start, start + size), slice(half + start, half + start + size)


def entropy(codes: Sequence[int]) -> float:
    """Of the codes, in nats."""
    shares = np.array(list(Counter(codes).values())) / len(codes)
    return float(-(shares * np.log(shares)).sum())
