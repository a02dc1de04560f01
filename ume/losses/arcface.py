"""ArcFace: classes of speakers on a sphere, with a margin in the angle (Deng et al. 2019)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

SCALE = 32.0
DECAY = 0.98


class ArcFace(nn.Module):
    """Centres of the training speakers, and the loss of embeddings.

    Args:
        num_speakers: classes.
        width: of the embeddings.
    """

    def __init__(self, num_speakers: int, width: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.empty(num_speakers, width))
        nn.init.xavier_normal_(self.centres)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """(N, width) -> cosine (N, speakers) with every centre."""
        return normalize(embeddings, dim=1) @ normalize(self.centres, dim=1).T

    def forward(self, embeddings: Tensor, speakers: Tensor, margin: float) -> Tensor:
        """Mean cross-entropy of ``embeddings`` (N, width) of ``speakers`` (N,).

        The angle to the right centre counts as ``margin`` (radians) wider than it is; where that
        would be above pi, the cosine goes on falling in a line.
        """
        cosines = self.cosines(embeddings)
        right = cosines.gather(1, speakers[:, None])
        sine = (1 - right.square()).clamp(min=1e-7).sqrt()
        wider = right * math.cos(margin) - sine * math.sin(margin)
        beyond = right < math.cos(math.pi - margin)
        wider = torch.where(beyond, right - margin * math.sin(margin), wider)
        return cross_entropy(SCALE * cosines.scatter(1, speakers[:, None], wider), speakers)


class CentredArcFace(ArcFace):
    """ArcFace of vectors that have much in common: each is seen from their running mean.

    The mean is a buffer: where several processes train, DistributedDataParallel hands out that of
    the first.
    """

    mean: Tensor
    updates: Tensor

    def __init__(self, num_speakers: int, width: int) -> None:
        super().__init__(num_speakers, width)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("updates", torch.zeros(()))

    def forward(self, embeddings: Tensor, speakers: Tensor, margin: float) -> Tensor:
        """See :class:`ArcFace`."""
        if self.training:
            self.learn(embeddings.detach().mean(dim=0))
        return super().forward(embeddings - self.mean, speakers, margin)

    @torch.no_grad()
    def learn(self, mean: Tensor) -> None:
        """Move towards the ``mean`` (width,) of a batch; at first it is that of all so far."""
        if mean.isfinite().all():  # else the step is skipped
            self.updates += 1
            self.mean.lerp_(mean, max(1.0 / float(self.updates), 1 - DECAY))


def margin_at(progress: float, final: float = 0.2) -> float:
    """The margin over training: nothing for a tenth, then rising to ``final`` at the half.

    >>> [margin_at(progress) for progress in (0.0, 0.1, 0.5, 0.99)]
    [0.0, 0.0, 0.2, 0.2]
    """
    return final * min(1.0, max(0.0, (progress - 0.1) / 0.4))
