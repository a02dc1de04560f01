"""Whisper's vocabulary: text to tokens and back, the prompt, and the tokens it must not say."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

from ume.errors import UmeError
from ume.files import existing, read_json, write_bytes
from ume.nn.whisper_decoder import DecodingRules

ENGLISH_END = 50256  # <|endoftext|> in the English vocabulary; it is another in the multilingual


# GPT-2's rule of what is never joined, for letters, digits and the rest
WORDS = r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+"
FILES = ("tokenizer.json", "generation_config.json", "config.json")


def byte_of_character() -> Dict[str, int]:
    """GPT-2's printable stand-ins for bytes: those that print stand for themselves.

    >>> byte_of_character()["A"], byte_of_character()["\\u0120"]
    (65, 32)
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(256 + index): byte for index, byte in enumerate(others)})
    return table


@dataclass
class WhisperVocabulary:
    """Text tokens as bytes, and how to decode with them."""

    pieces: Dict[int, bytes]
    rules: DecodingRules
    numbers: Dict[bytes, int] = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = {piece: number for number, piece in self.pieces.items()}

    def encode(self, text: str) -> List[int]:
        """The tokens of words as they follow the prompt: in lower case, a space before each.

        Byte-pair encoding: of all neighbours the pair is joined whose token came first in training
        it, which is the one of the smallest number.
        """
        spaced = "".join(f" {word}" for word in text.lower().split())
        return [
            token for word in re.findall(WORDS, spaced) for token in self.join_pairs(word.encode())
        ]

    def join_pairs(self, word: bytes) -> List[int]:
        """The tokens of one word, its bytes joined as far as they can be."""
        parts = [bytes([byte]) for byte in word]
        while len(parts) > 1:
            pairs = [
                (self.numbers.get(left + right), place)
                for place, (left, right) in enumerate(zip(parts, parts[1:]))
            ]
            known = [(number, place) for number, place in pairs if number is not None]
            if not known:
                break
            place = min(known)[1]
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return [self.numbers[part] for part in parts]

    def text(self, tokens: Iterable[int]) -> str:
        """The words of ``tokens``; special tokens say nothing."""
        joined = b"".join(self.pieces.get(token, b"") for token in tokens)
        return joined.decode("utf-8", errors="replace").strip()


def load_vocabulary(folder: Path) -> WhisperVocabulary:
    """Read the ``tokenizer.json`` beside the weights, and what their configuration suppresses.

    Raises:
        UmeError: there is none, or it lacks Whisper's special tokens.
    """
    path = existing(folder / "tokenizer.json", made_by="the download of a whole Whisper model")
    content = read_json(path)
    to_byte = byte_of_character()
    try:
        special = {token["content"]: token["id"] for token in content["added_tokens"]}
        rules = decoding_rules(special, *suppressed_tokens(folder))
        pieces = {
            number: bytes(to_byte[character] for character in piece)
            for piece, number in content["model"]["vocab"].items()
            if number < rules.end
        }
    except (KeyError, TypeError) as error:
        raise UmeError(f"{path} is not Whisper's tokenizer ({error}); fetch it again") from None
    return WhisperVocabulary(pieces, rules)


def copy_vocabulary(source: Path, target: Path) -> None:
    """Copy what :func:`load_vocabulary` reads."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (source / name).exists():
            write_bytes(target / name, (source / name).read_bytes())


def decoding_rules(
    special: Dict[str, int], suppressed: List[int], suppressed_first: List[int]
) -> DecodingRules:
    """Rules for English text without timestamps."""
    end = special["<|endoftext|>"]
    prompt = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    if end == ENGLISH_END:  # knows neither languages nor tasks
        prompt = [prompt[0], prompt[-1]]
    no_speech = special.get("<|nospeech|>", special.get("<|nocaptions|>"))
    if no_speech is None:
        raise KeyError("<|nospeech|>")
    return DecodingRules(
        prompt=[special[token] for token in prompt],
        end=end,
        no_speech=no_speech,
        suppressed=suppressed,
        suppressed_first=suppressed_first,
    )


def suppressed_tokens(folder: Path) -> Tuple[List[int], List[int]]:
    """Tokens never said, and never said first, as a configuration in ``folder`` lists them.

    Hugging Face has them in ``generation_config.json`` (older models in ``config.json``),
    CTranslate2 in ``config.json``.
    """
    names = (("suppress_tokens", "begin_suppress_tokens"), ("suppress_ids", "suppress_ids_begin"))
    for file in ("generation_config.json", "config.json"):
        config = read_json(folder / file) if (folder / file).exists() else {}
        for always, first in names:
            if config.get(always) is not None:
                return config[always], config.get(first) or []
    raise UmeError(f"{folder} has no config.json that lists Whisper's suppressed tokens; add it")
