"""Train UME: mixture cuts and a lang folder in, an experiment folder out.

A run that was stopped goes on from its last checkpoint when the same command is given again, and
ends with the weights an undisturbed run ends with. Under torchrun several processes share the
batches of each update.
"""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn

from ume.dataset.augment import AugmentConfig
from ume.dataset.batch import MixtureBatch
from ume.dataset.tokenizer import Tokenizer, check_same_tokens
from ume.errors import UmeError
from ume.files import existing, write_json
from ume.losses.joint import JointLoss
from ume.models.files import FOUNDATION, take_parts
from ume.models.ume import UME, Guide, UMEConfig, heads_heard
from ume.nn.encoder import Encoder
from ume.pretrained import initialise, initialise_decoder
from ume.training.data import TrainingData, make_phases, valid_batches
from ume.training.guide import leaky_sources
from ume.training.processes import Processes
from ume.training.schedule import parameter_groups, rate_at
from ume.training.trainer import RunConfig, Task, train
from ume.training.validation import Tokens, encode_texts, summary, validate


@dataclass
class Config(RunConfig):
    """Options of training."""

    data: str
    """Mixture folder (made by `ume simulate`)."""
    lang: str
    """Lang folder (made by `ume prepare-lang`)."""
    model: UMEConfig = field(default_factory=UMEConfig)
    """The network and its loss."""
    encoder_weights: Optional[str] = None
    """Pretrained weights of the encoder: a file, a folder, or `auto`; none: from scratch."""
    initialize_from: Optional[str] = None
    """Experiment folder whose averaged model is the start of the parts named below."""
    initialize_parts: List[str] = field(default_factory=lambda: ["encoder", "rwse", "asr"])
    """Parts that start from that model: encoder, rwse, diarization, separation, asr; with asr
    comes what tells its speakers apart (sidecar, conditioner), where both models have it."""
    train_parts: List[str] = field(default_factory=lambda: ["train"])
    """Parts of the mixture folder to train on, together."""
    train_modes: List[str] = field(default_factory=lambda: ["max", "part"])
    """Mixture modes to train on, together."""
    remix: bool = False
    """New mixtures every epoch: the sources of the training mixtures, each at its level, are dealt
    into new groups; the folder must have the mode max."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Speed, rooms and noise of training mixtures."""
    valid_mode: str = "max"
    """Mixture mode to validate on."""
    crop: Optional[float] = None
    """Length (s) of windows of mixtures, for diarization and separation: more voices a second of
    training. Whole mixtures, for all tasks, are then those that at the lowest of augment.speeds
    are at most max_duration long."""
    crop_share: float = 0.75
    """Share of the batches that are windows, where crop is given; the others are whole. Windows
    have no words: a run of words alone has none."""
    asr_steps: int = 0
    """Steps at the very start that train the encoder and the recogniser alone, on true sources
    with some of the others left in: from a flat start, mixtures teach it next to nothing for a
    long time."""
    asr_longest: Optional[float] = None
    """Seconds, before any change of speed, of the longest mixtures used in asr_steps. CTC from a
    flat start says nothing but blank for a while, and with long texts it can stay there; short
    ones show it the way out."""
    guide_steps: int = 0
    """Steps after asr_steps over which the recogniser hears such sources with a probability that
    falls from one to zero, and the separated voices otherwise."""
    opposite_sex_steps: int = 0
    """Steps after asr_steps that see opposite-sex pairs only: a curriculum for separation."""
    valid_mixtures: int = 40
    """Mixtures of the dev part to validate on."""


WITHOUT_WORDS = ("diarization", "separation")  # tasks that learn from windows, too


