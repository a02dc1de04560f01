"""The batch that models see: :class:`MixtureBatch`.

Letters of shapes: B batch, S speakers, T samples, F frames.
"""

from dataclasses import dataclass, replace
from typing import List, Optional, Sequence, Union

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


def collate(examples: Sequence[Example], num_speakers: int = 0) -> MixtureBatch:
    """Pad and stack ``examples``, to ``num_speakers`` at least."""
    size = len(examples)
    samples = max(example.audio.shape[0] for example in examples)
    speakers = max(num_speakers, *(example.sources.shape[0] for example in examples))
    audio = torch.empty(size, samples)  # (B, T)
    sources = torch.empty(size, speakers, samples)  # (B, S, T)
    shift = examples[0].frame_shift
    activity = torch.zeros(size, num_frames(samples, shift), speakers)  # (B, F, S)
    for b, example in enumerate(examples):
        count, length = example.sources.shape
        audio[b, :length], audio[b, length:] = torch.from_numpy(example.audio), 0
        sources[b, :count, :length] = torch.from_numpy(example.sources)
        sources[b, :count, length:] = sources[b, count:] = 0
        activity[b, : len(example.activity), :count] = torch.from_numpy(example.activity)
    return MixtureBatch(
        audio=audio,
        audio_lens=torch.tensor([example.audio.shape[0] for example in examples]),
        sources=sources,
        activity=activity,
        texts=[[*e.texts, *[None] * (speakers - len(e.texts))] for e in examples],
        speakers=[[*e.speakers, *[""] * (speakers - len(e.speakers))] for e in examples],
        num_speakers=torch.tensor([len(example.speakers) for example in examples]),
        ids=[example.id for example in examples],
        frame_shift=shift,
    )
