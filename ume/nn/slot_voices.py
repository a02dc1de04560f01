"""From slots back to sound: masks on the mixture's spectrum that let through each slot's voice."""

from torch import Tensor, nn

from ume.activity import FRAME_SAMPLES
from ume.nn.filterbank import STFTFilterbank, rms
from ume.nn.lengths import num_frames, valid_frames
from ume.nn.linear import Linear
from ume.nn.rotary import RotaryLayer

KERNEL, STRIDE = 512, 160  # samples of the spectrum's frames
PER_FRAME = FRAME_SAMPLES // STRIDE  # frames of the spectrum in one of the latents


class SlotVoices(nn.Module):
    """A Transformer that hears the mixture and a slot's latents, and says what is the slot's.

    The masks of all slots add up to one everywhere.

    Args:
        width: D of the latents.
        inner: width of the layers.
        num_layers: layers.
        num_heads: attention heads.
    """

    def __init__(self, width: int, inner: int = 256, num_layers: int = 2, num_heads: int = 4):
        super().__init__()
        self.bank = STFTFilterbank(KERNEL, STRIDE)
        inside = PER_FRAME * self.bank.num_features
        self.hear = Linear(inside, inner)
        self.look = nn.Sequential(nn.LayerNorm(width), Linear(width, inner))
        self.layers = nn.ModuleList(RotaryLayer(inner, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(inner)
        self.output = Linear(inner, inside)

    def forward(self, audio: Tensor, audio_lens: Tensor, latents: Tensor, mask: Tensor) -> Tensor:
        """Voices (B, K, T) in ``audio`` (B, T).

        ``latents`` (B, K, F, D) are the slots', ``mask`` (B, F) says which frames exist.
        """
        scale = rms(audio, audio_lens)[:, None]  # (B, 1)
        spectrum, features = self.bank.encode(audio / scale)  # (B, F', C)
        batch, slots, frames, _ = latents.shape
        within = valid_frames(num_frames(audio_lens, STRIDE), spectrum.shape[1])[..., None]
        missing = PER_FRAME * frames - spectrum.shape[1]  # the last frame may be half a one
        even = nn.functional.pad(features * within, (0, 0, 0, missing))
        heard = self.hear(even.unflatten(1, (frames, PER_FRAME)).flatten(2))  # (B, F, D')
        x = (heard[:, None] + self.look(latents)).flatten(0, 1)  # (B * K, F, D')
        keys = mask.repeat_interleave(slots, dim=0)
        for layer in self.layers:
            x = layer(x, keys)
        logits = self.output(self.norm(x)).unflatten(2, (PER_FRAME, -1)).flatten(1, 2)
        masks = logits.unflatten(0, (batch, slots)).softmax(dim=1)[:, :, : spectrum.shape[1]]
        masks = masks * within[:, None]
        voices = self.bank.decode(spectrum, masks, audio.shape[1]) * scale[..., None]
        return voices * valid_frames(audio_lens, audio.shape[1])[:, None]
