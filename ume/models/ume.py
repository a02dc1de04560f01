"""UME: diarization, separation and multi-speaker ASR on one shared encoder (arXiv 2508.20474)."""

import math
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Sequence

import torch
from torch import Tensor, nn

from ume.activity import FRAME_SAMPLES, FRAME_SHIFT, frame_samples
from ume.dataset.batch import MixtureBatch
from ume.dataset.tokenizer import Tokenizer
from ume.errors import UmeError
from ume.losses.attention import attention_loss
from ume.losses.costs import SI_SDR_SCALE, ctc_cost, diarization_cost, separation_cost
from ume.losses.joint import JointLoss, TaskCost, joint_loss
from ume.nn.diarization import DiarizationConfig, DiarizationHead
from ume.nn.encoder import Encoder, EncoderOutput, full_precision
from ume.nn.encoders import EncoderConfig, build_encoder
from ume.nn.lengths import change_rate, num_frames, resample_frames, valid_frames
from ume.nn.recogniser import Recogniser, RecogniserConfig, Words
from ume.nn.rwse import LastLayer, LayerSum, ResidualWeightedSum, RWSEConfig
from ume.nn.separation import SeparationConfig, SeparationHead

TASKS = ("diarization", "separation", "asr")
SHARED = "shared"  # the one layer sum of all tasks


@dataclass
class LossConfig:
    """Weights of the tasks' normalised losses; a task of weight 0 is neither run nor trained."""

    diarization: float = 0.33
    """Weight of the diarization loss."""
    separation: float = 0.33
    """Weight of the separation loss."""
    asr: float = 0.33
    """Weight of the CTC loss."""
    tied: bool = True
    """One permutation for all tasks (speaker k is one person in all) or one for each."""
    normalised: bool = True
    """Divide each task's cost by what knowing nothing costs; false: nats per frame, decibels and
    nats per text are added as they are."""


@dataclass
class UMEConfig:
    """Everything that defines the network and its loss."""

    num_speakers: int = 2
    """S, the number of output streams."""
    vocab_size: int = 30
    """V, tokens of the CTC head, blank included; set from the lang folder."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The shared encoder."""
    rwse: RWSEConfig = field(default_factory=RWSEConfig)
    """What the heads see of its layers."""
    diarization: DiarizationConfig = field(default_factory=DiarizationConfig)
    """The diarization head."""
    separation: SeparationConfig = field(default_factory=SeparationConfig)
    """The separation head."""
    asr: RecogniserConfig = field(default_factory=RecogniserConfig)
    """The ASR head."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Weights and permutations."""


@dataclass
class UMEOutput:
    """What UME says of a batch; a head that was not run is None.

    Frames of words are 20 ms, those of activity what the diarization head is set to; those beyond
    the lengths and samples beyond a clip mean nothing.
    """

    frame_lens: Tensor  # (B,), of words
    activity_lens: Tensor  # (B,), frames of activity
    activity_logits: Optional[Tensor] = None  # (B, F_a, S)
    sources: Optional[Tensor] = None  # (B, S, T)
    ctc_log_probs: Optional[Tensor] = None  # (B, S, F, V)
    word_states: Optional[Tensor] = None  # (B, S, F, W), for the attention decoder if there is one
    guided: bool = False  # words are of voices that were given, in the references' order


