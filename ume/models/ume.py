"""UME: diarization, separation and multi-speaker ASR on one shared encoder (arXiv 2508.20474)."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import torch
from torch import Tensor, nn

from ume.activity import FRAME_SAMPLES, FRAME_SHIFT, frame_samples
from ume.dataset.batch import MixtureBatch
from ume.dataset.tokenizer import Tokenizer
from ume.errors import UmeError
from ume.losses.attention import attention_loss
from ume.losses.costs import (
    SI_SDR_SCALE,
    ctc_cost,
    diarization_cost,
    distillation_cost,
    separation_cost,
)
from ume.losses.joint import JointLoss, TaskCost, joint_loss
from ume.metrics.si_sdr import is_silent
from ume.nn.conditioning import Conditioner, Conditions, Sidecar, frame_classes
from ume.nn.diarization import DiarizationConfig, DiarizationHead
from ume.nn.encoder import Encoder, EncoderOutput, full_precision
from ume.nn.encoders import EncoderConfig, build_encoder, build_foundation_decoder
from ume.nn.filterbank import log_magnitude, rms
from ume.nn.lengths import change_rate, num_frames, resample_frames, valid_frames
from ume.nn.recogniser import Recogniser, RecogniserConfig, Words
from ume.nn.rwse import LastLayer, LayerSum, ResidualWeightedSum, RWSEConfig
from ume.nn.separation import SeparationConfig, SeparationHead
from ume.pretrained import Vocabulary

TASKS = ("diarization", "separation", "asr")
LOSSES = (*TASKS, "distillation")
FORMS = ("voices", "encoders", "sidecar", "conditioning")  # of asr.differentiate_by
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
    distillation: float = 0.0
    """Weight of making the encoder's last layer say of each speaker in the mixture what the
    pretrained encoder says of that speaker's true voice; with words only. It needs no text."""


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


