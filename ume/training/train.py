"""Train UME: mixture cuts and a lang folder in, an experiment folder out.

A run that was stopped goes on from its last checkpoint when the same command is given again, and
ends with the weights an undisturbed run ends with. Under torchrun several processes share the
batches of each update.
"""

import math
import shlex
import sys
import time
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch
import yaml
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from ume.activity import SAMPLING_RATE
from ume.compat import CPU_AUTOCAST, make_grad_scaler
from ume.dataset.augment import AugmentConfig
from ume.dataset.batch import MixtureBatch
from ume.dataset.tokenizer import Tokenizer
from ume.environment import environment
from ume.errors import UmeError
from ume.files import existing, write_json, write_text
from ume.losses.joint import JointLoss
from ume.models.files import FOUNDATION, take_parts
from ume.models.ume import UME, Guide, UMEConfig, heads_heard
from ume.nn.encoder import Encoder
from ume.pretrained import initialise, initialise_decoder
from ume.stage import lock_folder
from ume.training.checkpoint import (
    find_checkpoints,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    update_average,
)
from ume.training.data import TrainingData, make_phases, valid_batches
from ume.training.guide import leaky_sources
from ume.training.journal import Journal
from ume.training.processes import Processes, join, random_state, set_random_state
from ume.training.schedule import parameter_groups, rate_at
from ume.training.validation import Tokens, encode_texts, summary, validate


@dataclass
class Config:
    """Options of training."""

    exp: str
    """Experiment folder to write, or to go on with."""
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
    """Parts that start from that model: encoder, rwse, diarization, separation, asr."""
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
    steps: int = 2000
    """Updates of the weights."""
    max_duration: float = 10.0
    """Seconds of mixture in a batch."""
    accumulate: int = 1
    """Batches of one process that make up an update."""
    crop: Optional[float] = None
    """Length (s) of windows of mixtures, for diarization and separation: more voices a second of
    training. Whole mixtures, for all tasks, are then those of at most max_duration."""
    crop_share: float = 0.75
    """Share of the batches that are windows, where crop is given; the others are whole. Windows
    have no words: a run of words alone has none."""
    asr_steps: int = 0
    """Steps at the very start that train the encoder and the recogniser alone, on true sources
    with some of the others left in: from a flat start, mixtures teach it next to nothing for a
    long time."""
    asr_longest: Optional[float] = None
    """Seconds of the longest mixtures used in asr_steps. CTC from a flat start says nothing but
    blank for a while, and with long texts it can stay there; short ones show it the way out."""
    guide_steps: int = 0
    """Steps after asr_steps over which the recogniser hears such sources with a probability that
    falls from one to zero, and the separated voices otherwise."""
    opposite_sex_steps: int = 0
    """Steps after asr_steps that see opposite-sex pairs only: a curriculum for separation."""
    precision: str = "float32"
    """Of the network's arithmetic: float32, bf16, or fp16 (GPUs only). Weights, features, filter
    banks, norms and losses stay in float32."""
    rate: float = 1e-3
    """Peak learning rate of the heads."""
    encoder_rate: float = 1e-4
    """Peak learning rate of the encoder, and of its own decoder (asr.foundation_decoder)."""
    warmup: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 1e-2
    """AdamW's."""
    clip: float = 5.0
    """Largest norm of the gradient."""
    valid_every: int = 200
    """Steps between validations."""
    valid_mixtures: int = 40
    """Mixtures of the dev part to validate on."""
    best_by: str = "loss"
    """Figure of validation that tells which models are best: loss, der, si_sdri, ter, or the loss
    of one task (diarization, separation, asr)."""
    keep_best: int = 1
    """Best models to keep."""
    patience: int = 0
    """Validations in a row without a new best model after which the run ends; 0: never."""
    save_every: int = 100
    """Steps between checkpoints."""
    keep: int = 3
    """Checkpoints to keep."""
    average_every: int = 10
    """Steps between two models that enter the running mean."""
    average: str = "last"
    """Whose mean is handed on: `last`, the models of the last steps, or `best`, the best ones."""
    average_last: float = 0.1
    """Share of the steps, at the end, whose mean model is handed on."""
    log_every: int = 20
    """Steps between lines of the log."""
    seed: int = 0
    """Seed of weights, batches and dropout."""
    num_workers: int = 1
    """Processes that load and mix."""
    num_threads: int = 0
    """Threads of the arithmetic; 0: as many as there are cores."""


