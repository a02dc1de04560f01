"""Kaldi's ``text``: one utterance per line, its id and its words."""

import re
from typing import List

from ume.errors import UmeError
from ume.files import PathLike, existing

WORD = re.compile(r"[A-Z']+")


def read_text(path: PathLike) -> List[List[str]]:
    """The words of every utterance that has any, in the order of a Kaldi ``text`` file.

    Raises:
        UmeError: the file is missing, unreadable or without words, an id comes twice, or a word
            holds something else than A to Z and the apostrophe.
    """
    try:
        lines = existing(path, made_by="the corpus stage").read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, IsADirectoryError):
        raise UmeError(f"{path} is not a text file; give Kaldi's `<utterance> WORD WORD`") from None
    utterances = set()
    sentences = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise UmeError(f"{path}:{number} is empty; give `<utterance> WORD WORD` on every line")
        utterance, *words = line.split()
        if utterance in utterances:
            raise UmeError(f"{path}:{number} has utterance {utterance} again; remove one")
        for word in words:
            if not WORD.fullmatch(word):
                raise UmeError(
                    f"{path}:{number} has the word {word!r}; normalise the text to A-Z and '"
                )
        utterances.add(utterance)
        if words:
            sentences.append(words)
    if not sentences:
        raise UmeError(f"{path} has no words; give `<utterance> WORD WORD` on every line")
    return sentences
