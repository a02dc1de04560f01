"""Stage speakers: embeddings that tell speakers apart, by ArcFace."""

from typing import Dict, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from ume.activity import FRAME_SHIFT
from ume.losses.arcface import ArcFace, CentredArcFace, margin_at
from ume.metrics.results import Average, Ratio
from ume.models.echo import Echo
from ume.nn.encoder import full_precision
from ume.nn.linear import Linear
from ume.training.stages.stage import Given, Stage, StageConfig

LARGE_MARGIN = "margin"  # the kind of batches of fine-tuning
SHORTEST = round(0.5 / FRAME_SHIFT)  # frames of a voice alone that say who it is


class SpeakersStage(Stage):
    """ArcFace on the training speakers, each embedded by the frames in which nobody else speaks.

    Of the embeddings, and of the mean of the latents themselves in the same frames: a head learns
    to find voices in an encoder that knows nothing of them, and the latents are to tell them apart
    as they are. In conversations the encoder learns to keep a voice to its own frames: from clips
    of one speaker it learns to spread it over all. A linear layer on the latents says how many
    speak in each frame, which the slots are to hear. Watched: for the first half of each dev clip,
    whether the second half nearest to it, of all in the batch, is of the same speaker (%); each is
    heard by itself.
    """

    trains = ("speaker",)
    names = ("arcface", "mean", "count")

    def __init__(
        self, echo: Echo, config: StageConfig, num_speakers: int, precision: torch.dtype
    ) -> None:
        super().__init__(echo, config, num_speakers, precision)
        self.aids["arcface"] = ArcFace(num_speakers, echo.config.embedding)
        self.aids["mean"] = CentredArcFace(num_speakers, echo.encoder.width)
        self.most = echo.config.slots.num_slots
        self.aids["count"] = Linear(echo.encoder.width, 1 + self.most)

    def losses(self, kind: str, given: Given) -> Dict[str, Tensor]:
        """See :class:`Stage`."""
        latents, mask = self.echo.latents(given.batch.audio, given.batch.audio_lens)
        if kind == LARGE_MARGIN:
            margin = self.config.large_margin
        else:
            margin = margin_at(given.progress, self.config.margin)
        clips, speakers, alone = voices_alone(given.batch.activity, mask, given.speakers >= 0)
        voices = {
            "arcface": self.echo.embed(latents[clips], alone).float(),
            "mean": mean_of_frames(latents[clips].float(), alone),
        }
        if len(clips) == 0:  # windows in which nobody is alone for long enough
            losses = {name: vectors.sum() * 0.0 for name, vectors in voices.items()}
        else:
            who = given.speakers[clips, speakers]
            with full_precision(given.batch.audio):
                losses = {name: self.aids[name](each, who, margin) for name, each in voices.items()}
        together = (given.batch.activity > 0).sum(dim=2).clamp(max=self.most)  # (B, F)
        losses["count"] = cross_entropy(self.aids["count"](latents).float()[mask], together[mask])
        return {**losses, **self.kept(latents, given, mask)}

    def figures(self, given: Given) -> Dict[str, Ratio]:
        """See :class:`Stage`."""
        single = ((given.speakers >= 0).sum(dim=1) == 1).tolist()  # B
        names = [own[0] for own, one in zip(given.batch.speakers, single) if one]
        if not names:
            return {"accuracy": Average(0.0, 0)}
        lens = given.batch.audio_lens.tolist()
        clips = [clip[:n] for clip, n, one in zip(given.batch.audio, lens, single) if one]
        early = self.embedded([clip[: len(clip) // 2] for clip in clips])
        late = self.embedded([clip[len(clip) // 2 :] for clip in clips])
        nearest = (early @ late.T).argmax(dim=1).tolist()
        right = sum(name == names[found] for name, found in zip(names, nearest))
        return {"accuracy": Average(100.0 * right, len(names))}

    def embedded(self, clips: Sequence[Tensor]) -> Tensor:
        """Embeddings (N, E) of ``clips``, each (T,)."""
        lens = torch.tensor([len(clip) for clip in clips], device=clips[0].device)
        latents, mask = self.echo.latents(pad_sequence([*clips], batch_first=True), lens)
        return self.echo.embed(latents, mask)


def mean_of_frames(latents: Tensor, frames: Tensor) -> Tensor:
    """Mean (N, D) of ``latents`` (N, F, D) over ``frames`` (N, F), which are some."""
    weight = frames[..., None].to(latents)  # (N, F, 1)
    return (latents * weight).sum(dim=1) / weight.sum(dim=1)


def voices_alone(activity: Tensor, mask: Tensor, known: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    """The voices of a batch that can be embedded, and by which frames.

    Args:
        activity: (B, F, S).
        mask: (B, F), true where the frame exists.
        known: (B, S), whether there is such a speaker.

    Returns:
        clips (N,), speakers (N,), and frames (N, F): all of a clip of one speaker; of the others
        those in which the speaker speaks alone, if that is for half a second and more.
    """
    single = known.sum(dim=1) == 1  # (B,)
    alone = (activity > 0) & (activity.sum(dim=2, keepdim=True) == 1)  # (B, F, S)
    alone = torch.where(single[:, None, None], mask[..., None], alone).transpose(1, 2)
    enough = single[:, None] | (alone.sum(dim=2) >= SHORTEST)  # (B, S)
    clips, speakers = (enough & known).nonzero(as_tuple=True)
    return clips, speakers, alone[clips, speakers]
