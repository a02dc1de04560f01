"""The batch that models see: :class:`MixtureBatch`.

Letters of shapes: B batch, S speakers, T samples, F frames.
"""

from dataclasses import dataclass, replace
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from ume.activity import FRAME_SHIFT, num_frames


@dataclass(frozen=True)
class Example:
    """One mixture, or a window of one, before padding. ``texts`` None: no words, or cut ones."""

    id: str
    audio: np.ndarray  # (T,) float32
    sources: np.ndarray  # (S, T) float32
    activity: np.ndarray  # (F, S) bool
    texts: List[Optional[str]]
    speakers: List[str]
    frame_shift: float = FRAME_SHIFT  # seconds


@dataclass(frozen=True)
class MixtureBatch:
    """Mixtures padded with zeros to the longest, and to the largest number of speakers.

    A speaker that a mixture lacks has a zero source, zero activity, text None and speaker "".
    """

    audio: Tensor  # (B, T) float32
    audio_lens: Tensor  # (B,) int64, samples
    sources: Tensor  # (B, S, T) float32
    activity: Tensor  # (B, F, S) float32, 0 or 1; F = num_frames(T, frame_shift)
    texts: List[List[Optional[str]]]  # [B][S]
    speakers: List[List[str]]  # [B][S]
    num_speakers: Tensor  # (B,) int64
    ids: List[str]
    frame_shift: float = FRAME_SHIFT  # seconds

    def to(self, device: Union[str, torch.device]) -> "MixtureBatch":
        """The same batch with its tensors on ``device``."""
        return replace(
            self,
            audio=self.audio.to(device),
            audio_lens=self.audio_lens.to(device),
            sources=self.sources.to(device),
            activity=self.activity.to(device),
            num_speakers=self.num_speakers.to(device),
        )


def blank(size: int, speakers: int, samples: int) -> Tuple[Tensor, Tensor]:
    """Room for the audio (B, T) and the sources (B, S, T) of a batch, not even zeros."""
    return torch.empty(size, samples), torch.empty(size, speakers, samples)


def collate(examples: Sequence[Example], num_speakers: int = 0) -> MixtureBatch:
    """Pad and stack ``examples``, to ``num_speakers`` at least."""
    samples = max(len(example.audio) for example in examples)
    speakers = max(num_speakers, *(len(example.sources) for example in examples))
    audio, sources = blank(len(examples), speakers, samples)
    for b, example in enumerate(examples):
        count, length = example.sources.shape
        audio[b, :length] = torch.from_numpy(example.audio)
        sources[b, :count, :length] = torch.from_numpy(example.sources)
    return batch_of(examples, audio, sources)


def batch_of(examples: Sequence[Example], audio: Tensor, sources: Tensor) -> MixtureBatch:
    """The batch of ``examples``, each at the beginning of its rows in (B, T) and (B, S, T)."""
    size, speakers, samples = sources.shape
    shift = examples[0].frame_shift
    activity = torch.zeros(size, num_frames(samples, shift), speakers)  # (B, F, S)
    for b, example in enumerate(examples):
        count, length = example.sources.shape
        audio[b, length:] = sources[b, :, length:] = sources[b, count:] = 0
        activity[b, : len(example.activity), :count] = torch.from_numpy(example.activity)
    return MixtureBatch(
        audio=audio,
        audio_lens=torch.tensor([len(example.audio) for example in examples]),
        sources=sources,
        activity=activity,
        texts=[[*e.texts, *[None] * (speakers - len(e.texts))] for e in examples],
        speakers=[[*e.speakers, *[""] * (speakers - len(e.speakers))] for e in examples],
        num_speakers=torch.tensor([len(example.speakers) for example in examples]),
        ids=[example.id for example in examples],
        frame_shift=shift,
    )
