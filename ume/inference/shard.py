"""What one job of inference puts into a hypothesis folder."""

from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from safetensors.torch import save
from torch import Tensor, nn

from ume.activity import FRAME_SHIFT, SAMPLING_RATE
from ume.audio import resample, write_flac
from ume.files import sha256, write_bytes


class Shard:
    """What one job collects before it is written."""

    def __init__(self, activity_shift: float, rates: Dict[str, int]) -> None:
        self.activity_shift = activity_shift  # seconds
        self.rates = rates  # Hz, of the mixtures and so of their voices
        self.posteriors: Dict[str, Tensor] = {}
        self.ctc: Dict[str, Tensor] = {}
        self.states: Dict[str, Tensor] = {}  # for an attention decoder
        self.latents: Dict[str, Tensor] = {}  # of Echo's voices
        self.num_samples: Dict[str, int] = {}

    def write(self, hyp: Path, job: int, num_jobs: int) -> None:
        """Write tensors, of each kind those of one ``job``; the first one of ``num_jobs`` removes
        what an earlier run of more jobs left.
        """
        shares = [*hyp.glob("meta/*.json"), *hyp.glob("*/*.safetensors")]
        for path in shares if job == 1 else []:
            if int(path.stem) > num_jobs:
                path.unlink()
        for kind, tensors, shift in (
            ("posteriors", self.posteriors, self.activity_shift),
            ("ctc", self.ctc, FRAME_SHIFT),
            ("states", self.states, FRAME_SHIFT),
            ("latents", self.latents, FRAME_SHIFT),
        ):
            metadata = {"frame_shift": str(shift)}
            path = hyp / kind / f"{job}.safetensors"
            if tensors:
                write_bytes(path, save(tensors, metadata))
            else:  # a job without a share; an earlier run's may have had one
                path.unlink(missing_ok=True)
        size = sum(value.numel() * value.element_size() for value in self.ctc.values())
        print(f"{len(self.num_samples)} recordings, {size / 1e6:.0f} MB of log-probabilities")

    def meta(
        self, network: nn.Module, model: str, cuts: str, num_jobs: int, tasks: List[str]
    ) -> Dict[str, Any]:
        """The part of the job's ``meta.json`` that is the same for all models.

        ``network`` is that of the experiment folder ``model``.
        """
        return {
            "model": model,
            "model_sha256": sha256(Path(model) / "model.safetensors"),
            "parameters": sum(p.numel() for p in network.parameters()),
            "cuts": cuts,
            "cuts_sha256": sha256(cuts),
            "num_jobs": num_jobs,
            "tasks": tasks,
            "num_samples": self.num_samples,
            "audio_seconds": sum(self.num_samples.values()) / SAMPLING_RATE,
        }


def write_voices(folder: Path, name: str, sources: np.ndarray, rate: int) -> None:
    """Separated voices (S, T), 16 kHz, as 16-bit FLAC of ``rate`` Hz.

    They are made quieter together if one would clip.
    """
    sources = resample(sources, SAMPLING_RATE, rate)
    peak = float(np.abs(sources).max())
    scale = min(1.0, 0.999 / peak) if peak > 0 else 1.0
    for k, source in enumerate(sources, start=1):
        write_flac(folder / "audio" / f"{name}_{k}.flac", source * scale, rate)


def reduced(frames: Tensor, half: bool) -> Tensor:
    """A copy of its own, in 16 bits if asked."""
    return frames.half().contiguous() if half else frames.clone()
