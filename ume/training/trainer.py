"""The loop of every training run: updates, checkpoints, running means, best models, the log.

What is trained is a :class:`Task`. A run that was stopped goes on from its last checkpoint and ends
with the weights an undisturbed run ends with. Under torchrun several processes share the batches
of each update.
"""

import math
import shlex
import sys
import time
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Generic, Iterator, List, Optional, Protocol, Tuple, TypeVar

import torch
import yaml
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from ume.activity import SAMPLING_RATE
from ume.compat import CPU_AUTOCAST, make_grad_scaler
from ume.dataset.batch import MixtureBatch
from ume.environment import environment
from ume.errors import UmeError
from ume.files import write_json, write_text
from ume.losses.joint import JointLoss
from ume.stage import lock_folder
from ume.training.average import hand_on
from ume.training.checkpoint import (
    best_name,
    find_checkpoints,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    update_average,
)
from ume.training.journal import Journal
from ume.training.processes import Processes, join, random_state, set_random_state
from ume.training.schedule import SCHEDULES, rate_at

COUNTS = ("steps", "keep", "keep_best", "accumulate", "valid_every", "save_every", "average_every",
          "log_every")  # fmt: skip


@dataclass
class RunConfig:
    """Options of every training run."""

    exp: str
    """Experiment folder to write, or to go on with."""
    _: KW_ONLY
    steps: int = 2000
    """Updates of the weights."""
    max_duration: float = 10.0
    """Seconds of mixture in a batch."""
    accumulate: int = 1
    """Batches of one process that make up an update."""
    precision: str = "float32"
    """Of the network's arithmetic: float32, bf16, or fp16 (GPUs only). Weights, features, filter
    banks, norms and losses stay in float32."""
    rate: float = 1e-3
    """Peak learning rate of the heads."""
    encoder_rate: float = 1e-4
    """Peak learning rate of the encoder, and of its own decoder (asr.foundation_decoder); 0: both
    stay as they are."""
    warmup: int = 100
    """Steps of linear warm-up."""
    schedule: str = "cosine"
    """What the rates do then: `cosine`, down to 1 % at the last step, or `inverse-sqrt`, for runs
    whose end is not known (patience)."""
    weight_decay: float = 1e-2
    """AdamW's."""
    clip: float = 5.0
    """Largest norm of the gradient."""
    valid_every: int = 200
    """Steps between validations."""
    best_by: str = "loss"
    """Figure of validation that tells which models are best: loss, the loss of one task, or another
    figure that validation gives (der, si_sdri, ter, ...)."""
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


C = TypeVar("C", bound=RunConfig)

MOST_SKIPPED = 20  # updates in a row; a run that never has a finite gradient is broken
HIGHER_IS_BETTER = (  # of the figures of validation
    "accuracy",
    "deviation",
    "perplexity_product",
    "perplexity_residual",
    "perplexity_speaker",
    "rank",
    "si_sdri",
)


class Stream(Protocol):
    """Training batches that can be resumed."""

    def updates(self, step: int) -> Iterator[Tuple[str, List[MixtureBatch]]]:
        """What each update from ``step`` on learns from, with the kind of its batches."""

    def largest(self) -> Iterator[Tuple[str, MixtureBatch]]:
        """The largest batches of each kind."""

    def state_dict(self) -> Dict[str, Any]:
        """Where the stream stands."""

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""