class Guide(NamedTuple):
    """The truth about a batch: sources (B, S, T), and activity (B, F_a, S)."""

    sources: Tensor
    activity: Tensor


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
    masks: Optional[Tensor] = None  # (B, S, F_m, C), that the sources were made with
    streams: Optional[EncoderOutput] = None  # of B * S clips, what the words are read from


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
        self.form = config.asr.differentiate_by
        stacks = config.num_speakers if self.form == "encoders" else 1
        foundation = None
        if config.asr.foundation_decoder:
            foundation = build_foundation_decoder(config.encoder)
        self.asr = Recogniser(config.asr, width, stacks, config.vocab_size, foundation)
        self.vocabulary: Optional[Vocabulary] = None  # of a foundation decoder
        conditioning = config.asr.conditioning
        self.sidecar: Optional[Sidecar] = None
        self.conditioner: Optional[Conditioner] = None
        if self.form == "sidecar":
            self.sidecar = Sidecar(conditioning, width, config.num_speakers)
        elif self.form == "conditioning":
            self.conditioner = Conditioner(
                conditioning.by,
                width,
                self.encoder.num_layers - conditioning.after,
                self.separation.filterbank.num_masks,
            )

    def runs(self, task: str) -> bool:
        """Whether ``task`` has a share in the loss."""
        return float(getattr(self.config.loss, task)) > 0

    def answers(self, words: bool = True) -> List[str]:
        """The tasks that :meth:`forward` answers; some recognisers need those of other heads."""
        running = [task for task in TASKS if self.runs(task) and (words or task != "asr")]
        needed = heads_heard(self.config.asr) if "asr" in running else set()
        return [task for task in TASKS if task in running or task in needed]

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
        guide: Optional[Guide] = None,
        words: bool = True,
    ) -> UMEOutput:
        """``audio`` (B, T) at 16 kHz, ``audio_lens`` (B,) in samples -> :class:`UMEOutput`.

        In training the truth, ``guide``, can stand in for what the ASR head hears of the other
        heads: before there are voices, there are no words to be learned. Without ``words`` the ASR
        head is not run.
        """
        words = words and self.runs("asr")
        needed = heads_heard(self.config.asr) if words else set()
        encoded = self.encoder(audio, audio_lens)
        lens = num_frames(audio_lens, FRAME_SAMPLES)  # (B,)
        output = UMEOutput(lens, self.diarization.frame_lens(audio_lens))
        if self.runs("diarization") or "diarization" in needed:
            states = self.states(encoded, "diarization", lens)
            output.activity_logits = self.diarization(
                states, lens, FRAME_SHIFT, audio, audio_lens
            )  # (B, F_a, S)
        if self.runs("separation") or "separation" in needed:
            states = self.states(encoded, "separation", lens)
            output.sources, output.masks = self.separate(audio, audio_lens, states)
            if self.config.separation.gated and output.activity_logits is not None:
                output.sources = output.sources * self.gates(output, audio.shape[1])
        if words:
            output.guided = guide is not None and bool(needed)
            given = guide if output.guided else None
            heard = self.hear_each(audio, audio_lens, encoded, output, given)
            output.ctc_log_probs = heard.log_probs
            output.word_states = None if self.asr.decoder is None else heard.states
        return output

    def hear_each(
        self,
        audio: Tensor,
        audio_lens: Tensor,
        encoded: EncoderOutput,
        output: UMEOutput,
        guide: Optional[Guide],
    ) -> Words:
        """The words of each speaker, (B, S, F, ...); keeps the streams that they are read from.

        See ``asr.differentiate_by``. What other heads say is detached: words must not bend the
        masks away from the voices.
        """
        if self.form == "encoders":
            return self.words(encoded, audio_lens)
        speakers = self.config.num_speakers
        stream_lens = audio_lens.repeat_interleave(speakers)
        after = self.config.asr.conditioning.after
        states = encoded.layers[after - 1]  # (B, F', D)
        if self.sidecar is not None:
            streams = self.encoder.go_on(encoded, self.sidecar(states, encoded.lens), after)
        elif self.conditioner is not None:
            conditions = self.conditions(audio, audio_lens, encoded, output, guide)
            states = states[:, None].expand(-1, speakers, -1, -1)
            streams = self.encoder.go_on(
                encoded, states, after, partial(self.conditioner, conditions=conditions)
            )
        else:
            voices = output.sources if guide is None else guide.sources  # (B, S, T)
            assert voices is not None
            streams = self.encoder(voices.detach().flatten(0, 1), stream_lens)
        output.streams = streams
        heard = self.words(streams, stream_lens)  # (B * S, 1, F, ...)
        return Words(*(part[:, 0].unflatten(0, (-1, speakers)) for part in heard))

    def conditions(
        self,
        audio: Tensor,
        audio_lens: Tensor,
        encoded: EncoderOutput,
        output: UMEOutput,
        guide: Optional[Guide],
    ) -> Conditions:
        """What the other heads, or the truth, say of each speaker at the encoder's frames."""
        frames, shift = encoded.layers.shape[2], encoded.frame_shift
        found, heads = Conditions(), heads_heard(self.config.asr)
        if "diarization" in heads and output.activity_logits is not None:
            activity = output.activity_logits.detach().sigmoid()  # (B, F_a, S)
            if guide is not None:
                activity = guide.activity
            ratio = self.diarization.frame_shift / shift
            activity = change_rate(activity, output.activity_lens, frames, ratio)  # (B, F', S)
            found.classes = frame_classes(activity.transpose(1, 2)).flatten(0, 1)
        if "separation" in heads and output.masks is not None:
            masks = output.masks.detach() if guide is None else self.ratio_masks(guide.sources)
            found.masks = self.let_through(audio, audio_lens, masks, encoded)
        return found

    def let_through(
        self, audio: Tensor, audio_lens: Tensor, masks: Tensor, encoded: EncoderOutput
    ) -> Tensor:
        """``masks`` (B, S, F, C) and the log of what they leave of ``audio`` (B, T).

        (B * S, F', 2 C), at the frames of ``encoded``.
        """
        with torch.no_grad(), full_precision(audio):
            scaled = audio / rms(audio, audio_lens)[:, None]
            strength = self.separation.filterbank.strength(scaled)  # (B, F, C)
            both = torch.cat([masks, log_magnitude(masks * strength[:, None])], dim=-1)
        lens = self.separation.frame_lens(audio_lens).repeat_interleave(masks.shape[1])
        ratio = self.separation.frame_shift / encoded.frame_shift
        return change_rate(both.flatten(0, 1), lens, encoded.layers.shape[2], ratio)

    def ratio_masks(self, sources: Tensor) -> Tensor:
        """The masks (B, S, F, C) that the separation head should find for ``sources`` (B, S, T)."""
        with torch.no_grad(), full_precision(sources):
            strength = self.separation.filterbank.strength(sources.flatten(0, 1))
            strength = strength.unflatten(0, sources.shape[:2])
            return strength / strength.sum(dim=1, keepdim=True).clamp(min=1e-6)

    def words(
        self, encoded: EncoderOutput, audio_lens: Tensor, num_stacks: Optional[int] = None
    ) -> Words:
        """The ASR head on what the encoder hears, (B, K, F, ...)."""
        lens = num_frames(audio_lens, FRAME_SAMPLES)
        last = resample_frames(
            encoded.layers[-1], int(lens.max()), encoded.frame_shift / FRAME_SHIFT
        )
        return self.asr(self.states(encoded, "asr", lens), lens, last, num_stacks)

    def states(self, encoded: EncoderOutput, task: str, lens: Tensor) -> Tensor:
        """H_enc of ``task`` at 20 ms frames, (B, F, D)."""
        joined = self.sum_for(task)(encoded.layers)  # (B, F', D)
        return resample_frames(joined, int(lens.max()), encoded.frame_shift / FRAME_SHIFT)

    def separate(self, audio: Tensor, audio_lens: Tensor, states: Tensor) -> Tuple[Tensor, Tensor]:
        """Voices (B, S, T) in ``audio`` (B, T) and their masks, given its ``states`` (B, F, D)."""
        bank = self.separation.filterbank
        scale = rms(audio, audio_lens)[:, None]  # (B, 1)
        with full_precision(audio):
            spectrum, features = bank.encode(audio / scale)
        masks = self.separation(features, audio_lens, states, FRAME_SHIFT)
        with full_precision(audio):
            decoded = bank.decode(spectrum, masks.to(spectrum.dtype), audio.shape[1])
        return decoded * scale[..., None], masks

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
        or on the mixture. The paper's form answers with the first speaker's stack, a sidecar is
        left out, and conditioning is that of somebody who speaks all the time, alone.
        """
        encoded = self.encoder(audio, audio_lens)
        if self.conditioner is not None:
            after = self.config.asr.conditioning.after
            states = encoded.layers[after - 1][:, None]  # (B, 1, F', D)
            alone = self.alone_throughout(audio, audio_lens, encoded)
            encoded = self.encoder.go_on(
                encoded, states, after, partial(self.conditioner, conditions=alone)
            )
        heard = self.words(encoded, audio_lens, num_stacks=1)
        return Words(*(part[:, 0] for part in heard))

    def alone_throughout(
        self, audio: Tensor, audio_lens: Tensor, encoded: EncoderOutput
    ) -> Conditions:
        """Of clips (B, T) whose one speaker never pauses."""
        bank = self.separation.filterbank
        frames = int(self.separation.frame_lens(audio_lens.new_tensor([audio.shape[1]])))
        open_masks = audio.new_ones(len(audio), 1, frames, bank.num_masks)
        classes = frame_classes(audio.new_ones(1, 1, 1))[0]  # (1, 1, 4)
        return Conditions(
            classes.expand(len(audio), encoded.layers.shape[2], -1),
            self.let_through(audio, audio_lens, open_masks, encoded),
        )

    def loss(
        self,
        output: UMEOutput,
        batch: MixtureBatch,
        tokens: Sequence[Sequence[Optional[List[int]]]],
        taught: Optional[Tensor] = None,
    ) -> JointLoss:
        """Permutation-invariant joint loss; ``tokens`` [B][S] are the references' token ids.

        ``taught`` (B, S, F', D) is what the pretrained encoder hears in each source.
        """
        costs = self.costs(output, batch, tokens, taught)
        return self.joint_loss(costs, output, batch, tokens)

    def costs(
        self,
        output: UMEOutput,
        batch: MixtureBatch,
        tokens: Sequence[Sequence[Optional[List[int]]]],
        taught: Optional[Tensor] = None,
    ) -> Dict[str, TaskCost]:
        """What each head that was run charges for each pair of reference and estimate."""
        costs: Dict[str, TaskCost] = {}
        present = (
            torch.arange(self.config.num_speakers, device=batch.num_speakers.device)
            < batch.num_speakers[:, None]
        )  # (B, S)
        with full_precision(batch.audio):
            if output.activity_logits is not None and self.runs("diarization"):
                frames = valid_frames(output.activity_lens, batch.activity.shape[1])
                logits = output.activity_logits.to(batch.activity.dtype)
                cost = diarization_cost(logits, batch.activity, frames)
                # an absent speaker is a reference like any other: its stream must stay silent
                costs["diarization"] = TaskCost(cost, torch.ones_like(present))
            samples = valid_frames(batch.audio_lens, batch.audio.shape[1])
            if output.sources is not None and self.runs("separation"):
                costs["separation"] = TaskCost(
                    *separation_cost(output.sources, batch.sources, batch.audio, samples)
                )
            worded = any(text for row in tokens for text in row)  # windows have no words
            if output.ctc_log_probs is not None and (worded or taught is None):
                costs["asr"] = TaskCost(*ctc_cost(output.ctc_log_probs, output.frame_lens, tokens))
            if output.streams is not None and taught is not None:
                audible = present & ~is_silent(batch.sources, samples[:, None])
                costs["distillation"] = taught_cost(output.streams, taught, audible)
        if self.config.loss.normalised:
            return costs
        return as_they_are(costs, tokens, self.config.vocab_size)

    def joint_loss(
        self,
        costs: Mapping[str, TaskCost],
        output: UMEOutput,
        batch: MixtureBatch,
        tokens: Sequence[Sequence[Optional[List[int]]]],
    ) -> JointLoss:
        """The weighted sum of ``costs``, under one permutation or several.

        The attention decoder keeps the permutation that CTC has found.
        """
        weights = {task: float(getattr(self.config.loss, task)) for task in LOSSES}
        ordered = {"asr", "distillation"} if output.guided else set()
        loss = joint_loss(costs, weights, self.config.loss.tied, ordered)
        texts = [(b, r) for b, row in enumerate(tokens) for r, text in enumerate(row) if text]
        if output.word_states is None or not texts:
            return loss
        clips, speakers = (list(column) for column in zip(*texts))
        states = output.word_states[clips, loss.permutations["asr"][clips, speakers]]
        spoken = self.spoken(batch, tokens, texts)
        return self.with_decoder(loss, states, output.frame_lens[clips], spoken)

    def spoken(
        self,
        batch: MixtureBatch,
        tokens: Sequence[Sequence[Optional[List[int]]]],
        chosen: Sequence[Tuple[int, int]],
    ) -> List[List[int]]:
        """The texts of ``chosen`` clips and speakers in the attention decoder's tokens."""
        if self.vocabulary is None:
            return [tokens[b][s] or [] for b, s in chosen]
        return [self.vocabulary.encode(batch.texts[b][s] or "") for b, s in chosen]

    def with_decoder(
        self, loss: JointLoss, states: Tensor, lens: Tensor, texts: Sequence[List[int]]
    ) -> JointLoss:
        """``loss`` with a part of the weight of ``asr`` on ``attention``, the decoder's loss.

        ``states`` (N, F, W) and ``lens`` (N,) are of the streams in which ``texts`` are said.
        """
        assert self.asr.decoder is not None
        config = self.config.asr
        prompt, end = [Tokenizer.end], Tokenizer.end
        if self.vocabulary is not None:
            prompt, end = self.vocabulary.rules.prompt, self.vocabulary.rules.end
        nats = attention_loss(
            self.asr.decoder, states, lens, texts, prompt, end, config.smoothing
        )  # (N,)
        if self.config.loss.normalised:
            lengths = torch.tensor([len(text) + 1 for text in texts]).to(nats)
            nats = nats / (lengths * math.log(self.asr.decoder.embedding.num_embeddings))
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
        rows = [[text] for text in texts]
        costs = {"asr": TaskCost(*ctc_cost(heard.log_probs[:, None], frames, rows))}
        if not self.config.loss.normalised:
            costs = as_they_are(costs, rows, self.config.vocab_size)
        loss = joint_loss(costs, {"asr": 1.0}, tied=False)
        if self.asr.decoder is None:
            return loss
        return self.with_decoder(loss, heard.states, frames, self.spoken(batch, tokens, chosen))


def heads_heard(config: RecogniserConfig) -> Set[str]:
    """The heads whose answers the recogniser goes by."""
    if config.differentiate_by == "voices":
        return {"separation"}
    by = config.conditioning.by if config.differentiate_by == "conditioning" else []
    heads = {"activity": "diarization", "masks": "separation"}
    return {heads[name] for name in by if name in heads}  # Conditioner refuses other names


def taught_cost(streams: EncoderOutput, taught: Tensor, exists: Tensor) -> TaskCost:
    """What streams of B * S clips lack of ``taught`` (B, S, F', D), for what ``exists`` (B, S)."""
    speakers = taught.shape[1]
    frames = valid_frames(streams.lens[::speakers], taught.shape[2])
    last = streams.layers[-1].unflatten(0, (-1, speakers))
    return TaskCost(*distillation_cost(last.to(taught.dtype), taught, frames, exists))


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
        if task in scales
        else cost
        for task, cost in costs.items()
    }


