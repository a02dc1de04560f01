"""What a stage of Echo knows of utterances: probes, token errors, embeddings."""

from typing import Dict, List, Optional, Sequence, Tuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from ume.activity import FRAME_SHIFT, SAMPLING_RATE
from ume.dataset.batch import MixtureBatch
from ume.dataset.tokenizer import Tokenizer
from ume.losses.jepa import collapse
from ume.models.echo import Echo
from ume.nn.lengths import spread
from ume.scoring.probes import (
    Drawn,
    Measure,
    draw_halves,
    equal_error_rate,
    error_bounds,
    knn_probe,
    pooled,
    top_1,
)
from ume.training.validation import encode_texts, token_errors

PIECE = 2.0  # seconds of an utterance's halves that are compared
FRAMES = 40  # tokens of an utterance whose frames are probed, at most
PROBED = 20000  # of all utterances, about
RESIDUAL = (1, 2, 4, 8)  # codebooks
RATE = round(1 / FRAME_SHIFT)  # frames a second
SPACES = ("latents", "speaker subspace", "content subspace", "quantised speaker subspace",
          "quantised content subspace")  # fmt: skip


class Utterances:
    """What is kept of the utterances of speakers who were not trained on.

    ``sessions`` has the recording session of every utterance that is to come. Each of
    ``num_seeds`` draws the pieces of its halves, and then what is known and what is asked for.
    """

    def __init__(
        self,
        echo: Echo,
        tokenizer: Optional[Tokenizer],
        alignment: Dict[str, List[List[int]]],
        sessions: Dict[str, str],
        num_seeds: int,
    ) -> None:
        self.echo, self.tokenizer, self.alignment = echo, tokenizer, alignment
        self.session_of = sessions
        self.num_seeds = num_seeds
        self.placing = self.rngs("pieces")
        self.frames_each = min(FRAMES, max(1, PROBED // len(sessions)))
        self.speakers: List[str] = []
        self.sessions: List[str] = []
        self.halves: List[Tensor] = []  # (seeds, 2, D), mean latents of PIECE s of each half
        self.voices: List[Tensor] = []  # (seeds, 2, E), their embeddings
        self.sample: List[Tensor] = []  # latents, for signs of collapse
        self.frames: Dict[str, List[Tensor]] = {space: [] for space in SPACES}
        self.frame_tokens: List[int] = []
        self.frame_speakers: List[str] = []
        self.frame_utterances: List[str] = []
        self.errors: Dict[str, List[Tuple[int, int, str]]] = {}  # reader -> wrong, all, speaker
        self.used: Dict[str, Tensor] = {}  # quantiser -> (C, V), uses of the entries
        self.sums = (torch.zeros(echo.encoder.width), torch.zeros(()))

    def add(self, batch: MixtureBatch) -> None:
        """Hear a batch."""
        latents, mask = self.echo.latents(batch.audio, batch.audio_lens)
        self.sums = (self.sums[0] + latents[mask].sum(dim=0), self.sums[1] + mask.sum())
        self.sample.append(latents[mask][:: 4 * RATE])
        self.sessions += [self.session_of[name] for name in batch.ids]
        self.speakers += [names[0] for names in batch.speakers]
        for clip, length in zip(batch.audio, batch.audio_lens.tolist()):
            self.hear_halves(clip[:length])
        spaces = {"latents": latents}
        if "factors" in self.echo.config.stages:
            spaces.update(self.factorise(latents, mask, batch))
        if "content" in self.echo.config.stages:
            self.read("content", self.echo.log_probs(latents), mask, batch)
        for b, name in enumerate(batch.ids):
            pairs = self.alignment.get(name, [])
            number = min(self.frames_each, len(pairs))
            chosen = [pairs[(2 * k + 1) * len(pairs) // (2 * number)] for k in range(number)]
            places = [min(frame, int(mask[b].sum()) - 1) for _, frame in chosen]
            for space, states in spaces.items():
                self.frames[space].append(states[b, places])
            self.frame_tokens += [token for token, _ in chosen]
            self.frame_speakers += [batch.speakers[b][0]] * len(chosen)
            self.frame_utterances += [name] * len(chosen)

    def hear_halves(self, clip: Tensor) -> None:
        """Pieces of the halves of ``clip`` (T,), each heard by itself.

        Heard in one, every frame would know what the other half sounds like.
        """
        drawn = [halves(len(clip), round(PIECE * SAMPLING_RATE), rng) for rng in self.placing]
        pieces = torch.stack([clip[piece] for pair in drawn for piece in pair])
        latents, mask = self.echo.latents(pieces, torch.full((len(pieces),), pieces.shape[1]))
        shape = (len(drawn), 2)
        self.halves.append(latents.mean(dim=1).unflatten(0, shape))
        if "speakers" in self.echo.config.stages:
            embedded = self.echo.embed(latents, mask.to(latents.dtype))
            self.voices.append(embedded.unflatten(0, shape))

    def rngs(self, what: str) -> List[np.random.Generator]:
        """What each seed draws ``what`` with, whatever else is measured."""
        own = crc32(what.encode())
        return [np.random.default_rng([seed, own]) for seed in range(self.num_seeds)]

    def centre(self) -> Tensor:
        """The mean (D,) of all latents."""
        return self.sums[0] / self.sums[1]

    def factorise(self, latents: Tensor, mask: Tensor, batch: MixtureBatch) -> Dict[str, Tensor]:
        """The subspaces before and after the quantisers; tokens are read from contents."""
        factors = self.echo.factors
        factored = factors(latents, mask)
        found = factors.quantise(factored, mask)
        self.read("continuous", factors.log_probs(factored.content, "continuous"), mask, batch)
        self.read("product", factors.log_probs(found["product"].values, "product"), mask, batch)
        for count in RESIDUAL:
            if count <= len(factors.residual_books.books):
                values = factors.residual_books(factored.content[mask], count).values
                log_probs = factors.log_probs(spread(values, mask), "residual")
                self.read(f"residual, {count}", log_probs, mask, batch)
        for name, quantised in found.items():
            entries = self.echo.config.factors.entries
            used = torch.stack([c.bincount(minlength=entries) for c in quantised.codes.T])
            self.used[name] = used + self.used.get(name, torch.zeros_like(used))
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

    def measures(self) -> List[Measure]:
        """All of it."""
        found = self.signs_of_collapse()
        found += self.speaker_probes("speaker probe", "mean latents", self.halves)
        if len(set(self.frame_speakers)) > 1:
            found += self.content_probes()
        found += self.perplexities()
        found += self.token_error_rates()
        if self.voices and len(set(self.speakers)) > 1:
            found += self.speaker_probes("identification", "embeddings", self.voices)
            found += self.verification()
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

    def speaker_probes(self, name: str, what: str, pairs: Sequence[Tensor]) -> List[Measure]:
        """Halves of one utterance of every speaker; and utterances of those who have several."""
        halves, others = [], []
        each = torch.stack(list(pairs)).unbind(dim=1)  # of each seed (N, 2, D)
        for rng, vectors in zip(self.rngs("speakers"), each):
            chosen = self.one_each(rng)
            names = [self.speakers[k] for k in chosen]
            first, second = vectors[chosen].unbind(dim=1)
            halves.append(Drawn(first, names, second, names, names))
            drawn = draw_halves(self.speakers, self.sessions, rng)
            whole = vectors.mean(dim=1)
            others.append(chosen_from(whole, self.speakers, self.speakers, *drawn))
        found = [knn_probe(
            f"{name}, halves", halves, [top_1(drawn) for drawn in halves],
            f"{what} of up to {PIECE:g} s of each half of an utterance, heard apart, one utterance "
            "a speaker; top-1",
        )]  # fmt: skip
        if others[0].truth:
            found.append(knn_probe(
                f"{name}, utterances", others, [top_1(drawn) for drawn in others],
                f"{what} of twice up to {PIECE:g} s of an utterance against other utterances, of "
                "other sessions where the speaker has several; top-1",
            ))  # fmt: skip
        return found

    def content_probes(self) -> List[Measure]:
        """Tokens of speakers by those of others; and what each subspace knows of both."""
        tokens = [str(token) for token in self.frame_tokens]
        whose = self.frame_speakers
        spaces = {space: torch.cat(own) for space, own in self.frames.items() if own}
        by_others = [
            chosen_from(spaces["latents"], tokens, whose, *self.by_speaker(rng))
            for rng in self.rngs("content")
        ]
        probe = knn_probe(
            "content probe", by_others, [top_1(drawn) for drawn in by_others],
            "latents of the middle frames of tokens, against those of other speakers; top-1",
        )  # fmt: skip
        probe.rows = {"any token alike": 100 / probe.num_classes}
        found = [probe]
        frames = [self.by_utterance(rng) for rng in self.rngs("gap")]
        if not frames[0][1]:
            return found
        for space in spaces:
            if space != "latents":
                found += gap(space, [
                    [chosen_from(spaces[space], labels, whose, *pair) for pair in frames]
                    for labels in (whose, tokens)
                ])  # fmt: skip
        return found

    def perplexities(self) -> List[Measure]:
        """Entries of the codebooks in use."""
        found = []
        for name, used in self.used.items():
            shares = used / used.sum(dim=1, keepdim=True)  # (C, V)
            entropy = -torch.xlogy(shares, shares).sum(dim=1)
            found.append(Measure(
                f"perplexity, {name}", float(entropy.exp().mean()), "entries",
                "mean over codebooks; chance: all of them", chance=used.shape[1],
                count=int(used[0].sum()),
            ))  # fmt: skip
        return found

    def by_speaker(self, rng: np.random.Generator) -> Tuple[List[int], List[int]]:
        """Frames known and asked, of different speakers."""
        speakers = sorted(set(self.frame_speakers))
        half = set(rng.permutation(speakers)[: len(speakers) // 2].tolist())
        known = [k for k, name in enumerate(self.frame_speakers) if name in half]
        return known, [k for k, name in enumerate(self.frame_speakers) if name not in half]

    def by_utterance(self, rng: np.random.Generator) -> Tuple[List[int], List[int]]:
        """Frames known and asked, of different utterances of the same speakers."""
        names = sorted(set(self.frame_utterances))
        whose = dict(zip(self.frame_utterances, self.frame_speakers))
        sessions = [self.session_of[name] for name in names]
        known, asked = draw_halves([whose[name] for name in names], sessions, rng)
        one, other = ({names[k] for k in half} for half in (known, asked))
        return (
            [k for k, name in enumerate(self.frame_utterances) if name in one],
            [k for k, name in enumerate(self.frame_utterances) if name in other],
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

    def verification(self) -> List[Measure]:
        """Equal error rate of embeddings, by halves."""
        rates, seeds = [], []
        each = torch.stack(self.voices).unbind(dim=1)  # of each seed (N, 2, E)
        for rng, vectors in zip(self.rngs("speakers"), each):
            first, second = vectors[self.one_each(rng)].unbind(dim=1)
            scores = (second @ first.T).double().numpy()
            rates.append(equal_error_rate(scores.ravel(), np.eye(len(scores), dtype=bool).ravel()))
            seeds.append(scores)
        low, high = error_bounds(seeds) or (None, None)
        return [Measure(
            "equal error rate", float(np.mean(rates)), "%",
            f"embeddings of up to {PIECE:g} s of each half of an utterance, heard apart, one "
            "utterance a speaker; all pairs",
            low, high, chance=50.0, num_speakers=len(scores), count=scores.size,
        )]  # fmt: skip


def chosen_from(
    vectors: Tensor,
    labels: Sequence[str],
    speakers: Sequence[str],
    known: Sequence[int],
    asked: Sequence[int],
) -> Drawn:
    """Those of ``vectors`` (N, D) that are known and asked for, by index."""
    return Drawn(
        vectors[list(known)],
        [labels[k] for k in known],
        vectors[list(asked)],
        [labels[k] for k in asked],
        [speakers[k] for k in asked],
    )


def gap(space: str, drawn: Sequence[Sequence[Drawn]]) -> List[Measure]:
    """Top-1 of speakers and of contents in a subspace, and what is its own minus the other.

    ``drawn`` has the same frames twice, by speaker and by token, for each seed.
    """
    right = [[top_1(each) for each in own] for own in drawn]
    told = [
        knn_probe(
            f"{kind} top-1, {space}", *given,
            "middle frames of tokens, against those of other utterances",
        )
        for kind, given in zip(("speaker", "content"), zip(drawn, right))
    ]  # fmt: skip
    ours, other = (0, 1) if "speaker" in space else (1, 0)
    kinds = ("speakers", "contents")
    return [*told, pooled(
        f"factorisation gap, {space}",
        [(mine - others, np.ones(len(mine)), each.speakers)
         for mine, others, each in zip(right[ours], right[other], drawn[ours])],
        "points", f"top-1 of {kinds[ours]} minus that of {kinds[other]}, of the same frames",
        chance=(told[ours].chance or 0.0) - (told[other].chance or 0.0),
        num_speakers=told[ours].num_speakers, num_classes=told[1].num_classes,
    )]  # fmt: skip


def halves(length: int, piece: int, rng: np.random.Generator) -> Tuple[slice, slice]:
    """``piece`` samples anywhere in each half of ``length``, or all of a shorter half.

    >>> halves(40, 20, np.random.default_rng(0))
    (slice(0, 20, None), slice(20, 40, None))
    """
    half = length // 2
    size = max(min(piece, half), 1)
    one, other = rng.integers(half - size + 1, size=2).tolist() if half >= size else (0, 0)
    return slice(one, one + size), slice(half + other, half + other + size)
