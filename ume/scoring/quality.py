"""What SI-SDR does not say of separated voices: SDR, SIR, SAR, STOI, ESTOI and PESQ."""

from importlib.util import find_spec
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from ume.errors import UmeError
from ume.metrics.bss_eval import bss_eval
from ume.metrics.results import Average

Values = Dict[str, Tuple[Tensor, Tensor]]  # name -> of the voices, of the mixture, each (S,)

BASE = "SI-SDR"  # always scored: it finds the permutation for all others
PESQ_MODES = {16000: "wb", 8000: "nb"}  # by rate: wideband, narrowband


def parse_metrics(given: str) -> List[str]:
    """The metrics of ``--separation-metrics`` beside SI-SDR, without PESQ where it is missing.

    Raises:
        UmeError: one that is unknown.
    """
    names = given.split()
    unknown = sorted({*names} - {BASE, *METRICS})
    if unknown:
        raise UmeError(
            f"--separation-metrics {unknown[0]}: give some of {BASE}, {', '.join(METRICS)}"
        )
    return [name for name in METRICS if name in names and (name != "PESQ" or has_pesq())]


def has_pesq() -> bool:
    """Whether the package ``pesq`` is installed; it is optional, since it must be compiled."""
    return find_spec("pesq") is not None


def score_quality(
    metrics: Sequence[str], voices: np.ndarray, sources: np.ndarray, mixture: np.ndarray, rate: int
) -> Dict[str, Average]:
    """Averages over the sources of one mixture.

    Args:
        metrics: of ``METRICS``.
        voices, sources: ``(S, T)``, voice ``k`` that of source ``k``, none of them silent.
        mixture: ``(T,)``, the base of improvements, whose names end in "i".
        rate: Hz.

    Returns:
        Name -> average. Sources that a metric cannot be told of (too short) are left out there.
    """
    averages = {}
    for metric in metrics if len(sources) else []:
        for name, (after, before) in METRICS[metric](voices, sources, mixture, rate).items():
            averages[name] = average(after)
            if name not in ("SIR", "SAR"):  # the mixture has no artefacts to improve on
                averages[f"{name}i"] = average(after - before)
    return averages


def average(values: Tensor) -> Average:
    """Of those that are defined."""
    values = values[~values.isnan()]
    return Average(values.sum().item(), len(values))


def _bss_eval(voices: np.ndarray, sources: np.ndarray, mixture: np.ndarray, rate: int) -> Values:
    estimates = np.concatenate([voices, mixture[None]])
    scores = bss_eval(*(torch.from_numpy(x.astype(np.float64)) for x in (estimates, sources)))
    return {
        name.upper(): (pairs[:, :-1].diagonal(), pairs[:, -1])  # (S, S + 1) -> (S,), (S,)
        for name, pairs in scores._asdict().items()
    }


def _stoi(voices: np.ndarray, sources: np.ndarray, mixture: np.ndarray, rate: int) -> Values:
    from ume.metrics.stoi import resample, stoi  # with scipy.signal: half a second to import

    signals = resample(np.concatenate([sources, voices, mixture[None]]), rate)  # (2S + 1, T')
    truth, heard, mixed = signals.split([len(sources), len(voices), 1])
    both = torch.stack([heard, mixed.expand_as(heard)], dim=1)  # (S, 2, T')
    scores = [torch.stack(stoi(pair, source)) for pair, source in zip(both, truth)]
    plain, extended = torch.stack(scores, dim=1)  # (S, 2) each
    return {"STOI": plain.unbind(1), "ESTOI": extended.unbind(1)}


def _pesq(voices: np.ndarray, sources: np.ndarray, mixture: np.ndarray, rate: int) -> Values:
    if rate not in PESQ_MODES:
        raise UmeError(f"PESQ is of 8 or 16 kHz, not {rate} Hz; leave it out")
    scores = [[_pesq_of(x, source, rate) for x in (voice, mixture)]
              for voice, source in zip(voices, sources)]  # fmt: skip
    after, before = torch.tensor(scores, dtype=torch.float64).unbind(1)
    return {"PESQ": (after, before)}


def _pesq_of(estimate: np.ndarray, source: np.ndarray, rate: int) -> float:
    """MOS-LQO; NaN where PESQ finds no speech in the source, or less than a quarter second."""
    from pesq import PesqError, pesq

    score = pesq(rate, source, estimate, PESQ_MODES[rate], on_error=PesqError.RETURN_VALUES)
    return score if score > 0 else float("nan")


METRICS: Dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, int], Values]] = {
    "BSSEval": _bss_eval,
    "STOI": _stoi,
    "PESQ": _pesq,
}
UNITS = {
    BASE: "dB",
    "SDR": "dB",
    "SIR": "dB",
    "SAR": "dB",
    "STOI": "-",
    "ESTOI": "-",
    "PESQ": "MOS",
}
