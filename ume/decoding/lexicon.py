"""Words as sequences of tokens: the files ``words.txt``, ``tokens.txt`` and ``lexicon*.txt``."""

from collections import Counter
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from ume.dataset.tokenizer import Tokenizer
from ume.errors import UmeError
from ume.files import existing

FIRST_WORDS = ("<eps>", "!SIL", "<SPOKEN_NOISE>", "<UNK>")  # icefall's words.txt begins
LAST_WORDS = ("#0", "<s>", "</s>")  # and ends with these
Lexicon = List[Tuple[str, List[str]]]
Arc = Tuple[int, int, int, int]  # source state, destination, token, word


def add_disambiguation(lexicon: Lexicon) -> Tuple[Lexicon, int]:
    """Add ``#1``, ``#2``, ... where a pronunciation is another's prefix or is another word's too.

    Returns the new lexicon and the largest number used. Without it the product of lexicon and
    grammar cannot be determinised (Mohri et al., 2008).
    """
    prefixes = {tuple(tokens[:end]) for _, tokens in lexicon for end in range(len(tokens))}
    shared = Counter(tuple(tokens) for _, tokens in lexicon)
    used: Counter = Counter()
    result = []
    for word, tokens in lexicon:
        key = tuple(tokens)
        if shared[key] > 1 or key in prefixes:
            used[key] += 1
            tokens = [*tokens, f"#{used[key]}"]
        result.append((word, tokens))
    return result, max(used.values(), default=0)


def lexicon_arcs(lexicon: Lexicon, tokens: Dict[str, int], words: Dict[str, int]) -> List[Arc]:
    """The arcs of L: every word is a loop through state 0, its id on the first arc."""
    arcs = []
    next_state = 1
    for word, pronunciation in lexicon:
        state, label = 0, words[word]
        for token in pronunciation[:-1]:
            arcs.append((state, next_state, tokens[token], label))
            state, next_state, label = next_state, next_state + 1, 0
        arcs.append((state, 0, tokens[pronunciation[-1]], label))
    return arcs


def disambiguated_arcs(lang: Path) -> List[Arc]:
    """The arcs of the lang folder's L with disambiguation symbols.

    ``#0`` passes between any two words: the grammar backs off there.
    """
    tokens, words = read_table(lang / "tokens.txt"), read_table(lang / "words.txt")
    arcs = lexicon_arcs(read_lexicon(lang / "lexicon_disambig.txt"), tokens, words)
    return [*arcs, (0, 0, tokens["#0"], words["#0"])]


def write_lexicon(lang: Path, vocabulary: Sequence[str], tokenizer: Tokenizer) -> None:
    """Write ``tokens.txt``, ``words.txt``, ``lexicon.txt`` and ``lexicon_disambig.txt``."""
    lexicon = [(word, tokenizer.pieces(word)) for word in vocabulary]
    lexicon.append(("<UNK>", ["<unk>"]))
    disambiguated, highest = add_disambiguation(lexicon)
    tokens = [*tokenizer.symbols(), *(f"#{number}" for number in range(highest + 1))]
    write_table(lang / "tokens.txt", tokens)
    write_table(lang / "words.txt", [*FIRST_WORDS, *vocabulary, *LAST_WORDS])
    for name, entries in (("lexicon.txt", lexicon), ("lexicon_disambig.txt", disambiguated)):
        lines = [f"{word} {' '.join(tokens)}\n" for word, tokens in entries]
        (lang / name).write_text("".join(lines), encoding="utf-8")


def read_lexicon(path: Path) -> Lexicon:
    """Read ``lexicon.txt`` or ``lexicon_disambig.txt``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(word, tokens) for word, *tokens in map(str.split, lines)]


def write_table(path: Path, symbols: Sequence[str]) -> None:
    """``symbol id``, one per line: ``words.txt`` or ``tokens.txt``."""
    lines = [f"{symbol} {index}\n" for index, symbol in enumerate(symbols)]
    path.write_text("".join(lines), encoding="utf-8")


def read_table(path: Path) -> Dict[str, int]:
    """Read ``words.txt`` or ``tokens.txt``."""
    lines = existing(path, made_by="ume prepare-lang").read_text(encoding="utf-8").splitlines()
    try:
        return {symbol: int(index) for symbol, index in map(str.split, lines)}
    except ValueError:
        raise UmeError(f"{path} is not a table of `symbol id`; make it again") from None