class UME(nn.Module):
    """The whole model; see :class:`UMEConfig`."""

    def __init__(self, config: UMEConfig) -> None:
        super().__init__()
        check(config)
        self.config = config
        self.encoder: Encoder = build_encoder(config.encoder)
        width = self.encoder.width
        self.rwse = build_rwse(config.rwse, self.encoder.num_layers)
        self.diarization = DiarizationHead(config.diarization, width, config.num_speakers)
        self.separation = SeparationHead(config.separation, width, config.num_speakers)
        self.by_voices = config.asr.differentiate_by == "voices"
        stacks = 1 if self.by_voices else config.num_speakers
        self.asr = Recogniser(config.asr, width, stacks, config.vocab_size)

    def runs(self, task: str) -> bool:
        """Whether ``task`` has a share in the loss."""
        return float(getattr(self.config.loss, task)) > 0

    def answers(self) -> List[str]:
        """The tasks that :meth:`forward` answers; a recogniser of voices needs them separated."""
        heard = self.by_voices and self.runs("asr")
        return [task for task in TASKS if self.runs(task) or (task == "separation" and heard)]

    def layer_weights(self) -> Dict[str, List[float]]:
        """Each task's weights of the encoder's layers."""
        return {task: self.sum_for(task).weights().tolist() for task in TASKS}

    def sum_for(self, task: str) -> LayerSum:
        """What makes H_enc of ``task`` from the encoder's layers."""
        layer_sum = self.rwse[task if task in self.rwse else SHARED]
        assert isinstance(layer_sum, LayerSum)
        return layer_sum

    def forward(
        self,
        audio: Tensor,
        audio_lens: Tensor,
        guide: Optional[Tensor] = None,
        words: bool = True,
    ) -> UMEOutput:
        """``audio`` (B, T) at 16 kHz, ``audio_lens`` (B,) in samples -> :class:`UMEOutput`.

        In training the true sources, ``guide`` (B, S, T), can stand in for the separated voices
        in the ears of the ASR head: before there are voices, there are no words to be learned.
        Without ``words`` the ASR head is not run.
        """
        words = words and self.runs("asr")
        encoded = self.encoder(audio, audio_lens)
        lens = num_frames(audio_lens, FRAME_SAMPLES)  # (B,)
        output = UMEOutput(lens, self.diarization.frame_lens(audio_lens))
        if self.runs("diarization"):
            states = self.states(encoded, "diarization", lens)
            output.activity_logits = self.diarization(
                states, lens, FRAME_SHIFT, audio, audio_lens
            )  # (B, F_a, S)
        if self.runs("separation") or (words and self.by_voices):
            states = self.states(encoded, "separation", lens)
            output.sources = self.separate(audio, audio_lens, states)
            if self.config.separation.gated and output.activity_logits is not None:
                output.sources = output.sources * self.gates(output, audio.shape[1])
        if words and self.by_voices:
            output.guided = guide is not None
            voices = output.sources if guide is None else guide  # (B, S, T)
            assert voices is not None
            # detached: words must not bend the masks away from the voices
            flat = self.recognise(
                voices.detach().flatten(0, 1), audio_lens.repeat_interleave(voices.shape[1])
            )
            heard = Words(*(part.unflatten(0, voices.shape[:2]) for part in flat))
        elif words:
            heard = self.asr(self.states(encoded, "asr", lens), lens)
        if words:
            output.ctc_log_probs = heard.log_probs
            output.word_states = None if self.asr.decoder is None else heard.states
        return output

    def states(self, encoded: EncoderOutput, task: str, lens: Tensor) -> Tensor:
        """H_enc of ``task`` at 20 ms frames, (B, F, D)."""
        joined = self.sum_for(task)(encoded.layers)  # (B, F', D)
        return resample_frames(joined, int(lens.max()), encoded.frame_shift / FRAME_SHIFT)

    def separate(self, audio: Tensor, audio_lens: Tensor, states: Tensor) -> Tensor:
        """The voices (B, S, T) in ``audio`` (B, T), given its ``states`` (B, F, D)."""
        bank = self.separation.filterbank
        scale = rms(audio, audio_lens)[:, None]  # (B, 1)
        with full_precision(audio):
            spectrum, features = bank.encode(audio / scale)
        masks = self.separation(features, audio_lens, states, FRAME_SHIFT)
        with full_precision(audio):
            decoded = bank.decode(spectrum, masks.to(spectrum.dtype), audio.shape[1])
        return decoded * scale[..., None]

    def gates(self, output: UMEOutput, num_samples: int) -> Tensor:
        """Probability of speech (B, S, T) by sample, on lines between the frames of activity.

        Detached: whether somebody speaks is learned from the labels alone.
        """
        assert output.activity_logits is not None
        probability = output.activity_logits.detach().sigmoid()  # (B, F, S)
        size = frame_samples(self.diarization.frame_shift)
        return change_rate(probability, output.activity_lens, num_samples, size).transpose(1, 2)

    def recognise(self, audio: Tensor, audio_lens: Tensor) -> Words:
        """The ASR head on ``audio`` (B, T) as it is, nothing separated: (B, F, ...).

        Also the control beside a multi-speaker result: the same recogniser on the true sources,
        or on the mixture. The paper's form answers with the first speaker's stack.
        """
        encoded = self.encoder(audio, audio_lens)
        lens = num_frames(audio_lens, FRAME_SAMPLES)
        heard = self.asr(self.states(encoded, "asr", lens), lens, num_stacks=1)
        return Words(*(part[:, 0] for part in heard))

    def loss(
        self,
        output: UMEOutput,
        batch: MixtureBatch,
        tokens: Sequence[Sequence[Optional[List[int]]]],
    ) -> JointLoss:
        """Permutation-invariant joint loss; ``tokens`` [B][S] are the references' token ids."""
        return self.joint_loss(self.costs(output, batch, tokens), output, tokens)

    def costs(
        self,
        output: UMEOutput,
        batch: MixtureBatch,
        tokens: Sequence[Sequence[Optional[List[int]]]],
    ) -> Dict[str, TaskCost]:
        """What each head that was run charges for each pair of reference and estimate."""
        costs: Dict[str, TaskCost] = {}
        present = (
            torch.arange(self.config.num_speakers, device=batch.num_speakers.device)
            < batch.num_speakers[:, None]
        )  # (B, S)
        with full_precision(batch.audio):
            if output.activity_logits is not None:
                frames = valid_frames(output.activity_lens, batch.activity.shape[1])
                logits = output.activity_logits.to(batch.activity.dtype)
                cost = diarization_cost(logits, batch.activity, frames)
                # an absent speaker is a reference like any other: its stream must stay silent
                costs["diarization"] = TaskCost(cost, torch.ones_like(present))
            if output.sources is not None and self.runs("separation"):
                samples = valid_frames(batch.audio_lens, batch.audio.shape[1])
                costs["separation"] = TaskCost(
                    *separation_cost(output.sources, batch.sources, batch.audio, samples)
                )
            if output.ctc_log_probs is not None:
                costs["asr"] = TaskCost(*ctc_cost(output.ctc_log_probs, output.frame_lens, tokens))
        if self.config.loss.normalised:
            return costs
        return as_they_are(costs, tokens, self.config.vocab_size)

    def joint_loss(
        self,
        costs: Mapping[str, TaskCost],
        output: UMEOutput,
        tokens: Sequence[Sequence[Optional[List[int]]]],
    ) -> JointLoss:
        """The weighted sum of ``costs``, under one permutation or several.

        The attention decoder keeps the permutation that CTC has found.
        """
        weights = {task: float(getattr(self.config.loss, task)) for task in TASKS}
        ordered = {"asr"} if output.guided else set()
        loss = joint_loss(costs, weights, self.config.loss.tied, ordered)
        texts = [(b, r) for b, row in enumerate(tokens) for r, text in enumerate(row) if text]
        if output.word_states is None or not texts:
            return loss
        clips, speakers = (list(column) for column in zip(*texts))
        states = output.word_states[clips, loss.permutations["asr"][clips, speakers]]
        spoken = [tokens[b][r] or [] for b, r in texts]
        return self.with_decoder(loss, states, output.frame_lens[clips], spoken)

    def with_decoder(
        self, loss: JointLoss, states: Tensor, lens: Tensor, texts: Sequence[List[int]]
    ) -> JointLoss:
        """``loss`` with a part of the weight of ``asr`` on ``attention``, the decoder's loss.

        ``states`` (N, F, W) and ``lens`` (N,) are of the streams in which ``texts`` are said.
        """
        assert self.asr.decoder is not None
        config = self.config.asr
        nats = attention_loss(
            self.asr.decoder, states, lens, texts, Tokenizer.end, config.smoothing
        )  # (N,)
        if self.config.loss.normalised:
            lengths = torch.tensor([len(text) + 1 for text in texts]).to(nats)
            nats = nats / (lengths * math.log(self.config.vocab_size))
        tasks = {**loss.tasks, "attention": nats.mean()}
        weights = {
            **loss.weights,
            "asr": config.ctc_weight * loss.weights["asr"],
            "attention": (1 - config.ctc_weight) * loss.weights["asr"],
        }
        parts = [weights[task] * value for task, value in tasks.items()]
        return JointLoss(torch.stack(parts).sum(), tasks, weights, loss.permutations)

    def source_loss(
        self, batch: MixtureBatch, tokens: Sequence[Sequence[Optional[List[int]]]]
    ) -> JointLoss:
        """The recogniser's loss on the true sources of ``batch``, each alone."""
        chosen = [(b, s) for b, texts in enumerate(tokens) for s, text in enumerate(texts) if text]
        clips, speakers = (list(column) for column in zip(*chosen))
        lens = batch.audio_lens[clips]
        heard = self.recognise(batch.sources[clips, speakers], lens)
        texts = [tokens[b][s] or [] for b, s in chosen]
        frames = num_frames(lens, FRAME_SAMPLES)
        cost = TaskCost(*ctc_cost(heard.log_probs[:, None], frames, [[text] for text in texts]))
        loss = joint_loss({"asr": cost}, {"asr": 1.0}, tied=False)
        if self.asr.decoder is None:
            return loss
        return self.with_decoder(loss, heard.states, frames, texts)


