"""Prepare a lang folder from text: tokens, words, lexicon, n-grams, and the graphs L, G and HLG."""

import gzip
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Literal, Optional, Union

from ume.dataset.tokenizer import Tokenizer, train_tokenizer
from ume.decoding.graph import NO_K2, has_k2, write_graphs
from ume.decoding.kaldi import write_hlg
from ume.decoding.lexicon import write_lexicon
from ume.decoding.ngram import coverage, read_vocabulary, train_ngram, write_grammar
from ume.decoding.text import read_text
from ume.errors import UmeError
from ume.files import atomic_folder

HLG_ORDER = 3  # of HLG's n-gram; the other one is for rescoring
PUBLISHED = {HLG_ORDER: "3-gram.pruned.1e-7.arpa.gz", 4: "4-gram.arpa.gz"}  # as icefall takes them


@dataclass
class Config:
    """Options of ``ume prepare-lang``."""

    text: Union[str, List[str]]
    """Kaldi text of the training part; several as `[FILE, FILE]`."""
    lang: str
    """Lang folder to write (icefall's format)."""
    type: Literal["char", "bpe"] = "char"
    """Tokens: characters, or BPE units of a sentencepiece unigram model."""
    vocab_size: int = 500
    """Number of BPE tokens at most; characters are as many as the text has."""
    lm: Optional[str] = None
    """Folder of LibriSpeech's published n-grams, `3-gram.pruned.1e-7.arpa.gz` and
    `4-gram.arpa.gz`, whose words are then the vocabulary; without it both are trained on the text,
    and its words are."""
    dev_text: Optional[str] = None
    """Kaldi text whose OOV rate and perplexity are printed."""


def main(config: Config) -> None:
    """Write the lang folder, all of it or nothing."""
    files = [config.text] if isinstance(config.text, str) else config.text
    sentences = [words for file in files for words in read_text(file)]
    dev = read_text(config.dev_text) if config.dev_text else []
    vocabulary = sorted({word for words in sentences for word in words})
    if len(vocabulary) < 2:
        raise UmeError(f"{', '.join(files)} has one word only; a language model needs two")
    published = find_published(Path(config.lm)) if config.lm else None
    with atomic_folder(config.lang, "tokens.txt", [*files, config.dev_text, config.lm]) as lang:
        tokenizer = make_tokenizer(lang, sentences, config)
        arpas = unpack(published, lang) if published else train(sentences, lang)
        if published:
            words = read_vocabulary(arpas[HLG_ORDER])
            vocabulary = sorted(word for word in words if tokenizer.can_spell(word))
        write_lexicon(lang, vocabulary, tokenizer)
        print(f"{len(sentences)} sentences, {len(vocabulary)} words, {tokenizer.vocab_size} tokens")
        for order, arpa in arpas.items():
            write_grammar(arpa, lang / "words.txt", lang / "lm" / f"G_{order}_gram.fst.txt")
            if dev:
                print(f"{config.dev_text}, {order}-gram: {coverage(dev, vocabulary, arpa)}")
            if published:
                arpa.unlink()  # large, and DIR has it
        write_hlg(lang)
        if has_k2():
            write_graphs(lang)
        else:
            print(f"L.pt, L_disambig.pt, HLG.pt and G_4_gram.pt are left out: making them {NO_K2}")
    print(f"wrote {config.lang}")


def make_tokenizer(lang: Path, sentences: List[List[str]], config: Config) -> Tokenizer:
    """Train ``bpe.model`` in the lang folder."""
    text = [" ".join(words) for words in sentences]
    (lang / "bpe.model").write_bytes(train_tokenizer(text, config.type, config.vocab_size))
    return Tokenizer(lang)


def arpa_path(lang: Path, order: int) -> Path:
    """Where the n-gram of an order lies as ARPA file."""
    return lang / "lm" / f"G_{order}_gram.arpa"


def train(sentences: List[List[str]], lang: Path) -> Dict[int, Path]:
    """Train the n-grams of both orders; their ARPA files."""
    (lang / "lm").mkdir()
    arpas = {order: arpa_path(lang, order) for order in PUBLISHED}
    for order, arpa in arpas.items():
        train_ngram(sentences, order, arpa)
    return arpas


def find_published(folder: Path) -> Dict[int, Path]:
    """The published n-grams of both orders in ``folder``, or what it lacks."""
    found = {order: folder / name for order, name in PUBLISHED.items()}
    lacking = [path.name for path in found.values() if not path.exists()]
    if lacking:
        raise UmeError(
            f"{folder} lacks {' and '.join(lacking)}; they are at https://www.openslr.org/11"
        )
    return found


def unpack(published: Dict[int, Path], lang: Path) -> Dict[int, Path]:
    """Decompress the published n-grams into the lang folder; their ARPA files."""
    (lang / "lm").mkdir()
    arpas = {order: arpa_path(lang, order) for order in published}
    for order, path in published.items():
        try:
            with gzip.open(path) as packed, open(arpas[order], "wb") as arpa:
                shutil.copyfileobj(packed, arpa)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise UmeError(f"{path} is truncated or not gzip; get it again") from None
    return arpas
