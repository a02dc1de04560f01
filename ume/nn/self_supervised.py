"""WavLM, HuBERT and wav2vec 2.0 as encoders, through ``transformers`` where it is installed."""

from dataclasses import dataclass
from typing import Any, List, Optional

import torch
from torch import Tensor, nn

from ume.errors import UmeError
from ume.nn.encoder import Encoder, EncoderOutput
from ume.nn.lengths import num_frames, repeat_last, valid_frames

STRIDE = 320  # samples from one frame to the next
CONTEXT = 400  # samples that one frame sees


@dataclass
class SelfSupervisedSize:
    """Which model: its own configuration has the sizes."""

    source: str = "microsoft/wavlm-base-plus"
    """folder, or name on the Hugging Face hub, of a WavLM, HuBERT or wav2vec 2.0 model"""


def import_transformers() -> Any:
    """The package; :class:`UmeError` says how to get it."""
    try:
        import transformers
    except ImportError:
        raise UmeError(
            "encoder kind self-supervised needs the package transformers, and torch 2: install it "
            "into the environment of utils/setup.sh --stack torch2"
        ) from None
    return transformers


class SelfSupervisedEncoder(Encoder):
    """The Transformer's layers; the convolutions before them hear each clip alone.

    Those of the base models are normalised over a clip's whole time, which padding would change;
    whatever a clip is heard as a part of (``like``), these models hear it at their own level.
    Their frames lack context at a clip's end; here the last one is repeated. The models' own
    dropping of layers and masking of features is off.
    """

    frame_shift = 0.02

    def __init__(self, size: SelfSupervisedSize) -> None:
        super().__init__()
        transformers = import_transformers()
        try:
            config = transformers.AutoConfig.from_pretrained(size.source)
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise UmeError(f"encoder.self_supervised.source {size.source}: {first}") from None
        config.layerdrop, config.apply_spec_augment = 0.0, False
        self.source = size.source
        self.width, self.num_layers = config.hidden_size, config.num_hidden_layers
        self.normalise = config.feat_extract_norm == "layer"  # as these were trained
        self.model = transformers.AutoModel.from_config(config)
        self.identity = nn.Identity()

    @property
    def stack(self) -> nn.ModuleList:
        """See :class:`Encoder`."""
        return self.model.encoder.layers

    @property
    def final_norm(self) -> nn.Module:
        """See :class:`Encoder`; the base models' last layer ends with one of its own."""
        stable = self.model.config.do_stable_layer_norm
        return self.model.encoder.layer_norm if stable else self.identity

    def forward(
        self, audio: Tensor, audio_lens: Tensor, like: Optional[Tensor] = None
    ) -> EncoderOutput:
        """See :class:`Encoder`."""
        if self.checkpointing and not self.model.is_gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        levels = audio if like is None else like
        clips = [
            self.convolve(clip[:n], level[:n])
            for clip, level, n in zip(audio, levels, audio_lens.tolist())
        ]
        lens = torch.tensor([len(clip) for clip in clips], device=audio.device)
        x = self.model.feature_projection(nn.utils.rnn.pad_sequence(clips, batch_first=True))
        x = x[0] if isinstance(x, tuple) else x  # (B, F, D)
        valid = valid_frames(lens, x.shape[1])
        hidden = self.hidden_states(x, valid)
        whole = num_frames(audio_lens, STRIDE)
        return EncoderOutput(repeat_last(torch.stack(hidden), lens, whole), whole, self.frame_shift)

    def hidden_states(self, x: Tensor, valid: Tensor) -> List[Tensor]:
        """Every layer's output (B, F, D), the last with the final norm."""
        hidden: List[Tensor] = []
        hooks = [
            layer.register_forward_hook(
                lambda _layer, _input, output: hidden.append(
                    output[0] if isinstance(output, tuple) else output
                )
            )
            for layer in self.stack
        ]
        try:
            last = self.model.encoder(x, attention_mask=valid).last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        return [*hidden[:-1], last]

    def convolve(self, clip: Tensor, level: Tensor) -> Tensor:
        """What the Transformer hears of one ``clip`` (T,): (F, C); as loud as ``level`` (T,) is."""
        if self.normalise:
            clip = (clip - level.mean()) / (level.var(unbiased=False) + 1e-7).sqrt()
        clip = nn.functional.pad(clip, (0, max(0, CONTEXT - len(clip))))
        return self.model.feature_extractor(clip[None])[0].T
