"""Train UME: mixture cuts and a lang folder in, an experiment folder out.

A run that was stopped goes on from its last checkpoint when the same command is given again, and
ends with the weights an undisturbed run ends with.
"""

import json
import shlex
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
import yaml
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from ume.dataset.batch import MixtureBatch
from ume.dataset.tokenizer import Tokenizer
from ume.environment import environment
from ume.errors import UmeError
from ume.files import existing, write_json, write_text
from ume.losses.joint import JointLoss
from ume.models.ume import UME, UMEConfig
from ume.pretrained import initialise
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
from ume.training.schedule import parameter_groups, rate_at
from ume.training.validation import encode_texts, summary, validate


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
    train_modes: List[str] = field(default_factory=lambda: ["max", "part"])
    """Mixture modes to train on, together."""
    valid_mode: str = "max"
    """Mixture mode to validate on."""
    steps: int = 2000
    """Updates of the weights."""
    max_duration: float = 10.0
    """Seconds of mixture in a batch."""
    crop: Optional[float] = None
    """Length (s) of windows of mixtures, for diarization and separation: more voices a second of
    training. Whole mixtures, for all tasks, are then those of at most max_duration."""
    crop_share: float = 0.75
    """Share of the batches that are windows, where crop is given; the others are whole."""
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
    rate: float = 1e-3
    """Peak learning rate of the heads."""
    encoder_rate: float = 1e-4
    """Peak learning rate of the encoder."""
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
    save_every: int = 100
    """Steps between checkpoints."""
    keep: int = 3
    """Checkpoints to keep."""
    average_every: int = 10
    """Steps between two models that enter the running mean."""
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


class Trainer:
    """One training run; its state is what a checkpoint holds."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = Path(config.exp)
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        torch.manual_seed(config.seed)
        self.tokenizer = Tokenizer(config.lang)
        self.model = UME(config.model)
        self.encoder_hash = ""
        if config.encoder_weights:
            self.encoder_hash = initialise(self.model.encoder, config.encoder_weights)
        self.average = {name: value.double() for name, value in self.model.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config.encoder_rate, config.rate, config.weight_decay),
            betas=(0.9, 0.98),
        )
        self.data = TrainingData(
            config.data,
            config.train_modes,
            config.max_duration,
            config.asr_longest,
            config.crop,
            config.crop_share,
            make_phases(config.steps, config.asr_steps, config.opposite_sex_steps),
            config.seed,
            config.num_workers,
        )
        self.step = 0
        self.averaged = 0
        self.skipped = 0
        self.seconds = 0.0
        self.best_loss = float("inf")

    def state(self) -> Dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "model": self.model.state_dict(),
            "model_avg": self.average,
            "optimizer": self.optimizer.state_dict(),
            "sampler": self.data.state_dict(),
            "rng": torch.get_rng_state(),
            "step": self.step,
            "averaged": self.averaged,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "best_loss": self.best_loss,
        }

    def load_state(self, state: Dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.model.load_state_dict(state["model"])
        self.average = state["model_avg"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.data.load_state_dict(state["sampler"])
        torch.set_rng_state(state["rng"])
        self.step, self.averaged = state["step"], state["averaged"]
        self.skipped, self.seconds = state["skipped"], state["seconds"]
        self.best_loss = state["best_loss"]

    def save(self) -> None:
        """Write a checkpoint; drop the oldest ones, but the one averaging starts from."""
        save_checkpoint(self.folder / f"checkpoint-{self.step}.pt", self.state())
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
        writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step + 1)
        valid = valid_batches(config.data, config.valid_mode, config.valid_mixtures)
        curves = Curves(self.folder / "metrics.jsonl", self.step, writer)
        bar = tqdm(
            total=config.steps,
            initial=self.step,
            unit="step",
            mininterval=1.0 if sys.stderr.isatty() else 30.0,
            dynamic_ncols=True,
        )
        begun, before = time.monotonic(), self.seconds
        self.model.train()
        for kind, batch in self.data.batches(self.step):
            loss, norm = self.update(kind, batch)
            self.step += 1
            self.seconds = before + time.monotonic() - begun
            bar.update()
            if self.step % config.log_every == 0:
                bar.set_postfix_str(f"loss {float(loss.total):.3f}", refresh=False)
                curves.add(self.step, self.describe(loss, norm))
            if self.step % config.valid_every == 0 or self.step == config.steps:
                scores = validate(self.model, valid, self.tokenizer)
                curves.add(self.step, {**scores, **self.layer_weights()})
                tqdm.write(f"step {self.step}: {summary(scores)}", file=sys.stderr)
                if scores["valid/loss"] < self.best_loss:
                    self.best_loss = scores["valid/loss"]
                    save_checkpoint(self.folder / "best-valid-loss.pt", self.state())
            if self.saves_now():
                self.save()
        bar.close()
        writer.close()

    def saves_now(self) -> bool:
        """Whether this step ends with a checkpoint."""
        step, config = self.step, self.config
        return step % config.save_every == 0 or step in (config.steps, self.average_from())

    def update(self, kind: str, batch: MixtureBatch) -> "tuple[JointLoss, float]":
        """One step of the optimiser; a step whose gradient is not finite changes nothing."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self.rate()
        tokens = encode_texts(batch, self.tokenizer)
        if kind == "sources":
            heard = leaky_sources(batch, self.step / self.config.asr_steps)
            loss = self.model.source_loss(replace(batch, sources=heard), tokens)
        else:
            guide = leaky_sources(batch) if kind == "whole" and self.guides() else None
            output = self.model(batch.audio, batch.audio_lens, guide, words=kind == "whole")
            loss = self.model.loss(output, batch, tokens)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip))
        if norm != norm or norm == float("inf"):
            self.skipped += 1
            tqdm.write(f"step {self.step}: gradient not finite, skipped", file=sys.stderr)
        else:
            self.optimizer.step()
        if (self.step + 1) % config.average_every == 0:
            self.averaged += 1
            update_average(self.average, self.model.state_dict(), self.averaged)
        return loss, norm

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

    def describe(self, loss: JointLoss, norm: float) -> Dict[str, float]:
        """What the log says of a training step."""
        values = {f"train/{task}": float(value) for task, value in loss.tasks.items()}
        rate = self.optimizer.param_groups[-1]["lr"]
        return {"train/loss": float(loss.total), **values, "train/norm": norm, "train/rate": rate}

    def layer_weights(self) -> Dict[str, float]:
        """Every task's layer weights as scalars for the log."""
        return {
            f"rwse/{task}/{layer}": weight
            for task, weights in self.model.layer_weights().items()
            for layer, weight in enumerate(weights, start=1)
        }


