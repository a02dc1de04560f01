"""How a stage of Echo routes the voices of mixtures to slots."""

from collections import Counter
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from ume.dataset.batch import MixtureBatch
from ume.dataset.tokenizer import Tokenizer
from ume.metrics.frame_der import frame_der
from ume.metrics.latents import chance_right, latent_si_sdr, match_slots
from ume.metrics.permutations import best_permutation
from ume.metrics.si_sdr import pairwise_si_sdr, si_sdr
from ume.models.echo import Echo
from ume.scoring.probes import Measure, Seed, pooled
from ume.training.validation import Tokens, encode_texts, token_errors

Errors = Dict[str, List[Tuple[int, int, str]]]  # of tokens: wrong, all, speakers


class Conversations:
    """What is kept of the slots of windows of mixtures.

    ``centre`` (D,) is the mean of latents; slots above ``threshold``, a logit, are live.
    """

    def __init__(
        self, echo: Echo, tokenizer: Optional[Tokenizer], centre: Tensor, threshold: float = 0.0
    ) -> None:
        self.echo, self.tokenizer, self.centre = echo, tokenizer, centre
        self.threshold = threshold
        self.num_slots = 0
        self.groups: List[str] = []  # the speakers of each window's mixture
        self.true: List[int] = []
        self.live: List[int] = []
        self.right: List[int] = []  # of sources
        self.of: List[int] = []
        self.errors: Errors = {}
        self.decibels: Dict[str, List[Tuple[float, int, str]]] = {}
        self.diarization: Dict[str, List[Tuple[float, float]]] = {}

    def add(self, batch: MixtureBatch) -> None:
        """Route a batch of windows."""
        latents, mask = self.echo.latents(batch.audio, batch.audio_lens)
        slots = self.echo.route(latents, mask)
        self.num_slots = slots.existence.shape[1]
        voices = self.echo.voices(batch.audio, batch.audio_lens, slots.latents, mask)
        exists = batch.activity.any(dim=1)
        counts = exists.sum(dim=1)
        lens, like = (each.repeat_interleave(counts, 0) for each in (batch.audio_lens, batch.audio))
        sources, _ = self.echo.latents(batch.sources[exists], lens, like)
        parts = sources.split(counts.tolist())
        centre = self.centre
        texts = encode_texts(batch, self.tokenizer)
        for b, own in enumerate(parts):
            count, frames = len(own), int(mask[b].sum())
            if count == 0:
                continue
            names = "+".join(sorted(filter(None, batch.speakers[b])))
            self.groups.append(names)
            self.true.append(count)
            live = slots.existence[b] > self.threshold
            self.live.append(int(live.sum()))
            active = (slots.activity[b] > 0) & live & mask[b, :, None]
            self.diarize(active, batch.activity[b], mask[b])
            if count == 1:
                continue
            own, heard = own[:, :frames], slots.latents[b, :, :frames]
            matched = match_slots(heard, own)
            self.right.append(int(matched.right.sum()))
            self.of.append(count)
            chosen, mixture = heard[matched.perm], latents[b, :frames].expand_as(own)
            said = [[text] for text, there in zip(texts[b], exists[b]) if there]
            self.read("slots", chosen, said, names)
            self.read("clean sources", own, said, names)
            self.note("slots", latent_si_sdr(chosen, own, centre), names)
            self.note("the mixture's latents", latent_si_sdr(mixture, own, centre), names)
            self.note("a wrong source", latent_si_sdr(own.roll(1, 0), own, centre), names)
            self.note(
                "the mean, not taken away", si_sdr(
                    centre.expand_as(own).flatten(1), own.flatten(1)
                ), names,
            )  # fmt: skip
            samples = slice(int(batch.audio_lens[b]))
            truth = batch.sources[b, exists[b], samples]
            gained = improvements(voices[b, live, samples], truth, batch.audio[b, samples])
            self.note("SI-SDRi", gained, names)

    def read(self, name: str, states: Tensor, texts: Tokens, names: str) -> None:
        """Count token errors of greedy search in ``states`` (S, F, D), where there are words and
        the model has learned to read.
        """
        known = any(text is not None for (text,) in texts)
        if known and "content" in self.echo.config.stages:
            log_probs = self.echo.log_probs(states)[:, None]  # (S, 1, F, V)
            lens = torch.full((len(states),), states.shape[1])
            wrong, total = token_errors(log_probs, lens, texts)
            self.errors.setdefault(name, []).append((wrong, total, names))

    def note(self, name: str, decibels: Tensor, names: str) -> None:
        """Keep the sum over sources."""
        row = (float(decibels.sum()), len(decibels), names)
        self.decibels.setdefault(name, []).append(row)

    def diarize(self, active: Tensor, truth: Tensor, there: Tensor) -> None:
        """Keep the frames in error of slots, and of two trivial answers.

        ``active`` and ``truth`` (F, K) are false where there is no frame, as ``there`` (F,) says.
        """
        anybody = torch.zeros_like(active)
        anybody[:, 0] = truth.any(dim=1)
        answers = {
            "slots": active,
            "one speaks": anybody,
            "all-speak": truth.any(dim=0) & there[:, None],
        }
        for name, answer in answers.items():
            errors = frame_der(answer[None], truth[None])
            self.diarization.setdefault(name, []).append((errors.numerator, errors.denominator))


