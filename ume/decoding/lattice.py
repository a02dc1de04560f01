"""Words from CTC log-probabilities through k2: the best path of a lattice."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Dict, List

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ume.errors import UmeError

if TYPE_CHECKING:
    import k2


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
    """The best path of each stream through a graph; ``text`` turns its output labels into words.

    ``empty`` lists streams without any path; ``retried`` those whose lattice did not fit the
    memory and was made with smaller beams.
    """

    smallest_search_beam = 1.0

    def __init__(self, graph: "k2.Fsa", beams: Beams, text: Callable[[List[int]], str]) -> None:
        self.graph = graph
        self.beams = beams
        self.text = text
        self.empty: List[str] = []
        self.retried: List[str] = []

    def __call__(self, streams: Dict[str, Tensor]) -> Dict[str, str]:
        """Words of streams with log-probabilities (F', V), the longest first, none empty."""
        try:
            return self._best(streams, self.beams)
        except (RuntimeError, MemoryError):
            return {name: self._alone(name, log_probs) for name, log_probs in streams.items()}

    def _alone(self, name: str, log_probs: Tensor) -> str:
        """Words of one stream, with beams as small as memory asks for."""
        beams, reason = self.beams, ""
        while beams.search >= self.smallest_search_beam:
            try:
                return self._best({name: log_probs}, beams)[name]
            except (RuntimeError, MemoryError) as error:
                reason = " ".join(str(error).split())
                if name not in self.retried:
                    self.retried.append(name)
                beams = beams.halved()
        raise UmeError(f"no lattice of {name} with any beam, give the job more memory ({reason})")

    def _best(self, streams: Dict[str, Tensor], beams: Beams) -> Dict[str, str]:
        import k2

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
        best = k2.one_best_decoding(lattice)
        labels = k2.get_aux_labels(best)
        self.empty += [name for index, name in enumerate(streams) if not best[index].num_arcs]
        return {name: self.text(label) for name, label in zip(streams, labels, strict=True)}
