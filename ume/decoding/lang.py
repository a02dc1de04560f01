"""Prepare a lang folder from text: tokens, words, lexicon, n-gram, and the k2 graphs L and HLG."""

from dataclasses import dataclass
from pathlib import Path
from typing import List, Literal, Optional, Union

from ume.dataset.tokenizer import Tokenizer, train_tokenizer
from ume.decoding.graph import NO_K2, has_k2, write_graphs
from ume.decoding.lexicon import write_lexicon
from ume.decoding.ngram import coverage, grammar_fst, train_ngram
from ume.decoding.text import read_text
from ume.errors import UmeError
from ume.files import atomic_folder


@dataclass
class Config:
    text: Union[str, List[str]]
    """Kaldi text of the training part; several as `[FILE, FILE]`."""
    lang: str
    """Lang folder to write (icefall's format)."""
    type: Literal["char", "bpe"] = "char"
    """Tokens: characters, or BPE units of a sentencepiece unigram model."""
    vocab_size: int = 500
    """Number of BPE tokens at most; characters are as many as the text has."""
    ngram: int = 3
    """Order of the n-gram (1 to 5)."""
    dev_text: Optional[str] = None
    """Kaldi text whose OOV rate and perplexity are printed."""


def main(config: Config) -> None:
    """Write the lang folder, all of it or nothing."""
    if not 1 <= config.ngram <= 5:
        raise UmeError(f"--ngram {config.ngram} is not between 1 and 5")
    files = [config.text] if isinstance(config.text, str) else config.text
    sentences = [words for file in files for words in read_text(file)]
    dev = read_text(config.dev_text) if config.dev_text else []
    vocabulary = sorted({word for words in sentences for word in words})
    if len(vocabulary) < 2:
        raise UmeError(f"{', '.join(files)} has one word only; a language model needs two")
    with atomic_folder(config.lang) as lang:
        tokenizer = make_tokenizer(lang, sentences, config)
        write_lexicon(lang, vocabulary, tokenizer)
        grammar = lang / "lm" / f"G_{config.ngram}_gram.fst.txt"
        arpa = make_grammar(grammar, lang / "words.txt", sentences, config.ngram)
        print(f"{len(sentences)} sentences, {len(vocabulary)} words, {tokenizer.vocab_size} tokens")
        if dev:
            print(f"{config.dev_text}: {coverage(dev, vocabulary, arpa)}")
        if has_k2():
            write_graphs(lang, grammar)
        else:
            print(f"L.pt, L_disambig.pt and HLG.pt are left out: making them {NO_K2}")
    print(f"wrote {config.lang}")


def make_tokenizer(lang: Path, sentences: List[List[str]], config: Config) -> Tokenizer:
    """Train ``bpe.model`` in the lang folder."""
    text = [" ".join(words) for words in sentences]
    (lang / "bpe.model").write_bytes(train_tokenizer(text, config.type, config.vocab_size))
    return Tokenizer(lang)


def make_grammar(fst: Path, words: Path, sentences: List[List[str]], order: int) -> Path:
    """Write ``lm/G_<order>_gram.fst.txt`` and the ARPA file beside it, whose path is returned."""
    fst.parent.mkdir()
    arpa = fst.with_name(fst.name.replace(".fst.txt", ".arpa"))
    train_ngram(sentences, order, arpa)
    fst.write_text(grammar_fst(arpa, words), encoding="utf-8")
    return arpa
