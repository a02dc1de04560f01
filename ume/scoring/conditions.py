"""What makes a mixture hard: sexes, share of overlap, levels, noise; and the bins for tables."""

from typing import Dict, List, NamedTuple, Tuple

import numpy as np
from lhotse.cut import Cut

from ume.dataset.batch import Example
from ume.dataset.mixtures import tracks_of
from ume.scoring.reference import Reference


class Axis(NamedTuple):
    """Bins of one condition: from each edge on up to the next one, the last without an end."""

    name: str
    unit: str
    edges: Tuple[float, ...]

    def bin(self, value: float) -> str:
        """Such as ``20-40 %``.

        >>> LEVELS.bin(2.5), LEVELS.bin(7), NOISE.bin(-9)
        ('2.5-5 dB', 'from 5 dB', 'under -5 dB')
        """
        index = int(np.searchsorted(self.edges, value, side="right"))
        if self.unit == "%" and value == 100:
            index -= 1  # all of it belongs to the last share
        if index == 0:
            return f"under {self.edges[0]:g} {self.unit}"
        if index == len(self.edges):
            return f"from {self.edges[-1]:g} {self.unit}"
        return f"{self.edges[index - 1]:g}-{self.edges[index]:g} {self.unit}"

    @property
    def bins(self) -> List[str]:
        """All of them, in order."""
        return list(dict.fromkeys(self.bin(edge) for edge in (-np.inf, *self.edges)))


OVERLAP = Axis("overlap", "%", (0, 20, 40, 60, 80, 100))
LEVELS = Axis("level difference", "dB", (0, 2.5, 5))
NOISE = Axis("speech to noise", "dB", (-5, 0, 5))
AXES = (OVERLAP, LEVELS, NOISE)


def conditions(cut: Cut, reference: Reference, truth: Example) -> Dict[str, float]:
    """Name of each axis that applies -> value.

    *overlap*: percent of the time with speech in which two or more speak, by the reference.
    *level difference*: dB between the loudest and the softest source, each its mean power while it
    speaks. *speech to noise*: dB from the sum of the sources to the tracks that are no source, over
    the whole mixture; only where there are any.
    """
    active = reference.activity()  # (S, T)
    talking = active.sum(axis=0)  # (T,)
    values = {OVERLAP.name: 100 * float((talking >= 2).sum() / max(1, (talking >= 1).sum()))}
    sources = truth.sources.astype(np.float64)  # (S, T)
    powers = (sources**2 * active).sum(axis=1) / active.sum(axis=1).clip(1)  # (S,)
    if len(powers) > 1 and powers.min() > 0:
        values[LEVELS.name] = _decibels(powers.max(), powers.min())
    if any(not track.cut.supervisions for track in tracks_of(cut)):
        speech = sources.sum(axis=0)  # (T,)
        noise = truth.audio - speech
        if noise.any() and speech.any():
            values[NOISE.name] = _decibels((speech**2).mean(), (noise**2).mean())
    return values


def _decibels(above: float, below: float) -> float:
    return float(10 * np.log10(above / below))