class Task(ABC, Generic[C]):
    """What a run trains.

    Attributes:
        model: weights to save, average and hand on; has an ``encoder``.
        module: forward(kind, *inputs) -> (total, :class:`JointLoss`), ``model`` inside; what
            DistributedDataParallel wraps.
        aids: what ``module`` learns by and nobody needs afterwards; saved in checkpoints.
        data: training batches.
        betas: AdamW's.
        memory_hint: what to do when a batch does not fit into memory.
    """

    model: nn.Module
    module: nn.Module
    aids: nn.Module
    data: Stream
    betas = (0.9, 0.98)
    memory_hint = "lower --max_duration"

    def __init__(self, config: C) -> None:
        self.config = config

    @abstractmethod
    def groups(self) -> List[Dict[str, Any]]:
        """The optimiser's parameter groups, with their ``peak`` rates."""

    @abstractmethod
    def inputs(self, kind: str, batch: MixtureBatch, step: int) -> Tuple[Any, ...]:
        """What ``module`` is given in ``step``, beside the kind; ``batch`` is on the device."""

    @abstractmethod
    def validate(self) -> Dict[str, float]:
        """Figures ``valid/...`` of the model as it is now."""

    @abstractmethod
    def summary(self, scores: Dict[str, float]) -> str:
        """One line of validation figures."""

    def rate(self, step: int) -> float:
        """Share of the peak rates in ``step``."""
        return rate_at(step, self.config.steps, self.config.warmup, self.config.schedule)

    def updated(self, step: int) -> None:  # noqa: B027, most tasks have nothing to do
        """Called after each update; ``step`` are those done."""

    def logged(self) -> Dict[str, float]:
        """Further scalars for the log, at validation."""
        return {}

    def record(self) -> Dict[str, Any]:
        """Further facts for ``train.json``."""
        return {}

    def finish(self, folder: Path) -> None:  # noqa: B027, most tasks have nothing to do
        """Write what else belongs into the experiment folder."""


def cost_sign(config: RunConfig) -> float:
    """What makes a figure of ``best_by`` one whose lowest value is the best."""
    return -1.0 if config.best_by in HIGHER_IS_BETTER else 1.0