def improvements(voices: Tensor, sources: Tensor, mixture: Tensor) -> Tensor:
    """SI-SDRi (S,) in dB of ``voices`` (N, T) over ``mixture`` (T,), in the best order.

    A source of ``sources`` (S, T) for which no voice is left is answered by the mixture.
    """
    missing = max(0, len(sources) - len(voices))
    answers = torch.cat([voices, mixture.expand(missing, -1)]).double()  # (N', T)
    decibels = pairwise_si_sdr(answers[None], sources[None].double())[0]  # (S, N')
    spare = decibels.new_zeros(len(answers) - len(sources), len(answers))
    square = torch.nan_to_num(torch.cat([decibels, spare]))
    perm = best_permutation(-square)[0][: len(sources)]  # (S,)
    before = si_sdr(mixture.expand_as(sources).double(), sources.double())
    return torch.nan_to_num(square.gather(1, perm[:, None])[:, 0] - before)


def choose_existence(echo: Echo, batches: Iterable[MixtureBatch]) -> float:
    """The logit above which a slot is best taken for live: most windows have the right number.

    Where several are as good, the one in their middle.
    """
    logits, true = [], []
    for batch in batches:
        slots = echo.route(*echo.latents(batch.audio, batch.audio_lens))
        logits.append(slots.existence)
        true.append(batch.activity.any(dim=1).sum(dim=1))
    existence, count = torch.cat(logits), torch.cat(true)  # (W, K), (W,)
    thresholds = existence.flatten().sort().values
    live = (existence > thresholds[:, None, None]).sum(dim=2)  # (W * K, W)
    right = (live == count).sum(dim=1)
    return float(thresholds[right == right.max()].median())


def slot_measures(seeds: Sequence[Conversations], window: float) -> List[Measure]:
    """What the seeds have found, together; of separation only where there are mixtures."""
    where = f"windows of {window:g} s of mixtures, each about a moment of most overlap"
    found = routing_measures(seeds, where)
    mixed = [seed for seed in seeds if seed.of]
    if mixed:
        found += separation_measures(mixed, f"{where}, with 2 speakers and more")
    if any(seed.errors for seed in mixed):
        found.append(token_measure([seed.errors for seed in mixed if seed.errors], where))
    for measure in found:
        measure.num_speakers = len({n for s in seeds for g in s.groups for n in g.split("+")})
    return found