class Curves:
    """Scalars over steps, to ``metrics.jsonl`` and to TensorBoard.

    Lines after the step from which a run goes on are dropped: they will be written again.
    """

    def __init__(self, path: Path, step: int, writer: SummaryWriter) -> None:
        self.path, self.writer = path, writer
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        write_text(path, "".join(line + "\n" for line in kept))

    def add(self, step: int, values: Dict[str, float]) -> None:
        """Append one line."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


def record_run(config: Config, folder: Path) -> None:
    """``config.yaml``, ``command.sh`` and ``env.json``: how to make this again."""
    write_text(folder / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False))
    command = "ume " + " ".join(shlex.quote(word) for word in sys.argv[1:])
    write_text(folder / "command.sh", f"#!/usr/bin/env bash\n{command}\n")
    write_json(folder / "env.json", environment())


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
    existing(config.data, "steps/simulate.sh")
    config.model.vocab_size = Tokenizer(existing(config.lang, "steps/prepare_lang.sh")).vocab_size
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        check_same_run(config, folder)
        record_run(config, folder)
        trainer = Trainer(config)
        checkpoint = latest_checkpoint(folder)
        if checkpoint:
            trainer.load_state(load_checkpoint(checkpoint))
            print(f"going on from {checkpoint}", file=sys.stderr)
        trainer.train()
        write_json(
            folder / "train.json",
            {
                "steps": trainer.step,
                "seconds": trainer.seconds,
                "skipped_steps": trainer.skipped,
                "parameters": sum(p.numel() for p in trainer.model.parameters()),
                "encoder_parameters": sum(p.numel() for p in trainer.model.encoder.parameters()),
                "encoder_weights_sha256": trainer.encoder_hash,
                "best_valid_loss": trainer.best_loss,
            },
        )
        write_json(folder / "layer_weights.json", trainer.model.layer_weights())
