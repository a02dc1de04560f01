"""Pictures of one mixture: its timeline, and the spectrograms of its voices."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
from lhotse.cut import Cut
from scipy.signal import stft

from ume.activity import Segment
from ume.dataset.mixtures import load_example
from ume.report.style import GREY, colour, figure
from ume.scoring.diarization import Speech, score_diarization
from ume.scoring.hypothesis import Hypothesis
from ume.scoring.reference import Reference
from ume.scoring.separation import score_separation, with_nobody

WINDOW, SHIFT = 512, 128  # samples of the spectrograms
RANGE_DB = 70.0  # below the loudest point of the picture


@dataclass(frozen=True)
class Example:
    """A mixture and its hypothesis, whose streams are in the order of the reference."""

    reference: Reference
    mixture: np.ndarray  # (T,)
    sources: np.ndarray  # (S, T)
    voices: np.ndarray  # (S, T)
    streams: Tuple[str, ...]  # label of each voice
    found: Speech  # stream -> segments
    si_sdri: float  # dB
    der: float  # %

    @classmethod
    def load(cls, cut: Cut, hypothesis: Hypothesis) -> "Example":
        """Read audio and segments of one recording."""
        reference = Reference.of(cut)
        rate = reference.rate
        truth = load_example(cut, rate=rate)
        voices = hypothesis.audio(reference.id, reference.num_samples, rate)
        sources, active = (
            with_nobody(len(voices), each) for each in (truth.sources, reference.activity())
        )
        score = score_separation(voices, sources, truth.audio, active, rate)
        order = list(score.permutation[: len(truth.sources)])
        found = hypothesis.speech()[reference.id]
        errors = score_diarization(reference.speech, found, reference.duration, collar=0.0)
        return cls(
            reference,
            truth.audio,
            truth.sources,
            voices[order],
            tuple(hypothesis.streams[k] for k in order),
            found,
            score.averages["SI-SDRi", "whole"].rate,
            100 * errors.rate,
        )


def draw_timeline(example: Example, path: Path) -> None:
    """Who speaks when: the mixture, then reference and hypothesis of every speaker."""
    reference = example.reference
    count = len(reference.speakers)
    with figure(path, figsize=(9, 1.8 + 0.8 * count)) as drawing:
        wave, lanes = drawing.subplots(2, 1, sharex=True, height_ratios=[1, 0.9 * count])
        times = np.arange(len(example.mixture)) / reference.rate
        wave.plot(times, example.mixture, color=GREY, linewidth=0.4)
        wave.set_ylabel("mixture")
        wave.set_yticks([])
        wave.set_title(f"{reference.id}: who speaks when (DER {example.der:.1f} %, collar 0 s)")
        labels: List[str] = []
        for k, speaker in enumerate(reference.speakers):
            stream = example.streams[k]
            _bars(lanes, reference.speech[speaker], 2 * k, colour(k), 1.0)
            _bars(lanes, example.found.get(stream, []), 2 * k + 1, colour(k), 0.45)
            labels += [f"reference {speaker}", f"hypothesis {stream}"]
        lanes.set_yticks(range(2 * count), labels)
        lanes.set_ylim(2 * count - 0.4, -0.6)
        lanes.set_xlim(0, reference.duration)
        lanes.set_xlabel("time (s)")
        lanes.grid(axis="x")


def _bars(axes: Any, segments: List[Segment], row: int, shade: str, alpha: float) -> None:
    spans = [(start, end - start) for start, end in segments]
    axes.broken_barh(spans, (row - 0.35, 0.7), facecolor=shade, alpha=alpha, edgecolor="none")


def draw_spectrograms(example: Example, path: Path) -> None:
    """The mixture; below it every source beside the voice that was separated."""
    reference = example.reference
    count = len(reference.speakers)
    panels = [("mixture", example.mixture, "black")]
    for k, speaker in enumerate(reference.speakers):
        panels.append((f"reference {speaker}", example.sources[k], colour(k)))
        panels.append((f"separated {example.streams[k]}", example.voices[k], colour(k)))
    levels = [spectrogram(signal, reference.rate) for _, signal, _ in panels]
    top = max(level.max() for level in levels)
    with figure(path, figsize=(9, 2.0 * (count + 1))) as drawing:
        grid = drawing.add_gridspec(count + 1, 2)
        cells = [grid[0, :]] + [grid[row, side] for row in range(1, count + 1) for side in (0, 1)]
        axes = [drawing.add_subplot(cell) for cell in cells]
        for place, (title, _, shade), level in zip(axes, panels, levels):
            image = place.imshow(
                level,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=top - RANGE_DB,
                vmax=top,
                extent=(0, reference.duration, 0, reference.rate / 2000),
            )
            place.set_title(title, color=shade, loc="left")
        for place in (axes[0], *axes[1::2]):
            place.set_ylabel("kHz")
        for place in axes[-2:]:
            place.set_xlabel("time (s)")
        drawing.colorbar(image, ax=axes, label="level (dB)", shrink=0.6)
        drawing.suptitle(f"{reference.id}: SI-SDRi {example.si_sdri:.1f} dB, mean of the voices")


def spectrogram(signal: np.ndarray, rate: int) -> np.ndarray:
    """Level in dB, (frequencies, frames), of ``signal`` (T,) of ``rate`` Hz; silence: -120 dB."""
    _, _, spectrum = stft(signal, rate, nperseg=WINDOW, noverlap=WINDOW - SHIFT)
    return 20 * np.log10(np.abs(spectrum) + 1e-6)
