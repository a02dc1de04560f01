"""Echo: sizes, padding, every head, and what a change of level or silence does."""

from pathlib import Path

import pytest
import torch

from ume.errors import UmeError
from ume.models.echo import Echo, EchoConfig, SlotConfig
from ume.models.files import load_echo, save_model
from ume.nn.encoders import EncoderConfig
from ume.nn.factors import FactorConfig
from ume.nn.vit import ViTSize
from ume.nn.whisper import WhisperSize

SMALL = ViTSize(num_layers=2, width=32, num_heads=4)


def tiny(kind: str = "vit") -> Echo:
    torch.manual_seed(0)
    encoder = EncoderConfig(kind, vit=SMALL, whisper=WhisperSize(32, 4, 2))
    factors = FactorConfig(width=16, codebooks=2, entries=8, residual=3)
    slots = SlotConfig(num_slots=3, width=32, num_layers=1, voice_layers=1)
    return Echo(EchoConfig(encoder, 12, 8, factors, slots)).eval()


def test_the_default_has_an_encoder_of_25_million_parameters() -> None:
    encoder = Echo(EchoConfig()).encoder
    assert 24e6 < sum(parameter.numel() for parameter in encoder.parameters()) < 26e6


@pytest.mark.parametrize("kind", ["vit", "log-mel", "whisper"])
def test_a_clip_alone_and_padded_in_a_batch_gives_the_same(kind: str) -> None:
    echo = tiny(kind)
    audio, lens = torch.randn(2, 9000), torch.tensor([9000, 5000])
    audio[1, 5000:] = 0

    def answers(audio, lens):
        latents, mask = echo.latents(audio, lens)
        slots = echo.route(latents, mask)
        factored = echo.factors(latents, mask)
        quantised = echo.factors.quantise(factored, mask)
        return {
            "latents": latents,
            "mask": mask,
            "embeddings": echo.embed(latents, mask),
            "tokens": echo.log_probs(latents),
            "slots": slots.latents.transpose(1, 2),
            "activity": slots.activity,
            "existence": slots.existence,
            "speaker": factored.speaker,
            "content": quantised["product"].values,
            "residual": quantised["residual"].values,
            "voices": echo.voices(audio, lens, slots.latents, mask).transpose(1, 2),
        }

    with torch.no_grad():
        together, alone = answers(audio, lens), answers(audio[1:, :5000], lens[1:])
    for name, value in alone.items():
        padded = together[name][1:]
        if value.ndim > 1 and padded.shape[1] > value.shape[1]:
            padded = padded[:, : value.shape[1]]
        torch.testing.assert_close(padded, value, atol=2e-5, rtol=1e-4, msg=name)
    assert not together["voices"][1, 5000:].any() and not together["content"][1, 16:].any()


def test_the_voices_of_all_slots_add_up_to_the_mixture() -> None:
    echo = tiny()
    audio, lens = torch.randn(1, 8000), torch.tensor([8000])
    latents, mask = echo.latents(audio, lens)
    voices = echo.voices(audio, lens, echo.route(latents, mask).latents, mask)
    inside = slice(512, -512)  # at the very ends windows are not overlapped fully
    torch.testing.assert_close(voices.sum(dim=1)[:, inside], audio[:, inside], atol=1e-4, rtol=1e-3)


def test_the_level_of_a_clip_does_not_matter_and_silence_is_finite() -> None:
    echo = tiny()
    audio, lens = torch.randn(1, 8000), torch.tensor([8000])
    loud, soft, silent = (echo.latents(gain * audio, lens)[0] for gain in (1.0, 0.1, 0.0))
    torch.testing.assert_close(loud, soft, atol=1e-3, rtol=1e-3)
    assert silent.isfinite().all()
    quiet = echo.voices(0 * audio, lens, torch.zeros(1, 3, 25, 32), torch.ones(1, 25) > 0)
    assert quiet.isfinite().all()


def test_embeddings_go_by_the_frames_that_count() -> None:
    echo = tiny()
    latents = torch.randn(1, 20, 32)
    weight = torch.zeros(1, 20)
    weight[:, :5] = 1
    other = latents.clone()
    other[:, 5:] = 7.0
    torch.testing.assert_close(echo.embed(latents, weight), echo.embed(other, weight))
    assert (echo.embed(latents, weight) - echo.embed(latents, 1 - weight)).abs().max() > 0.01
    torch.testing.assert_close(
        echo.embed(latents, 0 * weight), echo.embed(latents, torch.ones(1, 20))
    )


def test_an_encoder_with_other_frames_is_refused() -> None:
    with pytest.raises(UmeError, match="frames of 0.02 s"):
        Echo(EchoConfig(EncoderConfig("vit", vit=ViTSize(2, 32, 4, patch=4))))


def test_a_saved_model_answers_the_same(tmp_path: Path) -> None:
    echo = tiny()
    echo.config.stages.append("jepa")
    save_model(tmp_path, echo.config, echo.state_dict())
    again = load_echo(tmp_path)
    assert again.config == echo.config and not again.training
    audio, lens = torch.randn(1, 8000), torch.tensor([8000])
    torch.testing.assert_close(again.latents(audio, lens)[0], echo.latents(audio, lens)[0])
    with pytest.raises(UmeError, match="train_echo"):
        load_echo(tmp_path / "nowhere")
