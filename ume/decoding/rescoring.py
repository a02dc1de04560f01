"""Lattices and word sequences weighed anew by a larger n-gram than HLG's."""

from pathlib import Path
from typing import TYPE_CHECKING, List, Sequence

import torch
from torch import Tensor

from ume.decoding.graph import load_fsa
from ume.decoding.lattice import Labels
from ume.decoding.nbest import Draw, Scales

if TYPE_CHECKING:
    import k2


def load_grammar(lang: Path) -> "k2.Fsa":
    """The 4-gram of a lang folder, with ``lm_scores``."""
    G = load_fsa(lang / "lm" / "G_4_gram.pt")
    G.lm_scores = G.scores.clone()
    return G


class GrammarRescorer:
    """Lattices of HLG to lattices of the same words whose ``lm_scores`` are another n-gram's.

    As in icefall the n-gram backs off where the lattice has an epsilon, that is in any frame but
    a word's first: where words of one frame follow each other without a blank there is no room.
    """

    def __init__(self, grammar: "k2.Fsa") -> None:
        import k2

        self.grammar = k2.arc_sort(k2.add_epsilon_self_loops(grammar))

    def __call__(self, lattice: "k2.Fsa") -> "k2.Fsa":
        import k2

        acoustic = lattice.clone()
        acoustic.scores = lattice.scores - lattice.lm_scores
        del acoustic.lm_scores
        words = k2.invert(acoustic)
        owners = torch.zeros(lattice.shape[0], dtype=torch.int32)
        paths = k2.intersect_device(self.grammar, words, owners, sorted_match_a=True)
        return k2.invert(k2.top_sort(k2.connect(paths)))


class BestAtScales:
    """The reader that takes the path of highest acoustics + scale * ``lm_scores``."""

    def __init__(self, scales: Sequence[Scales]) -> None:
        self.scales = scales

    def __call__(self, lattice: "k2.Fsa", names: List[str]) -> List[List[Labels]]:
        import k2

        acoustic = lattice.scores - lattice.lm_scores
        answers = []
        for scale in self.scales:
            lattice.scores = acoustic + scale.lm * lattice.lm_scores
            answers.append(k2.get_aux_labels(k2.one_best_decoding(lattice)))
        return [list(each) for each in zip(*answers, strict=True)]


class NbestRescorer:
    """The reader that takes the sequence of highest acoustics + scale * n-gram."""

    def __init__(self, draw: Draw, grammar: "k2.Fsa", scales: Sequence[Scales]) -> None:
        self.draw, self.grammar = draw, grammar
        self.lm_scales = torch.tensor([scale.lm for scale in scales], dtype=torch.double)

    def __call__(self, lattice: "k2.Fsa", names: List[str]) -> List[List[Labels]]:
        nbest = self.draw(lattice)
        acoustic, _ = nbest.in_lattice()
        lm: Tensor = nbest.in_grammar(self.grammar)
        told = self.lm_scales * lm[:, None]  # (R, N)
        told[:, self.lm_scales == 0] = 0  # of what the n-gram lacks, too
        return nbest.choose(acoustic[:, None] + told)
