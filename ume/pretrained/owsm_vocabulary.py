"""OWSM's vocabulary: text to tokens and back, and the prompt of English words without times."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List

import sentencepiece
import yaml

from ume.errors import UmeError
from ume.files import existing, write_bytes
from ume.nn.whisper_decoder import DecodingRules

PROMPT = ("<sos>", "<eng>", "<asr>", "<notimestamps>")
END = "<eos>"
SPECIAL = re.compile(r"<[^<>]+>")
CONFIG, PIECES = "config.yaml", "bpe.model"


@dataclass
class OwsmVocabulary:
    """Symbols by number, how words are cut into them, and how to decode with them."""

    symbols: List[str]
    pieces: sentencepiece.SentencePieceProcessor
    rules: DecodingRules

    def __post_init__(self) -> None:
        self.numbers = {symbol: number for number, symbol in enumerate(self.symbols)}

    def encode(self, text: str) -> List[int]:
        """The tokens of words, in lower case."""
        unknown = self.numbers["<unk>"]
        cut = self.pieces.encode(" ".join(text.lower().split()), out_type=str)
        return [self.numbers.get(piece, unknown) for piece in cut]

    def text(self, tokens: Iterable[int]) -> str:
        """The words of ``tokens``; special tokens say nothing."""
        said = [self.symbols[token] for token in tokens]
        words = self.pieces.decode([symbol for symbol in said if not SPECIAL.fullmatch(symbol)])
        return " ".join(words.split())


def load_owsm_vocabulary(folder: Path) -> OwsmVocabulary:
    """Read the ``token_list`` of an ESPnet ``config.yaml`` and the ``bpe.model`` beside it.

    Raises:
        UmeError: one is missing, or lacks OWSM's special tokens.
    """
    path = existing(folder / CONFIG)
    config = yaml.safe_load(path.read_text())
    symbols = config.get("token_list")
    if not isinstance(symbols, list):
        raise UmeError(f"{path} has no token_list; give the whole config of an OWSM model")
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    missing = [symbol for symbol in (*PROMPT, END, "<unk>") if symbol not in numbers]
    if missing:
        raise UmeError(f"{path}: token_list has no {missing[0]}; it is not OWSM's")
    model = bpe_model(folder, config)
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    except (RuntimeError, OSError):
        raise UmeError(f"{model} is not a sentencepiece model; fetch it again") from None
    special = [n for n, symbol in enumerate(symbols) if SPECIAL.fullmatch(symbol) and symbol != END]
    rules = DecodingRules(
        prompt=[numbers[symbol] for symbol in PROMPT],
        end=numbers[END],
        no_speech=numbers.get("<nospeech>", 0),
        suppressed=special,
        suppressed_first=[numbers[END]],
    )
    return OwsmVocabulary(symbols, pieces, rules)


def bpe_model(folder: Path, config: Dict[str, Any]) -> Path:
    """The sentencepiece model: beside the config, or where that says it is."""
    named = Path(config.get("bpemodel") or PIECES)
    found = [path for path in (folder / PIECES, folder / named, named) if path.is_file()]
    if not found:
        raise UmeError(f"{folder} has no {PIECES}; put {named} beside its {CONFIG}")
    return found[0]


def copy_owsm_vocabulary(source: Path, target: Path) -> None:
    """Copy what :func:`load_owsm_vocabulary` reads."""
    target.mkdir(parents=True, exist_ok=True)
    config = existing(source / CONFIG)
    pieces = bpe_model(source, yaml.safe_load(config.read_text()))
    write_bytes(target / PIECES, pieces.read_bytes())
    write_bytes(target / CONFIG, config.read_bytes())