WITHOUT_WORDS = ("diarization", "separation")  # tasks that learn from windows, too
MOST_SKIPPED = 20  # updates in a row; a run that never has a finite gradient is broken


def best_name(config: Config, step: int) -> str:
    """The file of a best model, that of ``step``: icefall's name where there is one only."""
    return f"best-valid-{config.best_by}" + f"-{step}" * (config.keep_best > 1) + ".pt"


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

    def teach(self, batch: MixtureBatch) -> Optional[Tensor]:
        """What the teacher hears in each source (B, S, F, D)."""
        if self.teacher is None:
            return None
        speakers = batch.sources.shape[1]
        lens = batch.audio_lens.repeat_interleave(speakers)
        with torch.no_grad():
            heard = self.teacher(batch.sources.flatten(0, 1), lens).layers[-1]
        return heard.unflatten(0, (-1, speakers))


class Trainer:
    """One training run; its state is what a checkpoint holds."""

    def __init__(self, config: Config, processes: Processes) -> None:
        self.config, self.processes = config, processes
        self.folder = Path(config.exp)
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        torch.manual_seed(config.seed)
        self.tokenizer = Tokenizer(config.lang)
        self.model = UME(config.model)
        self.encoder_hash = ""
        if config.encoder_weights:
            self.encoder_hash = initialise(self.model.encoder, config.encoder_weights)
            if config.model.asr.foundation_decoder:
                assert self.model.asr.decoder is not None
                self.model.vocabulary = initialise_decoder(
                    self.model.asr.decoder, config.encoder_weights, self.folder / FOUNDATION
                )
        teacher = None
        if config.model.loss.distillation > 0:
            if not config.encoder_weights:
                raise UmeError("loss.distillation needs --encoder_weights: who is the teacher?")
            teacher = deepcopy(self.model.encoder).to(processes.device)
        if config.initialize_from:
            take_parts(self.model, config.initialize_from, config.initialize_parts)
        self.model.to(processes.device)
        self.module: nn.Module = LossOfBatch(self.model, config.precision, teacher)
        if processes.world > 1:
            # each kind of batch leaves some head out
            self.module = DistributedDataParallel(self.module, find_unused_parameters=True)
            torch.manual_seed(config.seed + processes.rank)
        self.average = {
            name: value.to(torch.float64, copy=True)
            for name, value in self.model.state_dict().items()
        }
        foundation = config.model.asr.foundation_decoder
        pretrained = ("encoder.", "asr.decoder.") if foundation else ("encoder.",)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(
                self.model, config.encoder_rate, config.rate, config.weight_decay, pretrained
            ),
            betas=(0.9, 0.98),
        )
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
        # without effect unless the precision is fp16, whose gradients vanish unless scaled up
        self.scaler = make_grad_scaler(config.precision == "fp16")
        self.step = 0
        self.averaged = 0
        self.skipped = self.skipped_in_a_row = 0
        self.seconds = 0.0
        self.best: List[List[float]] = []  # cost and step of the best models, best first
        self.stale = 0  # validations since the best one

    def state(self) -> Dict[str, Any]:
        """Everything that the rest of the run depends on; all processes must ask together."""
        return {
            "model": self.model.state_dict(),
            "model_avg": self.average,
            "optimizer": self.optimizer.state_dict(),
            "grad_scaler": self.scaler.state_dict(),
            "sampler": self.data.state_dict(),
            "rng": self.processes.gather(random_state()),
            "batch_idx_train": self.step,
            "averaged": self.averaged,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "best": self.best,
            "stale": self.stale,
        }

    def load_state(self, state: Dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        if len(state["rng"]) != self.processes.world:
            raise UmeError(
                f"{self.folder} was trained by {len(state['rng'])} processes and now there are "
                f"{self.processes.world}; go on with as many"
            )
        self.model.load_state_dict(state["model"])
        for name, value in self.average.items():
            value.copy_(state["model_avg"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["grad_scaler"])
        self.data.load_state_dict(state["sampler"])
        set_random_state(state["rng"][self.processes.rank])
        self.step, self.averaged = state["batch_idx_train"], state["averaged"]
        self.skipped, self.seconds = state["skipped"], state["seconds"]
        self.best, self.stale = state["best"], state["stale"]

    def save(self, name: str) -> None:
        """Write a checkpoint."""
        state = self.state()
        if self.processes.first:
            save_checkpoint(self.folder / name, state)

    def keep_best(self, scores: Dict[str, float]) -> None:
        """Save the model if it is among the best, and delete what it takes the place of."""
        name = f"valid/{self.config.best_by}"
        if name not in scores:
            known = ", ".join(key.split("/")[1] for key in scores if key != "valid/one_label")
            raise UmeError(f"--best_by {self.config.best_by}: validation gives {known}")
        cost = -scores[name] if self.config.best_by == "si_sdri" else scores[name]
        rank = sum(before <= cost for before, _ in self.best)
        self.stale = 0 if rank == 0 else self.stale + 1
        if rank >= self.config.keep_best:
            return
        self.best.insert(rank, [cost, self.step])
        dropped = self.best[self.config.keep_best :]
        del self.best[self.config.keep_best :]
        self.save(best_name(self.config, self.step))
        for _, step in dropped if self.processes.first and self.config.keep_best > 1 else []:
            (self.folder / best_name(self.config, round(step))).unlink(missing_ok=True)

    def drop_old(self) -> None:
        """Delete the oldest checkpoints, but not the one that averaging starts from."""
        needed = self.average_from()
        old = [path for step, path in find_checkpoints(self.folder) if step != needed]
        for path in old[: -self.config.keep]:
            path.unlink()

    def average_from(self) -> int:
        """The step after which models enter the final mean."""
        return round(self.config.steps * (1 - self.config.average_last))

    def train(self) -> None:
        """Run the steps that are left."""
        config = self.config
        journal = Journal(self.folder, self.step, config.steps) if self.processes.first else None
        shift = config.model.diarization.frame_shift
        speakers = config.model.num_speakers
        valid = valid_batches(
            config.data, config.valid_mode, config.valid_mixtures, shift, speakers
        )
        begun, before = time.monotonic(), self.seconds
        self.model.train()
        if self.processes.device.type == "cuda" and self.step == 0:
            self.scan_largest()
        for kind, batches in self.data.updates(self.step):
            values = self.update(kind, batches)
            self.step += 1
            self.seconds = before + time.monotonic() - begun
            if self.step % config.log_every == 0:
                values = self.processes.mean(values)
                if journal:
                    journal.add(self.step, values)
            if journal:
                journal.advance(values["train/loss"])
            if self.validates_at(self.step):
                scores = self.validate(valid) if journal else {}
                if journal:
                    journal.add(self.step, {**scores, **self.layer_weights()})
                    journal.say(f"step {self.step}: {summary(scores)}")
                self.keep_best(self.processes.gather(scores)[0])
            ended = bool(config.patience) and self.stale >= config.patience
            if self.saves_now() or ended:
                self.save(f"checkpoint-{self.step}.pt")
                if journal:
                    self.drop_old()
            if ended:
                break
        if journal:
            journal.close()

    def scan_largest(self) -> None:
        """Try the largest batches first: better out of memory now than in the night."""
        before = random_state()
        for kind, batch in self.data.largest():
            try:
                total, _ = self.module(kind, *self.inputs(kind, batch))
                total.backward()
            except RuntimeError as error:
                if "out of memory" not in str(error):
                    raise
                raise UmeError(
                    f"{len(batch.ids)} mixtures of {batch.audio.shape[1] / SAMPLING_RATE:.1f} s do "
                    "not fit into memory; lower --max_duration, or set "
                    "--model.encoder.checkpointing true"
                ) from None
            self.optimizer.zero_grad(set_to_none=True)
        set_random_state(before)

    def validate(self, valid: List[MixtureBatch]) -> Dict[str, float]:
        """Figures of the model as it is now."""
        device = self.processes.device
        return validate(self.model, (batch.to(device) for batch in valid), self.tokenizer)

    def validates_at(self, step: int) -> bool:
        """Whether the model is validated after ``step`` updates."""
        return step % self.config.valid_every == 0 or step == self.config.steps

    def saves_now(self) -> bool:
        """Whether this step ends with a checkpoint."""
        step, config = self.step, self.config
        return step % config.save_every == 0 or step in (config.steps, self.average_from())

    def update(self, kind: str, batches: List[MixtureBatch]) -> Dict[str, float]:
        """One step of the optimiser; what the log says of it.

        A step whose gradient is not finite changes nothing; its batches are saved.
        """
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self.rate()
        self.optimizer.zero_grad(set_to_none=True)
        values: Dict[str, float] = {}
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            with nullcontext() if last or self.processes.world == 1 else self.module.no_sync():  # type: ignore[operator]
                total, loss = self.module(kind, *self.inputs(kind, batch))
                if last and self.validates_at(self.step + 1):
                    values.update(self.gradient_norms(loss))
                self.scaler.scale(total / len(batches)).backward()
            for name, value in self.describe(loss).items():
                values[name] = values.get(name, 0.0) + value / len(batches)
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), config.clip))
        if math.isfinite(norm):
            self.scaler.step(self.optimizer)
            self.skipped_in_a_row = 0
        else:
            self.skip(batches)
        self.scaler.update()
        if (self.step + 1) % config.average_every == 0:
            self.averaged += 1
            if self.processes.first:
                update_average(self.average, self.model.state_dict(), self.averaged)
        return {**values, "train/norm": norm, "train/rate": self.optimizer.param_groups[-1]["lr"]}

    def inputs(
        self, kind: str, batch: MixtureBatch
    ) -> Tuple[MixtureBatch, Tokens, Optional[Guide]]:
        """What the loss is computed from: the batch, its tokens, and the truth as a guide."""
        batch = batch.to(self.processes.device)
        tokens = encode_texts(batch, self.tokenizer)
        if kind == "sources":
            heard = leaky_sources(batch, self.step / self.config.asr_steps)
            return replace(batch, sources=heard), tokens, None
        worded = kind == "whole" or self.config.model.loss.distillation > 0
        if worded and self.guides():
            return batch, tokens, Guide(leaky_sources(batch), batch.activity)
        return batch, tokens, None

    def skip(self, batches: List[MixtureBatch]) -> None:
        """Count an update that was not made, and keep what led to it."""
        self.skipped += 1
        self.skipped_in_a_row += 1
        kept = self.folder / "not_finite"
        kept.mkdir(exist_ok=True)
        for number, batch in enumerate(batches):
            name = f"step-{self.step + 1}-process-{self.processes.rank}-batch-{number}.pt"
            save_checkpoint(kept / name, vars(batch))
        where = f"step {self.step + 1}: the gradient is not finite"
        if self.skipped_in_a_row == MOST_SKIPPED:
            raise UmeError(
                f"{where}, for the {MOST_SKIPPED}th time in a row; lower --rate and "
                f"--encoder_rate, or look into the batches in {kept}"
            )
        tqdm.write(f"{where}; skipped, its batches are in {kept}", file=sys.stderr)

    def gradient_norms(self, loss: JointLoss) -> Dict[str, float]:
        """Norm of each task's own gradient, before weighting, on the shared encoder."""
        shared = [p for p in self.model.encoder.parameters() if p.requires_grad]
        norms: Dict[str, float] = {}
        for task, value in loss.tasks.items() if shared else ():
            if not value.requires_grad:  # words that a batch of windows has none of
                continue
            gradients = torch.autograd.grad(value, shared, retain_graph=True, allow_unused=True)
            parts = [gradient.norm() for gradient in gradients if gradient is not None]
            if parts:  # else the task does not hear the encoder
                norms[f"train/encoder_norm/{task}"] = float(torch.stack(parts).norm())
        return norms

    def guides(self) -> bool:
        """Draw whether this step's recogniser is shown the true sources."""
        done = self.step - self.config.asr_steps
        return bool(torch.rand(()) * self.config.guide_steps > done)

    def rate(self) -> float:
        """Share of the peak rate: sources first, then mixtures, each with warm-up and decay."""
        asr_steps = min(self.config.asr_steps, self.config.steps)
        if self.step < asr_steps:
            return rate_at(self.step, asr_steps, self.config.warmup)
        return rate_at(self.step - asr_steps, self.config.steps - asr_steps, self.config.warmup)

    def describe(self, loss: JointLoss) -> Dict[str, float]:
        """The loss, and each task's share of it before and after weighting."""
        values = {"train/loss": float(loss.total.detach())}
        for task, value in loss.tasks.items():
            values[f"train/{task}"] = float(value.detach())
            values[f"train/weighted/{task}"] = loss.weights[task] * values[f"train/{task}"]
        return values

    def layer_weights(self) -> Dict[str, float]:
        """Every task's layer weights as scalars for the log."""
        return {
            f"rwse/{task}/{layer}": weight
            for task, weights in self.model.layer_weights().items()
            for layer, weight in enumerate(weights, start=1)
        }