class LossOfBatch(nn.Module):
    """The model and its loss in one forward: what DistributedDataParallel wraps.

    ``teacher``, for the loss ``distillation``, is the encoder as it was before training.
    """

    def __init__(self, model: UME, precision: str, teacher: Optional[Encoder] = None) -> None:
        super().__init__()
        self.model = model
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        self.lower = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]

    def forward(
        self, kind: str, batch: MixtureBatch, tokens: Tokens, guide: Optional[Guide]
    ) -> Tuple[Tensor, JointLoss]:
        """The total, first, for DistributedDataParallel to find, and all of the loss."""
        dtype = self.lower or torch.bfloat16
        with torch.autocast(batch.audio.device.type, dtype, enabled=self.lower is not None):
            if kind == "sources":
                loss = self.model.source_loss(batch, tokens)
            else:
                words = kind == "whole" or self.teacher is not None
                output = self.model(batch.audio, batch.audio_lens, guide, words)
                loss = self.model.loss(output, batch, tokens, self.teach(batch))
        return loss.total, loss

    def train(self, mode: bool = True) -> "LossOfBatch":
        """As ever, but the teacher has no dropout and hides nothing."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def teach(self, batch: MixtureBatch) -> Optional[Tensor]:
        """What the teacher hears in each source (B, S, F, D)."""
        if self.teacher is None:
            return None
        speakers = batch.sources.shape[1]
        lens = batch.audio_lens.repeat_interleave(speakers)
        with torch.no_grad():
            heard = self.teacher(batch.sources.flatten(0, 1), lens).layers[-1]
        return heard.unflatten(0, (-1, speakers))


class UMETask(Task[Config]):
    """All heads of UME, on mixtures."""

    memory_hint = "lower --max_duration, or set --model.encoder.checkpointing true"

    def __init__(self, config: Config, processes: Processes) -> None:
        super().__init__(config)
        self.tokenizer = Tokenizer(config.lang)
        self.model: UME = UME(config.model)
        self.encoder_hash = ""
        if config.encoder_weights:
            self.encoder_hash = initialise(self.model.encoder, config.encoder_weights)
            if config.model.asr.foundation_decoder:
                assert self.model.asr.decoder is not None
                self.model.vocabulary = initialise_decoder(
                    self.model.asr.decoder, config.encoder_weights, Path(config.exp) / FOUNDATION
                )
        teacher = None
        if config.model.loss.distillation > 0:
            if not config.encoder_weights:
                raise UmeError("loss.distillation needs --encoder_weights: who is the teacher?")
            teacher = deepcopy(self.model.encoder)
        if config.initialize_from:
            if "asr" in config.initialize_parts:
                check_same_tokens(config.lang, config.initialize_from)
            take_parts(self.model, config.initialize_from, config.initialize_parts)
        self.module = LossOfBatch(self.model, config.precision, teacher)
        self.aids = nn.Module()  # the teacher is what the weights are read from
        self.device = processes.device
        self.data = TrainingData(
            config.data,
            config.train_parts,
            config.train_modes,
            config.max_duration,
            config.asr_longest,
            config.crop,
            config.crop_share if any(map(self.model.runs, WITHOUT_WORDS)) else 0.0,
            make_phases(config.steps, config.asr_steps, config.opposite_sex_steps),
            config.seed,
            config.num_workers,
            config.remix,
            config.augment,
            config.accumulate,
            processes.rank,
            processes.world,
            config.model.diarization.frame_shift,
            config.model.num_speakers,
        )

    def groups(self) -> List[Dict[str, Any]]:
        """See :class:`Task`."""
        config = self.config
        foundation = config.model.asr.foundation_decoder
        pretrained = ("encoder.", "asr.decoder.") if foundation else ("encoder.",)
        return parameter_groups(
            self.model, config.encoder_rate, config.rate, config.weight_decay, pretrained
        )

    def inputs(
        self, kind: str, batch: MixtureBatch, step: int
    ) -> Tuple[MixtureBatch, Tokens, Optional[Guide]]:
        """See :class:`Task`: the batch, its tokens, and the truth as a guide."""
        tokens = encode_texts(batch, self.tokenizer)
        if kind == "sources":
            heard = leaky_sources(batch, step / self.config.asr_steps)
            return replace(batch, sources=heard), tokens, None
        worded = kind == "whole" or self.config.model.loss.distillation > 0
        if worded and self.guides(step):
            return batch, tokens, Guide(leaky_sources(batch), batch.activity)
        return batch, tokens, None

    def guides(self, step: int) -> bool:
        """Draw whether the recogniser of ``step`` is shown the true sources."""
        done = step - self.config.asr_steps
        return bool(torch.rand(()) * self.config.guide_steps > done)

    @cached_property
    def valid(self) -> List[MixtureBatch]:
        """The mixtures to validate on."""
        config = self.config
        return valid_batches(
            config.data,
            config.valid_mode,
            config.valid_mixtures,
            config.model.diarization.frame_shift,
            config.model.num_speakers,
        )

    def validate(self) -> Dict[str, float]:
        """See :class:`Task`."""
        batches = (batch.to(self.device) for batch in self.valid)
        return validate(self.model, batches, self.tokenizer)

    def summary(self, scores: Dict[str, float]) -> str:
        """See :class:`Task`."""
        return summary(scores)

    def rate(self, step: int) -> float:
        """See :class:`Task`: sources first, then mixtures, each with warm-up and decay."""
        config = self.config
        asr_steps = min(config.asr_steps, config.steps)
        if step < asr_steps:
            return rate_at(step, asr_steps, config.warmup, config.schedule)
        left = config.steps - asr_steps
        return rate_at(step - asr_steps, left, config.warmup, config.schedule)

    def logged(self) -> Dict[str, float]:
        """See :class:`Task`: every task's layer weights."""
        return {
            f"rwse/{task}/{layer}": weight
            for task, weights in self.model.layer_weights().items()
            for layer, weight in enumerate(weights, start=1)
        }

    def record(self) -> Dict[str, Any]:
        """See :class:`Task`."""
        return {
            "encoder_parameters": sum(p.numel() for p in self.model.encoder.parameters()),
            "encoder_weights_sha256": self.encoder_hash,
        }

    def finish(self, folder: Path) -> None:
        """See :class:`Task`."""
        write_json(folder / "layer_weights.json", self.model.layer_weights())


