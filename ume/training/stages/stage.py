"""What the stages of Echo's training have in common."""

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Dict, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from ume.dataset.batch import MixtureBatch
from ume.errors import UmeError
from ume.losses.costs import distillation_cost
from ume.losses.joint import JointLoss, TaskCost
from ume.metrics.results import Ratio
from ume.models.echo import Echo
from ume.training.validation import Tokens

WEIGHTS = {"redundancy": 0.05, "count": 5.0}  # redundancy 0.5: nothing is predicted any more


@dataclass
class StageConfig:
    """What the stages minimise."""

    weights: Dict[str, float] = field(default_factory=dict)
    """Weights of the losses by name, 1 where none is given (redundancy: 0.05, count: 5). Every
    loss but arcface, mean, count (all in nats) and commitment is divided by what knowing nothing
    costs. jepa: prediction, redundancy; content: ctc; factors: continuous, product, residual (CTC
    of each reader), speaker, back (the latents, made of both subspaces), commitment; speakers:
    arcface, mean (ArcFace of the latents' own mean), count (how many speak in a frame); slots:
    latent, null, existence, activity, separation. Of all but jepa: anchor, the distance of the
    encoder's latents to those it had before the stage."""
    targets: str = "batch"
    """jepa: over what the teacher's states are normalised, `batch` or `clip`; the latter takes out
    what stays the same in a clip, its speaker above all"""
    predictor_width: int = 256
    """jepa: width of the predictor's layers"""
    predictor_layers: int = 6
    """jepa: layers of the predictor"""
    momentum: float = 0.996
    """jepa: the teacher's at the start; at the end it is 1"""
    margin: float = 0.2
    """speakers: ArcFace's margin (radians), after a rise"""
    large_margin: float = 0.5
    """speakers: its margin in large-margin fine-tuning"""


class Given(NamedTuple):
    """What a stage learns from.

    batch: clips; tokens: of their texts, [B][S]; speakers: (B, S), the numbers of their speakers
    among those trained on, -1 where there is none; progress: share of the steps that are done.
    """

    batch: MixtureBatch
    tokens: Tokens
    speakers: Tensor
    progress: float


class Stage(nn.Module, ABC):
    """Echo in one stage: forward gives the loss, :meth:`figures` what it is watched by.

    Args:
        echo: the model.
        config: options.
        num_speakers: speakers that are trained on.
        precision: of the network's arithmetic.

    Attributes:
        trains: parts of Echo that learn, beside the encoder.
        names: of its losses, beside the anchor.
        aids: what else learns, for this stage only.
        anchored: whether the encoder's latents have an anchor.
    """

    trains: Tuple[str, ...] = ()
    names: Tuple[str, ...]
    anchored = True

    def __init__(
        self, echo: Echo, config: StageConfig, num_speakers: int, precision: torch.dtype
    ) -> None:
        super().__init__()
        self.echo, self.config, self.precision = echo, config, precision
        known = [*self.names, *["anchor"] * self.anchored]
        unknown = sorted(set(config.weights) - set(known))
        if unknown:
            raise UmeError(
                f"learn.weights: this stage has no loss {unknown[0]}; it has {', '.join(known)}"
            )
        self.aids = nn.ModuleDict()
        self.anchor: Optional[nn.Module] = None
        learns = any(parameter.requires_grad for parameter in echo.encoder.parameters())
        if self.anchored and learns and self.weight("anchor") > 0:
            self.anchor = frozen(echo.encoder)

    def weight(self, loss: str) -> float:
        """Of a loss."""
        return self.config.weights.get(loss, WEIGHTS.get(loss, 1.0))

    @abstractmethod
    def losses(self, kind: str, given: Given) -> Dict[str, Tensor]:
        """The losses by name, before weighting."""

    @abstractmethod
    def figures(self, given: Given) -> Dict[str, Ratio]:
        """What validation says of a batch, beside the losses."""

    def updated(self, progress: float) -> None:
        """Called after each update; ``progress`` is the share of them that are done."""

    def forward(self, kind: str, given: Given) -> Tuple[Tensor, JointLoss]:
        """The total, first, for DistributedDataParallel to find, and all of the loss."""
        device = given.batch.audio.device.type
        lower = self.precision != torch.float32
        with torch.autocast(device, self.precision if lower else torch.bfloat16, enabled=lower):
            losses = self.losses(kind, given)
        weights = {name: self.weight(name) for name in losses}
        total = torch.stack([weights[name] * loss.float() for name, loss in losses.items()]).sum()
        return total, JointLoss(total, losses, weights, {})

    def train(self, mode: bool = True) -> "Stage":
        """As ever, but what is frozen has no dropout and hides nothing."""
        super().train(mode)
        for module in (*self.children(), *self.echo.children(), *self.aids.children()):
            if not any(parameter.requires_grad for parameter in module.parameters()):
                module.eval()
        return self

    def kept(self, latents: Tensor, given: Given, mask: Tensor) -> Dict[str, Tensor]:
        """The loss ``anchor`` of ``latents`` (B, F, D), if this stage has one."""
        if self.anchor is None:
            return {}
        with torch.no_grad():
            before = self.anchor(given.batch.audio, given.batch.audio_lens).layers[-1]
        return {"anchor": distance(latents[:, None], before[:, None], mask)}


def frozen(module: nn.Module) -> nn.Module:
    """A copy that does not learn."""
    return deepcopy(module).eval().requires_grad_(False)


def distance(latents: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean squared distance of ``latents`` (B, S, F, D) to ``targets``, over a clip's variance."""
    exists = torch.ones(targets.shape[:2], dtype=torch.bool, device=targets.device)
    cost = TaskCost(*distillation_cost(latents.to(targets.dtype), targets, mask, exists))
    own = torch.arange(targets.shape[1], device=targets.device).expand(targets.shape[:2])
    return cost.under(own)