def record_run(config: Config, folder: Path) -> None:
    """``config.yaml``, ``command.sh`` and ``env.json``: how to make this again."""
    write_text(folder / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False))
    command = "ume " + " ".join(shlex.quote(word) for word in sys.argv[1:])
    write_text(folder / "command.sh", f"#!/usr/bin/env bash\n{command}\n")
    write_json(folder / "env.json", environment())


def check(config: Config) -> None:
    """One line for options that cannot be."""
    if config.average not in ("last", "best"):
        raise UmeError(f"--average {config.average}: give last or best")
    if config.patience and config.average == "last":
        raise UmeError("with --patience a run has no known end; give --average best as well")
    if config.model.loss.asr > 0 and config.asr_steps < config.steps:
        check_heads_heard(config)
    if config.model.asr.foundation_decoder and not config.encoder_weights:
        raise UmeError("asr.foundation_decoder needs --encoder_weights: its own are there, too")
    if config.precision not in ("float32", "bf16", "fp16"):
        raise UmeError(f"--precision {config.precision}: give float32, bf16 or fp16")
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise UmeError("--precision fp16 needs a GPU; give bf16 or float32")
    if config.precision == "bf16" and not (CPU_AUTOCAST or torch.cuda.is_available()):
        raise UmeError("--precision bf16 on a CPU needs torch 2 (utils/setup.sh --stack torch2)")
    if min(config.keep_best, config.accumulate) < 1:
        raise UmeError("--keep_best and --accumulate must be at least 1")


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