def check(config: Config) -> None:
    """One line for options that cannot be."""
    loss, taken = config.model.loss, config.initialize_parts if config.initialize_from else []
    if loss.asr > 0 and config.asr_steps < config.steps:
        check_heads_heard(config)
    if config.asr_steps > 0 and loss.asr == 0:
        raise UmeError("asr_steps train a recogniser, and loss.asr is 0; give one of them up")
    unread = config.asr_steps == 0 and config.crop is not None and config.crop_share >= 1
    if unread and loss.asr > 0 and loss.distillation == 0 and "asr" not in taken:
        raise UmeError(
            "crop_share 1 and asr_steps 0: no text is ever read, and the recogniser would stay as "
            "it is; give --model.loss.asr 0, or crop_share below 1"
        )
    if config.model.asr.foundation_decoder and not config.encoder_weights:
        raise UmeError("asr.foundation_decoder needs --encoder_weights: its own are there, too")


def check_heads_heard(config: Config) -> None:
    """One line for a recogniser that would go by a head that has learned nothing."""
    taken = config.initialize_parts if config.initialize_from else []
    for task in sorted(heads_heard(config.model.asr)):
        if getattr(config.model.loss, task) == 0 and task not in taken:
            raise UmeError(
                f"the recogniser would go by a head of {task} that nothing trains: give "
                f"--model.loss.{task} a weight, take the part {task} from another model, set "
                "--model.asr.differentiate_by encoders, or --asr_steps as large as --steps"
            )


def main(config: Config) -> None:
    """Train, or go on with, ``config.exp``."""
    check(config)
    existing(config.data, "the stage of mixtures")
    config.model.vocab_size = Tokenizer(existing(config.lang, "steps/prepare_lang.sh")).vocab_size
    train(config, partial(UMETask, config))
