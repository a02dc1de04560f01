"""Vector quantisation: product and residual codebooks, learned by running means."""

import math
from typing import List, NamedTuple, Optional

import torch
from torch import Tensor, distributed, nn

from ume.errors import UmeError

DECAY = 0.99
DEAD = 0.03  # uses a batch, as a running mean, below which an entry is put elsewhere


class Quantised(NamedTuple):
    """What a quantiser makes of vectors (..., D).

    values: (..., D), entries in place of the vectors; gradients pass as if nothing had been done.
    codes: (..., C) int64, the entry of each codebook.
    commitment: mean squared distance to the entries, for the loss; entries do not move by it.
    perplexity: (C,), entries in use of each codebook: exp of the entropy of this batch's codes.
    """

    values: Tensor
    codes: Tensor
    commitment: Tensor
    perplexity: Tensor


class Codebook(nn.Module):
    """Entries that follow the running mean of what they stand for (van den Oord et al. 2017).

    An entry that is hardly used any more is put on a random vector of the batch. There it counts
    little at first: it soon follows what it stands for, and is soon put elsewhere if that is none.

    Args:
        size: entries, V.
        width: D.
    """

    entries: Tensor
    counts: Tensor
    sums: Tensor
    begun: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("entries", torch.randn(size, width))
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("sums", self.entries.clone())
        self.register_buffer("begun", torch.zeros((), dtype=torch.uint8))  # gloo has no bool

    def codes(self, vectors: Tensor) -> Tensor:
        """The nearest entry (N,) of each of ``vectors`` (N, D)."""
        apart = self.entries.square().sum(dim=1) - 2 * vectors @ self.entries.T  # (N, V)
        return apart.argmin(dim=1)

    @torch.no_grad()
    def learn(self, vectors: Tensor, codes: Tensor) -> None:
        """Move the entries towards ``vectors`` (N, D) that have ``codes`` (N,).

        Vectors that are not finite, in any process, teach nothing: their step is skipped.
        """
        chosen = nn.functional.one_hot(codes, self.size).to(vectors)  # (N, V)
        counts, sums = mean_of_all(chosen.sum(dim=0)), mean_of_all(chosen.T @ vectors)
        if not sums.isfinite().all():
            return
        self.counts.lerp_(counts, 1 - DECAY)
        self.sums.lerp_(sums, 1 - DECAY)
        self.entries.copy_(self.sums / self.counts.clamp(min=1e-5)[:, None])
        usual = float(counts.sum()) / self.size
        self.place(vectors, self.counts < DEAD * usual, usual)

    @torch.no_grad()
    def place(self, vectors: Tensor, which: Tensor, usual: float) -> None:
        """Put the entries ``which`` (V,) on random ``vectors`` (N, D), the same in all processes.

        ``usual`` is how many vectors an entry stands for.
        """
        number = int(which.sum())
        if not number:
            return
        new = vectors[torch.randint(len(vectors), (number,), device=vectors.device)]
        if distributed.is_initialized():
            distributed.broadcast(new, src=0)
        uses = 2 * DEAD * usual  # it has ln 2 / (1 - DECAY) updates to be used
        self.entries[which] = new
        self.sums[which] = new * uses
        self.counts[which] = uses

    def forward(self, vectors: Tensor) -> Quantised:
        """``vectors`` (N, D), of frames that exist, in full precision."""
        if self.training and not self.begun and mean_of_all(vectors.detach().sum()).isfinite():
            everyone = torch.ones_like(self.counts, dtype=torch.bool)
            number = mean_of_all(vectors.new_tensor(float(len(vectors))))
            self.place(vectors.detach(), everyone, float(number) / self.size)
            self.begun.fill_(True)
        codes = self.codes(vectors.detach())
        values = self.entries[codes]
        if self.training:
            self.learn(vectors.detach(), codes)
        return Quantised(
            vectors + (values - vectors).detach(),
            codes[:, None],
            (vectors - values).square().mean(),
            perplexity(codes, self.size)[None],
        )


class ProductQuantiser(nn.Module):
    """A codebook for each of equal parts of the vectors (Jegou et al. 2011)."""

    def __init__(self, width: int, num_codebooks: int, size: int) -> None:
        super().__init__()
        if width % num_codebooks:
            raise UmeError(f"factors.width {width} must be a multiple of codebooks {num_codebooks}")
        self.books = nn.ModuleList(
            Codebook(size, width // num_codebooks) for _ in range(num_codebooks)
        )
        self.bits = num_codebooks * math.log2(size)
        """bits of a vector"""

    def forward(self, vectors: Tensor) -> Quantised:
        """``vectors`` (N, D)."""
        parts = vectors.chunk(len(self.books), dim=1)
        return joined([book(part) for book, part in zip(self.books, parts)])


class ResidualQuantiser(nn.Module):
    """Each codebook says what those before it left (Zeghidour et al. 2021, SoundStream)."""

    def __init__(self, width: int, num_codebooks: int, size: int) -> None:
        super().__init__()
        self.books = nn.ModuleList(Codebook(size, width) for _ in range(num_codebooks))
        self.bits = num_codebooks * math.log2(size)
        """bits of a vector"""

    def forward(self, vectors: Tensor, count: Optional[int] = None) -> Quantised:
        """``vectors`` (N, D), by the first ``count`` codebooks or all; all learn in any case."""
        left, found = vectors, []
        for book in self.books if self.training else self.books[:count]:
            found.append(book(left))
            left = left - found[-1].values.detach()
        whole = joined(found[:count])
        values = torch.stack([each.values.detach() for each in found[:count]]).sum(dim=0)
        return whole._replace(values=vectors + (values - vectors).detach())


def mean_of_all(value: Tensor) -> Tensor:
    """The mean of all processes' ``value``."""
    if distributed.is_initialized():
        distributed.all_reduce(value)
        value = value / distributed.get_world_size()
    return value


def joined(found: List[Quantised]) -> Quantised:
    """Several codebooks' answers as one, values side by side."""
    values, codes, commitment, used = zip(*found)
    return Quantised(
        torch.cat(values, dim=1),
        torch.cat(codes, dim=1),
        torch.stack(commitment).sum(),
        torch.cat(used),
    )


def perplexity(codes: Tensor, size: int) -> Tensor:
    """Exp of the entropy of ``codes`` (N,), from 1 (one entry does all) to ``size``."""
    shares = torch.bincount(codes, minlength=size) / max(len(codes), 1)
    return (-(shares * shares.clamp(min=1e-12).log()).sum()).exp()
