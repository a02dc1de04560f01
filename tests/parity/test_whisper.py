"""Whisper tiny.en beside OpenAI's implementation with the same weights: states and transcripts."""

from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from ume.errors import UmeError
from ume.inference.transcribe import Transcriber
from ume.nn.encoders import EncoderConfig, build_encoder
from ume.pretrained import initialise
from ume.pretrained.whisper import Whisper, load_whisper
from ume.pretrained.whisper_vocabulary import load_vocabulary

TOLERANCE = 1e-3
CLIPS = 12
RENAMED = [
    ("layers.", "blocks."),
    ("feed_forward_norm.", "mlp_ln."),
    ("feed_forward.", "mlp."),
    ("attention_norm.", "attn_ln."),
    ("attention.", "attn."),
    ("embedding.", "token_embedding."),
    ("positions", "positional_embedding"),
]


def under_openais_names(state: Dict[str, Tensor], final_norm: str) -> Dict[str, Tensor]:
    """Our state of an encoder or a decoder."""
    result = {}
    for name, value in state.items():
        name = name.replace("norm.", f"{final_norm}.") if name.startswith("norm.") else name
        for ours, theirs in RENAMED:
            name = name.replace(ours, theirs)
        result[name] = value
    return result


@pytest.fixture(scope="module")
def ours() -> Whisper:
    try:
        return load_whisper("auto")
    except UmeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def theirs(ours: Whisper) -> Any:
    from whisper.model import ModelDimensions
    from whisper.model import Whisper as Peer

    size = ours.size
    sizes = (size.width, size.num_heads)
    model = Peer(ModelDimensions(
        size.num_mels, 1500, *sizes, size.encoder_layers,
        size.vocab_size, 448, *sizes, size.decoder_layers,
    ))  # fmt: skip
    model.encoder.load_state_dict(under_openais_names(ours.encoder, "ln_post"))
    model.decoder.load_state_dict(under_openais_names(ours.decoder, "ln"), strict=False)
    return model.eval()


@pytest.fixture(scope="module")
def speech(shared: Path) -> List[np.ndarray]:
    """Real utterances of several speakers, 16 kHz."""
    files = sorted((shared / "data" / "librispeech" / "test-other").rglob("*.flac"))
    chosen = files[:: max(1, len(files) // CLIPS)][:CLIPS]
    return [soundfile.read(path, dtype="float32")[0] for path in chosen]


def states_of_openai(model: Any, audio: np.ndarray, frames: int) -> Tensor:
    """Every layer's output (L, F, D) for a clip whose positions are cut to ``frames`` frames."""
    from whisper.audio import N_SAMPLES, log_mel_spectrogram

    mel = log_mel_spectrogram(audio, padding=N_SAMPLES - len(audio))[:, : 2 * frames]
    outputs: List[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
        for block in model.encoder.blocks
    ]
    positions = model.encoder.positional_embedding
    model.encoder.positional_embedding = positions[:frames]
    with torch.no_grad():
        final = model.encoder(mel[None])
    model.encoder.positional_embedding = positions
    for hook in hooks:
        hook.remove()
    return torch.cat([*outputs[:-1], final])


def test_every_layer_equals_openais(ours: Whisper, theirs: Any, speech: List[np.ndarray]) -> None:
    encoder = build_encoder(EncoderConfig()).eval()
    initialise(encoder, ours.path)
    assert len(speech) == CLIPS
    for audio in speech:
        audio = audio[: len(audio) // 320 * 320]  # whole frames: Whisper knows no others
        with torch.no_grad():
            output = encoder(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))
        expected = states_of_openai(theirs, audio, len(audio) // 320)
        assert output.layers[:, 0].shape == expected.shape
        assert (output.layers[:, 0] - expected).abs().max() <= TOLERANCE


def test_transcripts_equal_openais(ours: Whisper, theirs: Any, speech: List[np.ndarray]) -> None:
    from whisper.audio import log_mel_spectrogram, pad_or_trim
    from whisper.decoding import DecodingOptions, decode

    options = DecodingOptions(language="en", without_timestamps=True, fp16=False)
    mels = torch.stack([log_mel_spectrogram(pad_or_trim(audio)) for audio in speech])
    expected = [result.text.strip() for result in decode(theirs, mels, options)]
    found = Transcriber(ours.path)(speech)
    assert found == expected
    assert sum(len(text.split()) for text in found) > 5 * CLIPS


def test_tokens_equal_openais() -> None:
    from whisper.tokenizer import get_tokenizer

    peer = get_tokenizer(multilingual=False)
    vocabulary = load_vocabulary(load_whisper().path.parent)
    assert vocabulary.rules.prompt == [peer.sot, peer.no_timestamps]
    words = "MISTER QUILTER'S THE APOSTLE O'CLOCK WE'LL I'VE ANTIDISESTABLISHMENTARIANISM 1920 CAFÉ"
    for text in (words, *words.split()):
        assert vocabulary.encode(text) == peer.encode(" " + text.lower())