def routing_measures(seeds: Sequence[Conversations], where: str) -> List[Measure]:
    """How many there are, and who speaks when."""
    true = [k for seed in seeds for k in seed.true]
    live = [k for seed in seeds for k in seed.live]
    most = max(true + live)
    usual, times = Counter(true).most_common(1)[0]
    by_number, confusions = {}, {}
    for k in sorted(set(true)):
        own = [p for p, t in zip(live, true) if t == k]
        by_number[f"of {k}"] = float(np.mean(own))
        confusions.update(
            {f"{k} taken for {n}": 100 * own.count(n) / len(own) for n in range(most + 1)}
        )
    errors = {n: [row for s in seeds for row in s.diarization[n]] for n in seeds[0].diarization}
    ders = {n: 100 * sum(e for e, _ in own) / sum(t for _, t in own) for n, own in errors.items()}
    live_above = 100 * float(torch.tensor(seeds[0].threshold).sigmoid())
    return [
        pooled(
            "routing accuracy",
            [(100.0 * np.equal(s.live, s.true), np.ones(len(s.true)), s.groups) for s in seeds],
            "%", f"{where}; as many live slots as speakers, live being chosen on dev; chance: "
            f"always {usual}",
            chance=100.0 * times / len(true), rows={"live above": live_above, **confusions},
        ),
        pooled(
            "predicted K", [(s.live, np.ones(len(s.live)), s.groups) for s in seeds],
            "speakers", f"{where}; mean",
            rows={"true K": float(np.mean(true)), **by_number},
        ),
        pooled(
            "DER of slots",
            [(*(np.array(s.diarization["slots"]).T * [[100.0], [1.0]]), s.groups) for s in seeds],
            "%", f"{where}; frames of 20 ms, best order of the speakers; chance: one speaks",
            rows={n: v for n, v in ders.items() if n != "slots"}, chance=ders["one speaks"],
        ),
    ]  # fmt: skip


def separation_measures(seeds: Sequence[Conversations], where: str) -> List[Measure]:
    """Voices apart, in latents and in sound."""
    several = [[g for g, k in zip(seed.groups, seed.true) if k > 1] for seed in seeds]
    of = [k for seed in seeds for k in seed.of]
    chance = {k: chance_right(k, seeds[0].num_slots) for k in sorted(set(of))}
    rows = {n: rate([row for s in seeds for row in s.decibels[n]]) for n in seeds[0].decibels}
    by_number = {
        f"of {k}, chance {chance[k]:.0f}": 100
        * sum(r for s in seeds for r, n in zip(s.right, s.of) if n == k)
        / (k * of.count(k))
        for k in chance
    }
    trivial = {n: value for n, value in rows.items() if n not in ("slots", "SI-SDRi")}
    return [
        pooled(
            "PIT separation accuracy",
            [(100.0 * np.array(s.right), s.of, g) for s, g in zip(seeds, several)],
            "%", f"{where}; a slot nearer to its own source than to the others; chance: random "
            "slots", chance=float(np.average([chance[k] for k in of], weights=of)), rows=by_number,
        ),
        pooled(
            "latent SI-SDR", [columns(s.decibels["slots"]) for s in seeds], "dB",
            f"{where}; the mean of the utterances' latents taken away", rows=trivial,
        ),
        pooled(
            "SI-SDRi of voices", [columns(s.decibels["SI-SDRi"]) for s in seeds], "dB",
            f"{where}; live slots in the best order, the mixture where one is missing; chance: "
            "the mixture", chance=0.0,
        ),
    ]  # fmt: skip


def token_measure(errors: Sequence[Errors], where: str) -> Measure:
    """Tokens read from slots, beside those read from the clean sources."""
    clean = rate([row for own in errors for row in own["clean sources"]])
    return pooled(
        "token error rate of slots", [columns(own["slots"], 100.0) for own in errors], "%",
        f"{where}, that hold all of a mixture; greedy CTC; chance: the empty answer",
        chance=100.0, rows={"clean sources": 100 * clean},
    )  # fmt: skip


def rate(rows: Sequence[Tuple[float, int, str]]) -> float:
    """Mean over sources, or over tokens."""
    return sum(row[0] for row in rows) / sum(row[1] for row in rows)


def columns(rows: Sequence[Tuple[float, int, str]], scale: float = 1.0) -> Seed:
    """Rows as what :func:`pooled` takes, numerators times ``scale``."""
    numerators, denominators, groups = zip(*rows)
    return scale * np.array(numerators), denominators, groups
