"""Train one stage of Echo: utterances or conversations in, an experiment folder out.

The stages follow one another, each from the model of the one before: jepa, content, factors,
speakers, slots. Only content needs words; factors uses them where there are some.
"""

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import torch
from lhotse.cut import Cut

from ume.dataset.batch import MixtureBatch
from ume.dataset.loader import make_eval_loader, plan_batches
from ume.dataset.mixtures import read_cuts, tracks_by_speaker
from ume.dataset.tokenizer import Tokenizer, check_same_tokens
from ume.dataset.utterances import utterance_cuts
from ume.errors import UmeError
from ume.files import existing
from ume.metrics.results import Ratio
from ume.mixing.folder import manifest
from ume.models.echo import PARTS, STAGES, Echo, EchoConfig
from ume.models.files import from_dict, load_echo, read_config
from ume.nn.specaugment import SpecAugment, SpecAugmentConfig
from ume.pretrained import initialise
from ume.training.data import PlannedData, check_speakers
from ume.training.processes import Processes
from ume.training.schedule import parameter_groups
from ume.training.stages import STAGE_CLASSES
from ume.training.stages.speakers import LARGE_MARGIN
from ume.training.stages.stage import Given, StageConfig
from ume.training.trainer import RunConfig, Task, train
from ume.training.validation import encode_texts

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
WORDED = ("content", "factors")  # stages that learn tokens, if there are any


@dataclass
class Config(RunConfig):
    """Options of training a stage of Echo."""

    data: List[str]
    """Folders to learn from, together: of utterances (`ume prepare-librispeech`,
    `ume prepare-speakers`) or of conversations and mixtures (`ume simulate-conversations`,
    `ume simulate`; their cuts of `mode`)."""
    stage: str
    """jepa, content, factors, speakers or slots."""
    model: EchoConfig = field(default_factory=EchoConfig)
    """The network; from `initialize_from`, where that is given."""
    learn: StageConfig = field(default_factory=StageConfig)
    """What the stage minimises."""
    lang: Optional[str] = None
    """Lang folder (made by `ume prepare-lang`), for content and factors."""
    initialize_from: Optional[str] = None
    """Experiment folder of the stage before."""
    encoder_weights: Optional[str] = None
    """Pretrained weights of an encoder that is not Echo's own: a file, a folder, or `auto`."""
    mode: str = "part"
    """Mixture mode of folders of conversations and mixtures."""
    crop: Optional[float] = None
    """Length (s) of windows to learn from; none: whole cuts, which tokens are learned from."""
    longest: Optional[float] = None
    """Seconds of the longest cuts to learn from. CTC says nothing but blank for a while, and long
    texts keep it there; short ones show it the way out."""
    large_margin_share: float = 0.0
    """speakers: share of the steps, at the end, that are large-margin fine-tuning."""
    large_margin_crop: float = 6.0
    """speakers: length (s) of its windows."""
    specaugment: SpecAugmentConfig = field(default_factory=SpecAugmentConfig)
    """Parts of the log-mel features that are hidden in this stage."""
    valid_cuts: int = 60
    """Cuts of the dev part to validate on."""


class EchoData(PlannedData):
    """Batches of one kind; in the stage speakers, large-margin ones at the end."""

    def __init__(self, config: Config, cuts: Sequence[Cut], processes: Processes) -> None:
        super().__init__(config.steps, config.accumulate, config.num_workers)
        self.tuned_from = config.steps
        crops = {f"all-{config.stage}": config.crop}
        if config.stage == "speakers" and config.large_margin_share > 0:
            self.tuned_from = round(config.steps * (1 - config.large_margin_share))
            crops[f"all-{LARGE_MARGIN}"] = config.large_margin_crop
        for name, crop in crops.items():
            self.plans[name] = plan_batches(
                cuts,
                config.max_duration,
                config.seed,
                crop=crop,
                group=config.accumulate * processes.world,
                rank=processes.rank,
                world=processes.world,
                num_speakers=config.model.slots.num_slots if config.stage == "slots" else 0,
            )

    def plan_at(self, step: int) -> str:
        """See :class:`PlannedData`."""
        return list(self.plans)[-1 if step >= self.tuned_from else 0]


