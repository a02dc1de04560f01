"""The text normaliser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ume.corpora.text import normalise, spell


@given(st.text())
def test_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.lists(st.from_regex(r"[A-Z]{3,}('[A-Z]+)?", fullmatch=True), min_size=1))
def test_librispeech_words_stay(words: list) -> None:
    text = " ".join(words)
    assert normalise(text) == text


@pytest.mark.parametrize(
    "text, expected",
    [
        (" Hello,  World! ", "HELLO WORLD"),
        ("don’t 'quote' dogs'", "DON'T QUOTE DOGS"),
        ("twenty-one", "TWENTY ONE"),
        ("1,000,000 and 12,345", "1000000 AND TWELVE THOUSAND THREE HUNDRED FORTY FIVE"),
        ("3,4", "THREE FOUR"),
        ("21st", "21ST"),
        ("Mrs. Smith & Dr. No", "MISSUS SMITH AND DOCTOR NO"),
        ("naïve ﬁancée ß", "NAIVE FIANCEE SS"),
        ("snake_case", "SNAKE CASE"),
        ("...", ""),
        ("", ""),
    ],
)
def test_rules(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    "number, words",
    [
        (0, "ZERO"),
        (19, "NINETEEN"),
        (20, "TWENTY"),
        (100, "ONE HUNDRED"),
        (110, "ONE HUNDRED TEN"),
        (999999, "NINE HUNDRED NINETY NINE THOUSAND NINE HUNDRED NINETY NINE"),
    ],
)
def test_spell(number: int, words: str) -> None:
    assert " ".join(spell(number)) == words
