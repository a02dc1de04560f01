"""The grammar G: an n-gram as ARPA file (trained by kaldingram) and as FST (kaldilm)."""

import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence

from ume.decoding.text import WORD
from ume.errors import UmeError


def train_ngram(sentences: Sequence[List[str]], order: int, arpa: Path) -> None:
    """Write an ARPA n-gram of ``sentences``, back-off Kneser-Ney without cut-offs."""
    corpus = arpa.with_suffix(".corpus")
    corpus.write_text(lines(sentences), encoding="utf-8")
    run_tool(
        "kaldingram.cli", "train", f"--ngram-order={order}", f"--text={corpus}", f"--lm={arpa}"
    )
    corpus.unlink()


def write_grammar(arpa: Path, words: Path, fst: Path) -> None:
    """Write G as OpenFst text; ``#0`` of ``words.txt`` is the input of back-off arcs.

    N-grams with words that ``words.txt`` lacks are left out.
    """
    run_tool("kaldilm", f"--read-symbol-table={words}", "--disambig-symbol=#0", str(arpa), out=fst)


def read_vocabulary(arpa: Path) -> List[str]:
    """The words of an n-gram, but for sentence ends and the unknown word."""
    with open(arpa, encoding="utf-8") as file:
        heads = itertools.dropwhile(lambda line: line.strip() != "\\1-grams:", file)
        unigrams = itertools.takewhile(lambda line: line.strip(), itertools.islice(heads, 1, None))
        words = [line.split()[1] for line in unigrams]
    if not words:
        raise UmeError(f"{arpa.name} is not an ARPA file: it has no 1-grams; get it again")
    return [word for word in words if WORD.fullmatch(word)]


@dataclass(frozen=True)
class Coverage:
    """How well a vocabulary and an n-gram know a text."""

    words: int
    unknown: int
    sentences: int
    scored: int
    perplexity: float

    def __str__(self) -> str:
        rate = 100 * self.unknown / self.words
        return (
            f"OOV {rate:.2f}% [ {self.unknown} / {self.words} ], perplexity {self.perplexity:.1f} "
            f"over the {self.scored} of {self.sentences} sentences without OOV words"
        )


def coverage(sentences: Sequence[List[str]], vocabulary: Sequence[str], arpa: Path) -> Coverage:
    """OOV rate of ``sentences`` and their perplexity, ``</s>`` counted as SRILM does.

    A sentence with an unknown word has no probability: it is left out, and counted as such.
    """
    unknown = Counter(word for words in sentences for word in words)
    for word in vocabulary:
        del unknown[word]
    known = [words for words in sentences if unknown.keys().isdisjoint(words)]
    perplexity = float("nan")
    if known:
        report = run_tool("kaldingram.cli", "ppl", f"--lm={arpa}", text=lines(known))
        match = re.search(r" ppl= (\S+)", report)
        if not match:
            raise UmeError(f"kaldingram gave no perplexity for {arpa}: {report.strip()}")
        perplexity = float(match.group(1))
    return Coverage(
        words=sum(map(len, sentences)),
        unknown=sum(unknown.values()),
        sentences=len(sentences),
        scored=len(known),
        perplexity=perplexity,
    )


def lines(sentences: Sequence[List[str]]) -> str:
    """One sentence per line."""
    return "".join(f"{' '.join(words)}\n" for words in sentences)


def run_tool(module: str, *arguments: str, text: str = "", out: Optional[Path] = None) -> str:
    """Run a Python package's command in a process of its own.

    Its standard output is returned, or written to ``out``: a large grammar need not fit memory
    twice.
    """
    with open(out, "w") if out else nullcontext(subprocess.PIPE) as stdout:
        result = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            input=text,
            env={**os.environ, "TQDM_DISABLE": "1"},
            stdout=stdout,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise UmeError(f"{module} {' '.join(arguments)} failed: {reason}")
    return result.stdout
