"""Characters and BPE: specials, round trips, determinism, errors."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ume.dataset.tokenizer import SPECIAL, Tokenizer, train_tokenizer
from ume.errors import UmeError

SENTENCES = ["THE CAT SAT ON THE MAT", "A DOG'S BONE", "THE DOG SAT"]
WORD = st.text(alphabet="ABCDEGHMNOST'", min_size=1, max_size=6)


@pytest.fixture(scope="module", params=["char", "bpe"])
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "bpe.model").write_bytes(train_tokenizer(SENTENCES, request.param, 22))
    return Tokenizer(folder)


def test_special_tokens_come_first(tokenizer: Tokenizer) -> None:
    assert tuple(tokenizer.symbols()[:3]) == SPECIAL
    assert tokenizer.blank == 0
    assert tokenizer.vocab_size == len(tokenizer.symbols())


def test_characters_are_tokens_and_words_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "bpe.model").write_bytes(train_tokenizer(SENTENCES, "char", 500))
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.characters
    assert tokenizer.pieces("THE CAT") == ["▁", "T", "H", "E", "▁", "C", "A", "T"]
    assert sorted(tokenizer.symbols()[3:]) == sorted(set("".join(SENTENCES)) - {" "}) + ["▁"]


@given(words=st.lists(WORD, max_size=6))
def test_round_trip(tokenizer: Tokenizer, words: list) -> None:
    text = " ".join(words)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(words=st.lists(WORD, max_size=6))
def test_a_sentence_is_its_words(tokenizer: Tokenizer, words: list) -> None:
    """The lexicon, made word by word, spells what training saw."""
    by_word = [token for word in words for token in tokenizer.encode(word)]
    assert tokenizer.encode(" ".join(words)) == by_word


def test_unseen_characters_are_unknown_and_without_surface(tokenizer: Tokenizer) -> None:
    assert 2 in tokenizer.encode("ZEBRA")
    assert tokenizer.decode([0, 1, 2]) == ""


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_training_is_deterministic(kind: str) -> None:
    assert train_tokenizer(SENTENCES, kind, 22) == train_tokenizer(SENTENCES, kind, 22)


def test_bpe_has_units_of_several_characters(tmp_path: Path) -> None:
    (tmp_path / "bpe.model").write_bytes(train_tokenizer(SENTENCES, "bpe", 22))
    assert not Tokenizer(tmp_path).characters


def test_a_vocabulary_too_small_is_an_error() -> None:
    with pytest.raises(UmeError, match="--vocab-size 5"):
        train_tokenizer(SENTENCES, "bpe", 5)


def test_a_missing_or_broken_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UmeError, match="ume prepare-lang makes it"):
        Tokenizer(tmp_path)
    (tmp_path / "bpe.model").write_bytes(b"not a model")
    with pytest.raises(UmeError, match="not a sentencepiece model"):
        Tokenizer(tmp_path)
