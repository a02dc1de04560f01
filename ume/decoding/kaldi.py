"""HLG without k2: compiled by kaldifst, searched by kaldi-decoder; their peculiarities end here.

In OpenFst label 0 is epsilon, so that HLG's inputs are tokens + 1 and blank is 1.
"""

from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Sequence

import kaldi_decoder
import kaldifst
from torch import Tensor

from ume.decoding.lexicon import Arc, disambiguated_arcs, read_table
from ume.errors import UmeError
from ume.files import existing


def compile_fst(lines: Iterable[str]) -> kaldifst.StdVectorFst:
    """An FST from OpenFst's text format; its first state is the start."""
    return kaldifst.compile("\n".join(lines), acceptor=False)


def lexicon_lines(arcs: Sequence[Arc]) -> Iterator[str]:
    """L, any number of words through state 0."""
    for source, destination, token, word in arcs:
        yield f"{source} {destination} {token} {word}"
    yield "0"


def ctc_topology(first_token: int, last_token: int) -> kaldifst.StdVectorFst:
    """The standard CTC topology over tokens before ``first_token``, which is ``#0``.

    State k has just heard token k. Disambiguation tokens up to ``last_token`` are passed on
    anywhere, and nothing is heard for them. Arc by arc, since as text the V * V arcs of thousands
    of tokens take gigabytes.
    """
    H = kaldifst.StdVectorFst()
    for state in range(first_token):
        H.add_state()
        H.set_final(state, 0.0)
    H.start = 0
    for state in range(first_token):
        H.reserve_arcs(state, last_token + 1)
        for token in range(first_token):
            said = 0 if token == state else token
            H.add_arc(state, kaldifst.StdArc(token + 1, said, 0.0, token))
        for token in range(first_token, last_token + 1):
            H.add_arc(state, kaldifst.StdArc(0, token, 0.0, state))
    kaldifst.arcsort(H, "olabel")
    return H


def compile_hlg(lang: Path) -> kaldifst.StdVectorFst:
    """HLG of the lang folder's ``lexicon_disambig.txt`` and ``lm/G_3_gram.fst.txt``.

    Of the same paths and scores as ``HLG.pt`` (see :func:`ume.decoding.graph.compile_hlg`).
    """
    tokens = read_table(lang / "tokens.txt")
    L = compile_fst(lexicon_lines(disambiguated_arcs(lang)))
    G = compile_fst((lang / "lm" / "G_3_gram.fst.txt").read_text(encoding="utf-8").splitlines())
    kaldifst.arcsort(L, "olabel")
    LG = kaldifst.compose(L, G)
    kaldifst.determinize_star(LG)
    kaldifst.connect(LG)
    kaldifst.arcsort(LG, "ilabel")
    return kaldifst.compose(ctc_topology(tokens["#0"], max(tokens.values())), LG)


def write_hlg(lang: Path) -> None:
    """Make ``HLG.fst`` of the lang folder's text files."""
    path = lang / "HLG.fst"
    if not compile_hlg(lang).write(str(path)):
        raise OSError(f"cannot write {path}")


def load_hlg(path: Path) -> kaldifst.StdVectorFst:
    """Read ``HLG.fst``."""
    existing(path, made_by="ume prepare-lang")
    graph = kaldifst.StdVectorFst.read(str(path))
    if graph is None:
        raise UmeError(f"{path} is not an OpenFst graph; make the lang folder again")
    return graph


class KaldiDecoder:
    """The best path of each stream through HLG; ``text`` turns word numbers into a text.

    ``empty`` lists streams without any path.
    """

    def __init__(
        self,
        graph: kaldifst.StdVectorFst,
        beam: float,
        min_active: int,
        max_active: int,
        scale: float,
        text: Callable[[List[int]], str],
    ) -> None:
        self.graph = graph  # the decoder does not keep it alive
        self.scale = scale
        self.options = kaldi_decoder.FasterDecoderOptions(
            beam=beam / scale, min_active=min_active, max_active=max_active
        )
        self.text = text
        self.empty: List[str] = []

    def __call__(self, streams: Dict[str, Tensor]) -> Dict[str, str]:
        """Words of streams with log-probabilities (F', V), none empty."""
        return {name: self._best(name, log_probs) for name, log_probs in streams.items()}

    def _best(self, name: str, log_probs: Tensor) -> str:
        # weighing the acoustics by 1 / scale is weighing the graph by scale
        decodable = kaldi_decoder.DecodableCtc((log_probs / self.scale).numpy())
        decoder = kaldi_decoder.FasterDecoder(self.graph, self.options)
        decoder.decode(decodable)
        if not decoder.reached_final():
            self.empty.append(name)
            return ""
        _, path = decoder.get_best_path()
        _, _, words, _ = kaldifst.get_linear_symbol_sequence(path)
        return self.text(words)
