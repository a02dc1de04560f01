"""A tiny language, and CTC log-probabilities of its sentences."""

from pathlib import Path
from typing import Callable, Dict, List

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
def sentences(shared: Path) -> List[str]:
    """Real ones, of 4 to 9 words."""
    paths = sorted((shared / "data" / "librispeech" / "dev-clean").rglob("*.trans.txt"))
    lines = [line.split(maxsplit=1)[1] for path in paths for line in path.read_text().splitlines()]
    return [line for line in lines if 4 <= len(line.split()) <= 9][:120]


@pytest.fixture(scope="session")
def real_lang(sentences: List[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Characters and words of real sentences."""
    folder = tmp_path_factory.mktemp("real")
    text = "".join(f"u{number} {line}\n" for number, line in enumerate(sentences))
    (folder / "text").write_text(text)
    prepare_lang.main(prepare_lang.Config(str(folder / "text"), str(folder / "lang")))
    return folder / "lang"


@pytest.fixture(scope="session")
def spoken(sentences: List[str]) -> Dict[str, str]:
    """What the streams of :func:`unsure` say: real sentences backwards, to surprise the LM."""
    backwards = [" ".join(reversed(line.split())) for line in sentences[::5]]
    return {f"m{n // 2}_{n % 2 + 1}": line for n, line in enumerate(backwards)}


@pytest.fixture(scope="session")
def unsure(
    spoken: Dict[str, str], real_lang: Path, peaky: Callable[..., Tensor]
) -> Dict[str, Tensor]:
    """24 streams, two of each recording, the longest first; greedily most words are wrong."""
    streams = {
        name: peaky(real_lang, line, hold=1 + index % 2, height=3.6, seed=index)
        for index, (name, line) in enumerate(spoken.items())
    }
    return dict(sorted(streams.items(), key=lambda item: -len(item[1])))


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