def check_same_run(config: Config, folder: Path) -> None:
    """Refuse to go on with a run that was begun with another configuration."""
    path = folder / "config.yaml"
    if not (path.exists() and latest_checkpoint(folder)):
        return
    before, now = yaml.safe_load(path.read_text()), asdict(config)
    changed = [name for name in now if now[name] != before.get(name) and name != "num_workers"]
    if changed:
        raise UmeError(
            f"{folder} holds a run with other values of {', '.join(changed)}; "
            "give another --exp, or --force true to start again"
        )


def main(config: Config) -> None:
    """Train, or go on with, ``config.exp``."""
    folder = Path(config.exp)
    check(config)
    existing(config.data, "steps/simulate.sh")
    config.model.vocab_size = Tokenizer(existing(config.lang, "steps/prepare_lang.sh")).vocab_size
    folder.mkdir(parents=True, exist_ok=True)
    processes = join()
    try:
        with lock_folder(folder) if processes.first else nullcontext():
            run(config, folder, processes)
    finally:
        processes.close()


def run(config: Config, folder: Path, processes: Processes) -> None:
    """Train in a folder that nobody else writes to."""
    if processes.first:
        check_same_run(config, folder)
        record_run(config, folder)
    trainer = Trainer(config, processes)
    processes.wait()
    checkpoint = latest_checkpoint(folder)
    if checkpoint:
        trainer.load_state(load_checkpoint(checkpoint))
        if processes.first:
            print(f"going on from {checkpoint}", file=sys.stderr)
    trainer.train()
    if not processes.first:
        return
    write_json(
        folder / "train.json",
        {
            "steps": trainer.step,
            "seconds": trainer.seconds,
            "processes": processes.world,
            "skipped_steps": trainer.skipped,
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            "encoder_parameters": sum(p.numel() for p in trainer.model.encoder.parameters()),
            "encoder_weights_sha256": trainer.encoder_hash,
            f"best_valid_{config.best_by}": trainer.best[0][0] if trainer.best else None,
        },
    )
    write_json(folder / "layer_weights.json", trainer.model.layer_weights())
