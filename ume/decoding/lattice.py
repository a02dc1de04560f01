"""Words from CTC log-probabilities through k2: lattices, made to fit, and what reads them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Dict, List, Optional

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ume.errors import UmeError

if TYPE_CHECKING:
    import k2

Labels = List[int]
Reader = Callable[["k2.Fsa", List[str]], List[List[Labels]]]
"""The lattices of B streams and their names to labels [B][N]: N answers for each stream, one for
every setting of what it weighs; no labels where a lattice has no path."""


def best_paths(lattice: "k2.Fsa", names: List[str]) -> List[List[Labels]]:
    """The reader that takes the path of highest score."""
    import k2

    return [[labels] for labels in k2.get_aux_labels(k2.one_best_decoding(lattice))]


@dataclass(frozen=True)
class Beams:
    """What k2's pruned intersection keeps: beams in natural log, active states per frame."""

    search: float
    output: float
    min_active: int
    max_active: int

    def halved(self) -> "Beams":
        return Beams(
            self.search / 2, self.output / 2, self.min_active, max(1, self.max_active // 2)
        )


class LatticeDecoder:
    """Streams to words: lattices through a graph, of which ``reader`` takes labels.

    ``text`` turns labels into words, ``rescore`` (if any) a lattice into one of other scores.
    ``empty`` lists streams without any path; ``retried`` those whose lattice did not fit the
    memory and was made with smaller beams; ``pruned`` those whose lattice had more than
    ``max_arcs`` arcs and lost the least probable ones.
    """

    smallest_search_beam = 1.0

    def __init__(
        self,
        graph: "k2.Fsa",
        beams: Beams,
        text: Callable[[Labels], str],
        reader: Reader = best_paths,
        rescore: Optional[Callable[["k2.Fsa"], "k2.Fsa"]] = None,
        max_arcs: float = float("inf"),
    ) -> None:
        self.graph = graph
        self.beams = beams
        self.text = text
        self.reader = reader
        self.rescore = rescore
        self.max_arcs = max_arcs
        self.empty: List[str] = []
        self.retried: List[str] = []
        self.pruned: List[str] = []

    @property
    def long(self) -> List[str]:
        """Streams that were too long for what the reader asks."""
        return getattr(self.reader, "long", [])

    def __call__(self, streams: Dict[str, Tensor]) -> Dict[str, str]:
        """Words of streams by the reader's first setting; see :meth:`at_settings`."""
        return {name: texts[0] for name, texts in self.at_settings(streams).items()}

    def at_settings(self, streams: Dict[str, Tensor]) -> Dict[str, List[str]]:
        """Words, at each of the reader's settings, of streams with log-probabilities (F', V).

        The longest stream comes first, and none is empty.
        """
        try:
            return self._read(streams, self.beams)
        except (RuntimeError, MemoryError):
            return {name: self._alone(name, log_probs) for name, log_probs in streams.items()}

    def _alone(self, name: str, log_probs: Tensor) -> List[str]:
        """Words of one stream, with beams as small as memory asks for."""
        beams, reason = self.beams, ""
        while beams.search >= self.smallest_search_beam:
            try:
                return self._read({name: log_probs}, beams)[name]
            except (RuntimeError, MemoryError) as error:
                reason = " ".join(str(error).split())
                if name not in self.retried:
                    self.retried.append(name)
                beams = beams.halved()
        raise UmeError(f"no lattice of {name} with any beam, give the job more memory ({reason})")

    def _read(self, streams: Dict[str, Tensor], beams: Beams) -> Dict[str, List[str]]:
        import k2

        names = list(streams)
        log_probs = list(streams.values())
        lattice = k2.get_lattice(
            pad_sequence(log_probs, batch_first=True),  # (B, F', V)
            torch.tensor([len(frames) for frames in log_probs]),
            self.graph,
            search_beam=beams.search,
            output_beam=beams.output,
            min_active_states=beams.min_active,
            max_active_states=beams.max_active,
        )
        lattice, pruned = self._fit(lattice, names)
        if self.rescore:
            lattice = self.rescore(lattice)
        answers = self.reader(lattice, names)
        self.empty += [name for name, arcs in zip(names, num_arcs(lattice)) if not arcs]
        self.pruned += pruned
        return {
            name: [self.text(labels) for labels in each]
            for name, each in zip(names, answers, strict=True)
        }

    def _fit(self, lattice: "k2.Fsa", names: List[str]) -> "tuple[k2.Fsa, List[str]]":
        """The lattices with ``max_arcs`` at most, and the names of those that had more.

        Each is pruned by itself, so that what is left does not depend on the others.
        """
        import k2

        large = [index for index, arcs in enumerate(num_arcs(lattice)) if arcs > self.max_arcs]
        if not large:
            return lattice, []
        single = [lattice[index] for index in range(len(names))]
        for index in large:
            single[index] = prune(single[index], self.max_arcs)
        return k2.create_fsa_vec(single), [names[index] for index in large]


def num_arcs(lattice: "k2.Fsa") -> List[int]:
    """The number of arcs of each lattice."""
    per_state = lattice.arcs.shape()  # [lattice][state][arc]
    return per_state.row_splits(2)[per_state.row_splits(1).long()].diff().tolist()


def prune(lattice: "k2.Fsa", max_arcs: float) -> "k2.Fsa":
    """A single lattice without its least probable arcs, as few as need be in powers of ten."""
    import k2

    for exponent in range(10, 0, -1):
        if lattice.num_arcs <= max_arcs:
            break
        lattice = k2.prune_on_arc_post(k2.create_fsa_vec([lattice]), 10.0**-exponent, True)[0]
    return lattice
