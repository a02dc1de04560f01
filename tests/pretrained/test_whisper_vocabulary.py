"""Whisper's vocabulary: bytes to text, prompts, suppressed tokens, and clear errors."""

import json
from pathlib import Path
from typing import Any, Dict

import pytest

from ume.errors import UmeError
from ume.pretrained.whisper_vocabulary import byte_of_character, load_vocabulary

SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>"]


def write(folder: Path, first_special: int, no_speech: str = "<|nospeech|>") -> Dict[str, Any]:
    """A small tokenizer.json and generation_config.json."""
    special = [*SPECIAL, no_speech, "<|notimestamps|>"]
    added = [{"id": first_special + i, "content": token} for i, token in enumerate(special)]
    vocab = {"Hello": 0, "Ġworld": 1, "Ã": 2, "©": 3, "<|endoftext|>": first_special}
    content = {"added_tokens": added, "model": {"vocab": vocab}}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    rules = {"suppress_tokens": [1, 2], "begin_suppress_tokens": [0, first_special]}
    (folder / "generation_config.json").write_text(json.dumps(rules))
    return content


def test_bytes_have_256_different_stand_ins() -> None:
    table = byte_of_character()
    assert sorted(table.values()) == list(range(256))
    assert table["Ġ"] == ord(" ") and table["Ċ"] == ord("\n") and table["a"] == ord("a")


def test_text_joins_bytes_and_drops_special_tokens(tmp_path: Path) -> None:
    write(tmp_path, 50256)
    vocabulary = load_vocabulary(tmp_path)
    assert vocabulary.text([50257, 0, 1, 2, 3, 50256]) == "Hello worldé"
    assert vocabulary.text([1]) == "world"
    assert vocabulary.text([2]) == "\N{REPLACEMENT CHARACTER}"


def test_text_becomes_the_tokens_that_byte_pair_encoding_gives(tmp_path: Path) -> None:
    content = write(tmp_path, 50256)
    letters = ["Ġ", *"abcdehilnrstuw'"]
    merged = ["th", "he", "the", "Ġthe", "in", "'s", "cat"]  # in the order of their training
    content["model"]["vocab"] = {piece: n for n, piece in enumerate([*letters, *merged])}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    vocabulary = load_vocabulary(tmp_path)

    def pieces(text: str) -> list:
        return [vocabulary.pieces[token].decode() for token in vocabulary.encode(text)]

    # "th" was learned before "he", "ca" and "at" never were, nothing is joined across words
    assert pieces("THE CAT'S  IN") == [" the", " ", "c", "a", "t", "'s", " ", "in"]
    assert vocabulary.text(vocabulary.encode("THE CAT'S  IN")) == "the cat's in"
    assert vocabulary.encode("") == []


def test_english_models_get_no_language(tmp_path: Path) -> None:
    write(tmp_path, 50256, no_speech="<|nocaptions|>")
    rules = load_vocabulary(tmp_path).rules
    assert rules.prompt == [50257, 50261]
    assert (rules.end, rules.no_speech) == (50256, 50260)
    assert (rules.suppressed, rules.suppressed_first) == ([1, 2], [0, 50256])


def test_multilingual_models_are_told_english_and_transcribe(tmp_path: Path) -> None:
    write(tmp_path, 50257)
    assert load_vocabulary(tmp_path).rules.prompt == [50258, 50259, 50260, 50262]


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(UmeError, match=r"tokenizer.json does not exist"):
        load_vocabulary(tmp_path)
    content = write(tmp_path, 50256)
    (tmp_path / "generation_config.json").write_text("{}")
    with pytest.raises(UmeError, match="suppressed tokens"):
        load_vocabulary(tmp_path)
    (tmp_path / "config.json").write_text('{"suppress_tokens": []}')
    assert load_vocabulary(tmp_path).rules.suppressed == []
    (tmp_path / "config.json").write_text('{"suppress_ids": [9], "suppress_ids_begin": [8]}')
    assert load_vocabulary(tmp_path).rules.suppressed_first == [8]
    content["added_tokens"].pop()
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UmeError, match="notimestamps"):
        load_vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UmeError, match="not valid JSON"):
        load_vocabulary(tmp_path)
