"""Decoding graphs in k2: L, G, and HLG, the composition of CTC topology, lexicon and grammar.

What is saved is what icefall saves under these names.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import torch

from ume.dataset.tokenizer import Tokenizer
from ume.decoding.lexicon import (
    Arc,
    disambiguated_arcs,
    lexicon_arcs,
    read_lexicon,
    read_table,
)
from ume.errors import UmeError
from ume.files import existing

if TYPE_CHECKING:
    import k2

NO_K2 = "needs k2, which this environment lacks; the default stack of utils/setup.sh has it"


def has_k2() -> bool:
    """Whether this environment has k2 (the default stack does, the torch 2.x stack may not)."""
    return find_spec("k2") is not None


def lexicon_fsa(arcs: Sequence[Arc]) -> "k2.Fsa":
    """L: tokens in, words out, any number of words."""
    import k2

    final = 1 + max(destination for _, destination, _, _ in arcs)
    lines = sorted([*arcs, (0, final, -1, -1)], key=lambda arc: arc[0])  # k2 wants them by source
    text = [" ".join(map(str, (*arc, 0))) for arc in lines]
    return k2.Fsa.from_str("\n".join([*text, str(final)]), acceptor=False)


def ctc_topology(tokenizer: Tokenizer) -> "k2.Fsa":
    """The CTC topology over the tokens: standard for characters, modified for BPE.

    The modified one has V arcs per state instead of V * V in all, but reads a token held over
    two frames also as that token twice, which matters where tokens repeat: in words of characters.
    """
    import k2

    return k2.ctc_topo(tokenizer.vocab_size - 1, modified=not tokenizer.characters)


def compile_hlg(L_disambig: "k2.Fsa", G: "k2.Fsa", first_token: int, first_word: int) -> "k2.Fsa":
    """HLG from the lexicon and the grammar with disambiguation symbols (icefall's recipe).

    ``first_token`` and ``first_word`` are the ids of ``#0``; all tokens come before. The topology
    is the standard one: the modified one would let a token held over two frames be read as that
    token twice wherever the grammar prefers it.
    """
    import k2

    LG = k2.connect(k2.compose(k2.arc_sort(L_disambig), k2.arc_sort(G)))
    LG = k2.connect(k2.determinize(LG))
    LG.labels[LG.labels >= first_token] = 0
    LG.__dict__["_properties"] = None  # else k2 believes those of the labels before the change
    LG.aux_labels.values[LG.aux_labels.values >= first_word] = 0
    LG = k2.remove_epsilon(LG)
    LG.labels = LG.labels.clone()  # a view of the arcs that connect cannot index
    LG = k2.connect(LG)
    LG.aux_labels = LG.aux_labels.remove_values_eq(0)
    H = k2.ctc_topo(first_token - 1)
    return k2.arc_sort(k2.connect(k2.compose(H, k2.arc_sort(LG), inner_labels="tokens")))


def read_grammar(path: Path) -> "k2.Fsa":
    """G of OpenFst text, as kaldilm writes it."""
    import k2

    return k2.Fsa.from_openfst(path.read_text(encoding="utf-8"), acceptor=False)


def rescoring_grammar(G: "k2.Fsa", first_word: int) -> "k2.Fsa":
    """G as an acceptor of words, in a vector of one, whose back-off arcs are epsilon."""
    import k2

    del G.aux_labels
    G.labels[G.labels >= first_word] = 0
    G.__dict__["_properties"] = None  # else k2 believes those of the labels before the change
    G = k2.arc_sort(k2.Fsa.from_fsas([G]))
    G.dummy = 1  # icefall's, for its readers in C++
    return G


def write_graphs(lang: Path) -> None:
    """Make ``L.pt``, ``L_disambig.pt``, ``HLG.pt`` and ``lm/G_4_gram.pt`` of the text files."""
    tokens, words = read_table(lang / "tokens.txt"), read_table(lang / "words.txt")
    L = lexicon_fsa(lexicon_arcs(read_lexicon(lang / "lexicon.txt"), tokens, words))
    L_disambig = lexicon_fsa(disambiguated_arcs(lang))
    G = read_grammar(lang / "lm" / "G_3_gram.fst.txt")
    HLG = compile_hlg(L_disambig, G, first_token=tokens["#0"], first_word=words["#0"])
    larger = rescoring_grammar(read_grammar(lang / "lm" / "G_4_gram.fst.txt"), words["#0"])
    graphs = {"L": L, "L_disambig": L_disambig, "HLG": HLG, "lm/G_4_gram": larger}
    for name, fsa in graphs.items():
        torch.save(fsa.as_dict(), lang / f"{name}.pt")


def load_fsa(path: Path) -> "k2.Fsa":
    """Read a graph saved by :func:`write_graphs`; a pickle: trust the file as you trust code."""
    import k2

    existing(path, made_by="ume prepare-lang")
    try:
        return k2.Fsa.from_dict(torch.load(path, map_location="cpu", weights_only=False))
    except Exception as error:  # the unpickler raises whatever it stumbles upon
        raise UmeError(f"{path} is not a k2 graph; make the lang folder again") from error
