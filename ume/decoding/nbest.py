"""Word sequences drawn from lattices by their probability, and the choice among them."""

from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, NamedTuple, Tuple

import kaldialign
import torch
from torch import Tensor

from ume.decoding.lattice import Labels

if TYPE_CHECKING:
    import k2


class Scales(NamedTuple):
    """Factors on what a sequence is worth beside its acoustics."""

    lm: float = 1.0
    attention: float = 0.0


class Nbest:
    """The distinct word sequences among ``num_paths`` paths of each of B lattices, R in all.

    As icefall does: paths are drawn by their scores times ``nbest_scale``, and the score of a
    sequence is the best one that the lattice has for it. ``words`` are the sequences, lattice by
    lattice, and ``owners`` (R,) the lattices that they are of.
    """

    def __init__(self, lattice: "k2.Fsa", num_paths: int, nbest_scale: float) -> None:
        import k2

        drawn = k2.Nbest.from_lattice(lattice, num_paths, nbest_scale=nbest_scale)
        self.lattice = lattice
        self.words: List[Labels] = k2.get_aux_labels(drawn.fsa)
        self.owners: Tensor = drawn.shape.row_ids(1)

    def best_in(self, graph: "k2.Fsa", owners: Tensor) -> "k2.Fsa":
        """Best path of each sequence through the graph of ``owners`` (R,); its labels are words."""
        import k2

        lines = k2.add_epsilon_self_loops(k2.linear_fsa(self.words))
        paths = k2.intersect_device(graph, lines, owners, sorted_match_a=True)
        return k2.shortest_path(k2.top_sort(k2.connect(paths)), use_double_scores=True)

    def in_lattice(self) -> Tuple[Tensor, Tensor]:
        """Scores (R,) of acoustics and of ``lm_scores``, of the best path of each sequence."""
        import k2

        if not self.words:  # of which k2 makes no vector of graphs
            return torch.zeros(0).double(), torch.zeros(0).double()
        best = self.best_in(k2.arc_sort(k2.invert(self.lattice)), self.owners)
        total = best.get_tot_scores(use_double_scores=True, log_semiring=False)
        arcs = best.arcs.shape().remove_axis(1)  # [path][arc]
        lm = k2.RaggedTensor(arcs, best.lm_scores.contiguous()).sum().double()
        return total - lm, lm

    def in_grammar(self, grammar: "k2.Fsa") -> Tensor:
        """Scores (R,) of an n-gram; -inf of a sequence with a word that it lacks."""
        if not self.words:
            return torch.zeros(0).double()
        best = self.best_in(grammar, torch.zeros_like(self.owners))
        return best.get_tot_scores(use_double_scores=True, log_semiring=False)

    def by_lattice(self, scores: Tensor) -> Iterator[Tuple[List[Labels], Tensor]]:
        """The sequences of each lattice, and what ``scores`` (R, ...) has of them."""
        counts = torch.bincount(self.owners, minlength=self.lattice.shape[0]).tolist()
        first = 0
        for count in counts:
            yield self.words[first : first + count], scores[first : first + count]
            first += count

    def choose(self, scores: Tensor) -> List[List[Labels]]:
        """The sequence of highest score of each lattice, for each setting of (R, N)."""
        return [
            [words[index] if words else [] for index in indices(each)]
            for words, each in self.by_lattice(scores)
        ]


def indices(scores: Tensor) -> List[int]:
    """The row of highest score in each column of (R', N); 0 where there are no rows."""
    return scores.argmax(dim=0).tolist() if len(scores) else [0] * scores.shape[1]


Draw = Callable[["k2.Fsa"], Nbest]


class BestOfNbest:
    """The reader that takes the sequence of highest score."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw

    def __call__(self, lattice: "k2.Fsa", names: List[str]) -> List[List[Labels]]:
        nbest = self.draw(lattice)
        acoustic, lm = nbest.in_lattice()
        return nbest.choose((acoustic + lm)[:, None])


class Oracle:
    """The reader that takes the sequence of fewest errors, the likelier one of equals.

    ``references`` are the words of each stream.
    """

    def __init__(
        self, draw: Draw, symbols: Dict[int, str], references: Dict[str, List[str]]
    ) -> None:
        self.draw, self.symbols, self.references = draw, symbols, references

    def __call__(self, lattice: "k2.Fsa", names: List[str]) -> List[List[Labels]]:
        nbest = self.draw(lattice)
        acoustic, lm = nbest.in_lattice()
        found = []
        for name, (sequences, scores) in zip(names, nbest.by_lattice(acoustic + lm), strict=True):
            ranks = (
                (self.errors(name, words), -score)
                for words, score in zip(sequences, scores.tolist(), strict=True)
            )
            found.append([min(zip(ranks, sequences), default=(None, []))[1]])
        return found

    def errors(self, name: str, words: Labels) -> int:
        """Insertions, deletions and substitutions of a sequence."""
        heard = [self.symbols[word] for word in words]
        return kaldialign.edit_distance(self.references[name], heard)["total"]