class Trainer:
    """One training run; its state is what a checkpoint holds."""

    def __init__(
        self,
        config: RunConfig,
        processes: Processes,
        make_task: Callable[[Processes], Task[Any]],
    ) -> None:
        self.config, self.processes = config, processes
        self.folder = Path(config.exp)
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        torch.manual_seed(config.seed)
        self.task = make_task(processes)
        self.model, self.module = self.task.model, self.task.module.to(processes.device)
        if processes.world > 1:
            # each kind of batch leaves some head out
            self.module = DistributedDataParallel(self.module, find_unused_parameters=True)
            torch.manual_seed(config.seed + processes.rank)
        self.average = {
            name: value.to(torch.float64 if value.is_floating_point() else value.dtype, copy=True)
            for name, value in self.model.state_dict().items()
        }
        self.optimizer = torch.optim.AdamW(self.task.groups(), betas=self.task.betas)
        self.data = self.task.data
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
            "aids": self.task.aids.state_dict(),
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
        self.task.aids.load_state_dict(state["aids"])
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
        """Save the model if it is among the best; a score that is not finite never is."""
        name = f"valid/{self.config.best_by}"
        known = [key for key in scores if key != "valid/one_label"]  # no better for being higher
        if name not in known:
            names = ", ".join(key.split("/")[1] for key in known)
            raise UmeError(f"--best_by {self.config.best_by}: validation gives {names}")
        cost = cost_sign(self.config) * scores[name]
        rank = sum(before <= cost for before, _ in self.best)
        if not math.isfinite(cost):
            rank = self.config.keep_best
        self.stale = 0 if rank == 0 else self.stale + 1
        if rank >= self.config.keep_best:
            return
        self.best.insert(rank, [cost, self.step])
        del self.best[self.config.keep_best :]
        self.save(self.best_name(self.step))

    def best_name(self, step: float) -> str:
        """The file of a best model."""
        return best_name(self.config.best_by, self.config.keep_best, step)

    def best_score(self) -> Optional[float]:
        """What the best model scored in ``best_by``, if there was a validation."""
        return cost_sign(self.config) * self.best[0][0] if self.best else None

    def drop_old(self) -> None:
        """Delete the oldest checkpoints, but not the one that averaging starts from; and models
        that are not among the best any more, which no checkpoint to go on from asks for.
        """
        needed = self.average_from()
        old = [path for step, path in find_checkpoints(self.folder) if step != needed]
        for path in old[: -self.config.keep]:
            path.unlink()
        best = {self.best_name(step) for _, step in self.best}
        for path in self.folder.glob("best-valid-*.pt"):
            if path.name not in best:
                path.unlink()

    def average_from(self) -> int:
        """The step after which models enter the final mean."""
        return round(self.config.steps * (1 - self.config.average_last))

    def ended(self) -> bool:
        """Whether no step is left: all are done, or for too long no model was better."""
        tired = bool(self.config.patience) and self.stale >= self.config.patience
        return tired or self.step >= self.config.steps

    def train(self) -> None:
        """Run the steps that are left."""
        if self.ended():
            return
        config = self.config
        journal = Journal(self.folder, self.step, config.steps) if self.processes.first else None
        begun, before = time.monotonic(), self.seconds
        self.module.train()
        if self.processes.device.type == "cuda" and self.step == 0:
            self.scan_largest()
        for kind, batches in self.data.updates(self.step):
            values = self.update(kind, batches)
            self.step += 1
            self.task.updated(self.step)
            self.seconds = before + time.monotonic() - begun
            if self.step % config.log_every == 0 or self.validates_at(self.step):
                values = self.processes.mean(values)
                if journal:
                    journal.add(self.step, values)
            if journal:
                journal.advance(values["train/loss"])
            if self.validates_at(self.step):
                scores = self.task.validate() if journal else {}
                if journal:
                    journal.add(self.step, {**scores, **self.task.logged()})
                    journal.say(f"step {self.step}: {self.task.summary(scores)}")
                self.keep_best(self.processes.gather(scores)[0])
            if self.saves_now() or self.ended():
                self.save(f"checkpoint-{self.step}.pt")
                if journal:
                    self.drop_old()
            if self.ended():
                break
        if journal:
            journal.close()

    def scan_largest(self) -> None:
        """Try the largest batches first: better out of memory now than in the night.

        What later is in memory beside them is there as well: the optimiser's state, gradients of
        batches before, and those of each task that are measured at validations.
        """
        before = random_state()
        buffers = [buffer.clone() for buffer in self.module.buffers()]  # such as running means
        for kind, batch in self.data.largest():
            try:
                self.fill_optimizer()
                total, loss = self.module(kind, *self.inputs(kind, batch))
                self.gradient_norms(loss)
                total.backward()
            except RuntimeError as error:
                if "out of memory" not in str(error):
                    raise
                raise UmeError(
                    f"{len(batch.ids)} mixtures of {batch.audio.shape[1] / SAMPLING_RATE:.1f} s do "
                    f"not fit into memory; {self.task.memory_hint}"
                ) from None
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()
        for buffer, value in zip(self.module.buffers(), buffers):
            buffer.copy_(value)
        set_random_state(before)

    def fill_optimizer(self) -> None:
        """Allocate the optimiser's state, by an update that changes nothing; where batches are
        accumulated, leave gradients too.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0  # each update sets it
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        if self.config.accumulate == 1:
            self.optimizer.zero_grad(set_to_none=True)

    def validates_at(self, step: int) -> bool:
        """Whether the model is validated after ``step`` updates."""
        return step % self.config.valid_every == 0 or step == self.config.steps

    def saves_now(self) -> bool:
        """Whether this step ends with a checkpoint."""
        step, config = self.step, self.config
        return step % config.save_every == 0 or step in (config.steps, self.average_from())

    def update(self, kind: str, batches: List[MixtureBatch]) -> Dict[str, float]:
        """One step of the optimiser; what the log says of it.

        A step whose gradient is not finite changes nothing; its batches are saved, unless it is
        the scale of fp16 that was too large.
        """
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self.task.rate(self.step)
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
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), config.clip))
        if math.isfinite(norm):
            self.scaler.step(self.optimizer)
            self.skipped_in_a_row = 0
        elif not self.overflows(values["train/loss"]):
            self.skip(batches)
        self.scaler.update()
        if (self.step + 1) % config.average_every == 0:
            self.averaged += 1
            if self.processes.first:
                update_average(self.average, self.model.state_dict(), self.averaged)
        return {**values, "train/norm": norm, "train/rate": self.optimizer.param_groups[-1]["lr"]}

    def overflows(self, loss: float) -> bool:
        """Whether gradients of a ``loss`` that is finite in all processes left fp16's range.

        That is how the scaler finds its scale: it tries a larger one from time to time.
        """
        if not self.scaler.is_enabled() or self.scaler.get_scale() <= 1:
            return False
        return all(self.processes.gather(math.isfinite(loss)))

    def inputs(self, kind: str, batch: MixtureBatch) -> Tuple[Any, ...]:
        """What the loss is computed from."""
        return self.task.inputs(kind, batch.to(self.processes.device), self.step)

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
        shared = [p for p in self.model.get_submodule("encoder").parameters() if p.requires_grad]
        norms: Dict[str, float] = {}
        for task, value in loss.tasks.items() if shared else ():
            if not value.requires_grad:  # words that a batch of windows has none of
                continue
            scaled = self.scaler.scale(value)
            gradients = torch.autograd.grad(scaled, shared, retain_graph=True, allow_unused=True)
            parts = [gradient.norm() for gradient in gradients if gradient is not None]
            if parts:  # else the task does not hear the encoder
                norm = float(torch.stack(parts).norm()) / self.scaler.get_scale()
                norms[f"train/encoder_norm/{task}"] = norm
        return norms

    def describe(self, loss: JointLoss) -> Dict[str, float]:
        """The loss, and each task's share of it before and after weighting."""
        values = {"train/loss": float(loss.total.detach())}
        for task, value in loss.tasks.items():
            values[f"train/{task}"] = float(value.detach())
            values[f"train/weighted/{task}"] = loss.weights[task] * values[f"train/{task}"]
        return values