def as_they_are(
    costs: Mapping[str, TaskCost],
    tokens: Sequence[Sequence[Optional[List[int]]]],
    vocab_size: int,
) -> Dict[str, TaskCost]:
    """Normalised ``costs`` in nats per frame, decibels and nats per text."""
    lengths = torch.tensor([[len(text or ()) for text in row] for row in tokens])  # (B, S)
    scales: Dict[str, Tensor] = {
        "diarization": torch.tensor(math.log(2)),
        "separation": torch.tensor(SI_SDR_SCALE),
        "asr": lengths[..., None] * math.log(vocab_size),  # (B, S, 1)
    }
    return {
        task: TaskCost(cost.cost * scales[task].to(cost.cost), cost.exists)
        for task, cost in costs.items()
    }


def build_rwse(config: RWSEConfig, num_layers: int) -> nn.ModuleDict:
    """One way of joining ``num_layers`` layers for each task, or one for all."""
    names = (SHARED,) if config.form == "shared" else TASKS
    if config.form == "last":
        return nn.ModuleDict({name: LastLayer(num_layers) for name in names})
    return nn.ModuleDict({n: ResidualWeightedSum(num_layers, config.layers) for n in names})


def rms(audio: Tensor, audio_lens: Tensor) -> Tensor:
    """Root mean square (B,) of each clip's own samples, above zero; padding is zero."""
    return (audio.square().sum(dim=1) / audio_lens).sqrt().clamp(min=1e-5)


def check(config: UMEConfig) -> None:
    """One line for a configuration that cannot work."""
    choices = {
        "rwse.form": (config.rwse.form, ("per-task", "shared", "last")),
        "asr.differentiate_by": (config.asr.differentiate_by, ("voices", "encoders")),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise UmeError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")
    if config.separation.gated and not config.loss.tied:
        raise UmeError("separation.gated needs loss.tied: voice k must be speaker k of activity")
    if config.separation.gated and config.loss.diarization == 0:
        raise UmeError("separation.gated needs a loss.diarization above 0: who opens the gates?")
    if config.num_speakers < 1:
        raise UmeError(f"num_speakers is {config.num_speakers}; it must be at least 1")
    if not any(getattr(config.loss, task) > 0 for task in TASKS):
        raise UmeError("every loss weight is 0; give at least one task a positive weight")