class EchoTask(Task[Config]):
    """One stage."""

    betas = (0.9, 0.95)

    def __init__(self, config: Config, processes: Processes) -> None:
        super().__init__(config)
        self.device = processes.device
        self.tokenizer = None if config.lang is None else Tokenizer(config.lang)
        self.model: Echo = starting_model(config)
        self.model.encoder.specaugment = SpecAugment(config.specaugment)
        cuts = read_folders(config, "train")
        if config.stage == "slots":
            check_speakers(cuts, config.model.slots.num_slots)
            check_voices(cuts)
        if config.stage == "speakers" and not any(is_single(cut) for cut in self.valid_cuts()):
            raise UmeError(
                "stage speakers is watched by dev cuts of one speaker, and there is none among the "
                "first; give --data a folder of utterances as well"
            )
        if config.longest is not None:
            cuts = [cut for cut in cuts if cut.duration <= config.longest]
        self.speakers = {name: k for k, name in enumerate(speakers_of(cuts))}
        stage = STAGE_CLASSES[config.stage]
        trained = ("encoder",) * (config.encoder_rate > 0) + stage.trains
        for name, part in self.model.named_children():
            part.requires_grad_(name in trained)
        if "encoder" in trained:
            self.model.encoder.freeze(config.model.encoder.frozen_layers)
        self.module = self.stage = stage(
            self.model, config.learn, len(self.speakers), DTYPES[config.precision]
        )
        self.aids = self.stage.aids
        self.data = EchoData(config, cuts, processes)

    def groups(self) -> List[Dict[str, Any]]:
        """See :class:`Task`."""
        config = self.config
        return parameter_groups(
            self.stage, config.encoder_rate, config.rate, config.weight_decay, ("echo.encoder.",)
        )

    def inputs(self, kind: str, batch: MixtureBatch, step: int) -> Tuple[Given]:
        """See :class:`Task`."""
        return (self.given(batch, step / self.config.steps),)

    def given(self, batch: MixtureBatch, progress: float) -> Given:
        """A batch with its tokens and the numbers of its speakers; 0 for those of dev."""
        known = {**self.speakers, "": -1}  # dev's are not among the classes
        numbers = [[known.get(name, 0) for name in names] for names in batch.speakers]
        tokens = encode_texts(batch, self.tokenizer if self.config.stage in WORDED else None)
        return Given(batch, tokens, torch.tensor(numbers, device=batch.audio.device), progress)

    def updated(self, step: int) -> None:
        """See :class:`Task`."""
        self.stage.updated(step / self.config.steps)

    def valid_cuts(self) -> List[Cut]:
        """Cuts of dev, by turns of its speakers."""
        config = self.config
        cuts = read_folders(config, "dev")
        if config.stage in WORDED:  # what is watched is what is read
            cuts = worded(cuts) or cuts
        return by_turns(cuts)[: config.valid_cuts]

    @cached_property
    def valid(self) -> List[MixtureBatch]:
        """Cuts of dev, each from its start to at most the crop's end."""
        config, chosen = self.config, self.valid_cuts()
        if config.crop is not None:
            chosen = [cut.truncate(duration=min(cut.duration, config.crop)) for cut in chosen]
        slots = config.model.slots.num_slots if config.stage == "slots" else 0
        longest = max(config.max_duration, max(cut.duration for cut in chosen))
        return list(make_eval_loader(chosen, longest, num_speakers=slots))

    @torch.no_grad()
    def validate(self) -> Dict[str, float]:
        """See :class:`Task`: losses, the same random numbers each time, and the stage's figures."""
        training = self.stage.training
        self.stage.eval()
        sums: Dict[str, float] = {}
        figures: Dict[str, Ratio] = {}
        with torch.random.fork_rng(devices=[] if self.device.type == "cpu" else [self.device]):
            torch.manual_seed(self.config.seed)
            for batch in self.valid:
                given = self.given(batch.to(self.device), 0.0)
                if self.config.stage != "speakers":  # its loss says nothing of other speakers
                    total, loss = self.stage(self.config.stage, given)
                    for name, value in {"loss": total, **loss.tasks}.items():
                        sums[name] = sums.get(name, 0.0) + float(value) / len(self.valid)
                for name, ratio in self.stage.figures(given).items():
                    figures[name] = figures[name] + ratio if name in figures else ratio
        self.stage.train(training)
        rates = {name: ratio.rate for name, ratio in figures.items() if ratio.denominator}
        return {f"valid/{name}": value for name, value in {**sums, **rates}.items()}

    def summary(self, scores: Dict[str, float]) -> str:
        """See :class:`Task`."""
        return ", ".join(f"{name.split('/')[1]} {value:.3f}" for name, value in scores.items())

    def record(self) -> Dict[str, Any]:
        """See :class:`Task`."""
        return {
            "stages": self.model.config.stages,
            "encoder_parameters": sum(p.numel() for p in self.model.encoder.parameters()),
            "num_speakers": len(self.speakers),
        }