def record_run(config: RunConfig, folder: Path) -> None:
    """``config.yaml``, ``command.sh`` and ``env.json``: how to make this again."""
    write_text(folder / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False))
    command = "ume " + " ".join(shlex.quote(word) for word in sys.argv[1:])
    write_text(folder / "command.sh", f"#!/usr/bin/env bash\n{command}\n")
    write_json(folder / "env.json", environment())


def check(config: RunConfig) -> None:
    """One line for options that cannot be."""
    if config.average not in ("last", "best"):
        raise UmeError(f"--average {config.average}: give last or best")
    if config.patience and config.average == "last":
        raise UmeError("with --patience a run has no known end; give --average best as well")
    if config.schedule not in SCHEDULES:
        raise UmeError(f"--schedule {config.schedule}: give {' or '.join(SCHEDULES)}")
    if config.precision not in ("float32", "bf16", "fp16"):
        raise UmeError(f"--precision {config.precision}: give float32, bf16 or fp16")
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise UmeError("--precision fp16 needs a GPU; give bf16 or float32")
    if config.precision == "bf16" and not (CPU_AUTOCAST or torch.cuda.is_available()):
        raise UmeError("--precision bf16 on a CPU needs torch 2 (utils/setup.sh --stack torch2)")
    if not 0 <= config.average_last <= 1:
        raise UmeError(f"--average_last {config.average_last}: give a share from 0 to 1")
    for name in COUNTS:
        if getattr(config, name) < 1:
            raise UmeError(f"--{name} {getattr(config, name)}: it must be at least 1")


def check_same_run(config: RunConfig, folder: Path) -> None:
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


def train(config: RunConfig, make_task: Callable[[Processes], Task[Any]]) -> None:
    """Train, or go on with, ``config.exp``."""
    check(config)
    folder = Path(config.exp)
    folder.mkdir(parents=True, exist_ok=True)
    processes = join()
    try:
        with lock_folder(folder) if processes.first else nullcontext():
            run(config, folder, processes, make_task)
    finally:
        processes.close()


def run(
    config: RunConfig,
    folder: Path,
    processes: Processes,
    make_task: Callable[[Processes], Task[Any]],
) -> None:
    """Train in a folder that nobody else writes to."""
    if processes.first:
        check_same_run(config, folder)
    trainer = Trainer(config, processes, make_task)
    processes.wait()
    checkpoint = latest_checkpoint(folder)
    if checkpoint:
        trainer.load_state(load_checkpoint(checkpoint))
        if processes.first:
            print(f"going on from {checkpoint}", file=sys.stderr)
    if processes.first and not trainer.ended():  # else it was made by an earlier command
        record_run(config, folder)
    trainer.train()
    if not processes.first:
        return
    trainer.task.finish(folder)
    hand_on(folder)
    write_json(
        folder / "train.json",
        {
            "steps": trainer.step,
            "seconds": trainer.seconds,
            "processes": processes.world,
            "skipped_steps": trainer.skipped,
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            **trainer.task.record(),
            f"best_valid_{config.best_by}": trainer.best_score(),
        },
    )