def build_rwse(config: RWSEConfig, num_layers: int) -> nn.ModuleDict:
    """One way of joining ``num_layers`` layers for each task, or one for all."""
    names = (SHARED,) if config.form == "shared" else TASKS
    if config.form == "last":
        return nn.ModuleDict({name: LastLayer(num_layers) for name in names})
    return nn.ModuleDict({n: ResidualWeightedSum(num_layers, config.layers) for n in names})


def check(config: UMEConfig) -> None:
    """One line for a configuration that cannot work."""
    choices = {
        "rwse.form": (config.rwse.form, ("per-task", "shared", "last")),
        "asr.differentiate_by": (config.asr.differentiate_by, FORMS),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise UmeError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")
    if config.separation.gated and not config.loss.tied:
        raise UmeError("separation.gated needs loss.tied: voice k must be speaker k of activity")
    if config.separation.gated and config.loss.diarization == 0:
        raise UmeError("separation.gated needs a loss.diarization above 0: who opens the gates?")
    heads = config.loss
    if not heads.tied and heads.separation == 0 and min(heads.diarization, heads.asr) > 0:
        raise UmeError(
            "loss.tied false: without separated voices nothing tells which words are whose "
            "activity; give loss.separation a weight, or loss.tied true"
        )
    check_recogniser(config)
    if config.loss.distillation > 0 and config.asr.differentiate_by == "encoders":
        raise UmeError("loss.distillation needs another asr.differentiate_by than encoders")
    if config.loss.distillation > 0 and config.loss.asr == 0:
        raise UmeError("loss.distillation needs a loss.asr above 0: who else has such streams?")
    if config.num_speakers < 1:
        raise UmeError(f"num_speakers is {config.num_speakers}; it must be at least 1")
    if not any(getattr(config.loss, task) > 0 for task in TASKS):
        raise UmeError("every loss weight is 0; give at least one task a positive weight")


def check_recogniser(config: UMEConfig) -> None:
    """One line for a recogniser that cannot work."""
    asr, kind = config.asr, config.encoder.kind
    if asr.foundation_decoder and asr.decoder_layers:
        raise UmeError("asr.foundation_decoder and asr.decoder_layers: there can be one decoder")
    if asr.differentiate_by not in ("sidecar", "conditioning"):
        return
    sizes = {
        "whisper": config.encoder.whisper.encoder_layers,
        "e-branchformer": config.encoder.e_branchformer.num_layers,
    }
    if kind not in sizes:
        raise UmeError(f"asr.differentiate_by {asr.differentiate_by} does not fit encoder {kind}")
    if not 1 <= asr.conditioning.after < sizes[kind]:
        raise UmeError(
            f"asr.conditioning.after is {asr.conditioning.after}; give a layer from 1 to "
            f"{sizes[kind] - 1}"
        )
    if asr.differentiate_by == "conditioning" and not config.loss.tied:
        raise UmeError("asr.differentiate_by conditioning needs loss.tied: one order of speakers")
