"""A tiny language, and CTC log-probabilities of its sentences."""

from pathlib import Path
from typing import Callable, Dict

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ume.dataset.tokenizer import Tokenizer
from ume.decoding import lang as prepare_lang

TEXT = """\
u1 A CAT SAT
u2 THE CAT SAT
u3 THE CATS SAT
u4 THE CAT SAT
u5 A BAT SAT
"""


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text train"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="session")
def lang(text: Path) -> Path:
    """Characters."""
    folder = text.parent / "lang char"
    prepare_lang.main(prepare_lang.Config(text=str(text), lang=str(folder)))
    return folder


@pytest.fixture(scope="session")
def bpe_lang(text: Path) -> Path:
    """Units of several characters."""
    folder = text.parent / "lang bpe"
    options = {"text": str(text), "lang": str(folder), "type": "bpe", "vocab_size": 20}
    prepare_lang.main(prepare_lang.Config(**options))
    return folder


@pytest.fixture(scope="session")
def peaky() -> Callable[..., Tensor]:
    """Log-probabilities (F', V) of a text: each token held ``hold`` frames, then a blank."""

    def make(folder: Path, text: str, hold: int = 2, height: float = 8.0, seed: int = 0) -> Tensor:
        tokenizer = Tokenizer(folder)
        frames = [0]
        for token in tokenizer.encode(text):
            frames += [token] * hold + [0]
        noise = torch.randn(
            len(frames), tokenizer.vocab_size, generator=torch.Generator().manual_seed(seed)
        )
        peaks = torch.nn.functional.one_hot(torch.tensor(frames), tokenizer.vocab_size)
        return (height * peaks + noise).log_softmax(dim=1)

    return make


@pytest.fixture
def hypothesis_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write streams as shards of a hypothesis folder."""

    def make(*shards: Dict[str, Tensor], frame_shift: float = 0.02) -> Path:
        folder = tmp_path / "hyp folder"
        (folder / "ctc").mkdir(parents=True)
        for job, streams in enumerate(shards, 1):
            metadata = {"frame_shift": str(frame_shift)}
            save_file(streams, folder / "ctc" / f"{job}.safetensors", metadata)
        return folder

    return make