def starting_model(config: Config) -> Echo:
    """The network at the start of the stage; heads that have learned nothing are new."""
    model = Echo(config.model)
    if config.initialize_from is not None:
        before = load_echo(config.initialize_from)
        learned = [part for stage in before.config.stages for part in PARTS[stage]]
        for name in {"encoder", *learned}:
            model.get_submodule(name).load_state_dict(before.get_submodule(name).state_dict())
    elif config.encoder_weights:
        initialise(model.encoder, config.encoder_weights)
    return model


def worded(cuts: List[Cut]) -> List[Cut]:
    """Those of which somebody's words are known."""
    return [cut for cut in cuts if any(spoken.text for spoken in cut.supervisions)]


def read_folders(config: Config, part: str) -> List[Cut]:
    """The cuts of a part of all folders: those with words only, where tokens are all there is."""
    cuts: List[Cut] = []
    for folder in config.data:
        if (existing(folder, "the recipe's corpus stage") / f"recordings_{part}.jsonl.gz").exists():
            cuts += utterance_cuts(folder, part)
        elif config.stage in WORDED:
            raise UmeError(
                f"stage {config.stage} learns from utterances and {folder} holds none; give a "
                "folder of local/prepare_voxceleb2.sh or local/prepare_speakers.sh"
            )
        else:
            cuts += read_cuts(manifest(folder, part, config.mode))
    if config.stage == "content":
        cuts = worded(cuts)
        if not cuts:
            raise UmeError(
                f"stage content: no cut of part {part} has a text; give --data with words, or "
                "leave the stage out"
            )
    return cuts


def is_single(cut: Cut) -> bool:
    """Whether one person speaks."""
    return len({spoken.speaker for spoken in cut.supervisions}) == 1


def check_voices(cuts: Iterable[Cut]) -> None:
    """One line for a recording, whose voices nobody knows apart: slots would learn silence."""
    for cut in cuts:
        tracks = tracks_by_speaker(cut)
        if any(not own for speaker, own in tracks.items() if speaker is not None):
            raise UmeError(
                f"cut {cut.id} is a recording, whose voices are not known apart; stage slots "
                "learns from conversations (ume simulate-conversations) or mixtures"
            )


def speakers_of(cuts: Sequence[Cut]) -> List[str]:
    """The speakers of ``cuts``, sorted."""
    return sorted({spoken.speaker for cut in cuts for spoken in cut.supervisions})


def by_turns(cuts: Sequence[Cut]) -> List[Cut]:
    """The first cut of every (first) speaker, then the second of each, and so on."""
    taken: Dict[str, int] = {}
    order = []
    for cut in cuts:
        speaker = cut.supervisions[0].speaker
        order.append((taken.get(speaker, 0), speaker))
        taken[speaker] = taken.get(speaker, 0) + 1
    return [cuts[k] for k in sorted(range(len(cuts)), key=order.__getitem__)]


def settle(config: Config) -> None:
    """Check the options, and write into ``config.model`` what follows from them."""
    if config.stage not in STAGES:
        raise UmeError(f"--stage {config.stage}: give one of {', '.join(STAGES)}")
    if config.stage == "content" and config.lang is None:
        raise UmeError("stage content needs --lang, a folder of steps/prepare_lang.sh")
    if config.stage in WORDED and config.lang is not None and config.crop is not None:
        raise UmeError(f"stage {config.stage} reads whole texts; leave --crop out")
    if config.stage == "speakers" and config.best_by == "loss":
        raise UmeError("stage speakers needs --best_by accuracy: its loss says nothing of others")
    if config.initialize_from is not None:
        settings = read_config(config.initialize_from, "steps/train_echo.sh")
        config.model = from_dict(EchoConfig, settings)
        if config.encoder_weights:
            raise UmeError("--encoder-weights: the encoder is that of --initialize-from; give one")
    if config.model.encoder.specaugment != SpecAugmentConfig():
        raise UmeError("of a stage, give specaugment, not model.encoder.specaugment")
    if config.stage in config.model.stages:
        raise UmeError(f"{config.initialize_from} has been through stage {config.stage} already")
    if config.lang is not None:
        if config.initialize_from is not None and set(WORDED) & set(config.model.stages):
            check_same_tokens(config.lang, config.initialize_from)
        config.model.vocab_size = Tokenizer(config.lang).vocab_size
    config.model.stages = [*config.model.stages, config.stage]


def main(config: Config) -> None:
    """Train, or go on with, ``config.exp``."""
    settle(config)
    train(config, partial(EchoTask, config))
