"""How a stage of Echo routes the voices of mixtures to slots."""

from collections import Counter
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from ume.dataset.batch import MixtureBatch
from ume.metrics.frame_der import frame_der
from ume.metrics.latents import latent_si_sdr, match_slots
from ume.metrics.si_sdr import si_sdr
from ume.models.echo import Echo
from ume.scoring.probes import Measure, Seed, pooled


class Conversations:
    """What is kept of the slots of windows of mixtures."""

    def __init__(self, echo: Echo, centre: Optional[Tensor]) -> None:
        self.echo, self.centre = echo, centre
        self.groups: List[str] = []  # who speaks in each window
        self.true: List[int] = []
        self.live: List[int] = []
        self.right: List[int] = []  # of sources
        self.of: List[int] = []
        self.decibels: Dict[str, List[Tuple[float, int, str]]] = {}
        self.diarization: Dict[str, List[Tuple[float, float]]] = {}

    def add(self, batch: MixtureBatch) -> None:
        """Route a batch of windows."""
        latents, mask = self.echo.latents(batch.audio, batch.audio_lens)
        slots = self.echo.route(latents, mask)
        voices = self.echo.voices(batch.audio, batch.audio_lens, slots.latents, mask)
        exists = batch.activity.any(dim=1)
        lens = batch.audio_lens.repeat_interleave(exists.sum(dim=1))
        sources, _ = self.echo.latents(batch.sources[exists], lens)
        parts = sources.split(exists.sum(dim=1).tolist())
        centre = sources.mean(dim=(0, 1)) if self.centre is None else self.centre
        for b, own in enumerate(parts):
            count, frames = len(own), int(mask[b].sum())
            if count == 0:
                continue
            names = "+".join(n for n, e in zip(sorted(batch.speakers[b]), exists[b]) if e)
            self.groups.append(names)
            self.true.append(count)
            live = slots.existence[b] > 0
            self.live.append(int(live.sum()))
            active = (slots.activity[b] > 0) & live & mask[b, :, None]
            self.diarize(active, batch.activity[b])
            if count == 1:
                continue
            own, heard = own[:, :frames], slots.latents[b, :, :frames]
            matched = match_slots(heard, own)
            self.right.append(int(matched.right.sum()))
            self.of.append(count)
            chosen, mixture = heard[matched.perm], latents[b, :frames].expand_as(own)
            self.note("slots", latent_si_sdr(chosen, own, centre), names)
            self.note("the mixture's latents", latent_si_sdr(mixture, own, centre), names)
            self.note("a wrong source", latent_si_sdr(own.roll(1, 0), own, centre), names)
            self.note(
                "the mean, not taken away", si_sdr(
                    centre.expand_as(own).flatten(1), own.flatten(1)
                ), names,
            )  # fmt: skip
            samples = int(batch.audio_lens[b])
            truth = batch.sources[b, exists[b], :samples].double()
            before = si_sdr(batch.audio[b, :samples].double().expand_as(truth), truth)
            after = si_sdr(voices[b, matched.perm, :samples].double(), truth)
            self.note("SI-SDRi", torch.nan_to_num(after - before), names)

    def note(self, name: str, decibels: Tensor, names: str) -> None:
        """Keep the sum over sources."""
        row = (float(decibels.sum()), len(decibels), names)
        self.decibels.setdefault(name, []).append(row)

    def diarize(self, active: Tensor, truth: Tensor) -> None:
        """Keep the frames in error of slots, and of two trivial answers."""
        anybody = torch.zeros_like(active)
        anybody[:, 0] = truth.any(dim=1)
        answers = {
            "slots": active,
            "one speaks": anybody,
            "all-speak": truth.any(dim=0).expand_as(truth),
        }
        for name, answer in answers.items():
            errors = frame_der(answer[None], truth[None])
            self.diarization.setdefault(name, []).append((errors.numerator, errors.denominator))


def slot_measures(seeds: Sequence[Conversations], window: float) -> List[Measure]:
    """What the seeds have found, together."""
    where = f"windows of {window:g} s of mixtures"
    speakers = {name for seed in seeds for group in seed.groups for name in group.split("+")}
    true = [k for seed in seeds for k in seed.true]
    live = [k for seed in seeds for k in seed.live]
    usual = Counter(true).most_common(1)[0]
    several = [[g for g, k in zip(seed.groups, seed.true) if k > 1] for seed in seeds]
    chance = {2: 75.0, 3: 67.0, 4: 64.0}  # docs/echo.md
    of = [k for seed in seeds for k in seed.of]
    found = [
        pooled(
            "routing accuracy",
            [(100.0 * np.equal(s.live, s.true), np.ones(len(s.true)), s.groups) for s in seeds],
            "%", f"{where}; as many live slots as speakers; chance: always {usual[0]}",
            chance=100.0 * usual[1] / len(true), num_speakers=len(speakers),
        ),
        Measure(
            "predicted K", float(np.mean(live)), "speakers", f"{where}; mean",
            rows={"true K": float(np.mean(true)), **{
                f"of {k}": float(np.mean([p for p, t in zip(live, true) if t == k]))
                for k in sorted(set(true))
            }}, count=len(true), num_speakers=len(speakers),
        ),
        pooled(
            "PIT separation accuracy",
            [(100.0 * np.array(s.right), s.of, g) for s, g in zip(seeds, several)],
            "%", f"{where} with 2 speakers and more",
            chance=float(np.average([chance.get(k, 64.0) for k in of], weights=of)),
            num_speakers=len(speakers),
        ),
    ]  # fmt: skip
    names = list(seeds[0].decibels)
    rows = {n: rate([row for s in seeds for row in s.decibels[n]]) for n in names}
    for name, title, beside in (
        ("slots", "latent SI-SDR", names[1:-1]), ("SI-SDRi", "SI-SDRi of voices", []),
    ):  # fmt: skip
        found.append(pooled(
            title, [columns(s.decibels[name]) for s in seeds], "dB",
            f"{where} with 2 speakers and more",
            chance=None if beside else 0.0, rows={n: rows[n] for n in beside},
            num_speakers=len(speakers),
        ))  # fmt: skip
    errors = {n: [row for s in seeds for row in s.diarization[n]] for n in seeds[0].diarization}
    ders = {n: 100 * sum(e for e, _ in own) / sum(t for _, t in own) for n, own in errors.items()}
    found.append(pooled(
        "DER of slots",
        [(*(np.array(s.diarization["slots"]).T * [[100.0], [1.0]]), s.groups) for s in seeds],
        "%", f"{where}; frames of 20 ms, best order of the speakers", num_speakers=len(speakers),
        rows={n: v for n, v in ders.items() if n != "slots"}, chance=ders["one speaks"],
    ))  # fmt: skip
    return found


def rate(rows: Sequence[Tuple[float, int, str]]) -> float:
    """Mean over sources."""
    return sum(row[0] for row in rows) / sum(row[1] for row in rows)


def columns(rows: Sequence[Tuple[float, int, str]]) -> Seed:
    """Rows as what :func:`pooled` takes."""
    numerators, denominators, groups = zip(*rows)
    return numerators, denominators, groups
