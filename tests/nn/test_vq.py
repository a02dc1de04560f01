"""Quantisers: nearest entries, gradients, dead entries, what is in use."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from ume.nn.vq import Codebook, ProductQuantiser, ResidualQuantiser, perplexity


def clusters(count: int, width: int, each: int = 50) -> torch.Tensor:
    torch.manual_seed(0)
    centres = 10 * torch.randn(count, 1, width)
    return (centres + 0.1 * torch.randn(count, each, width)).flatten(0, 1)


def test_entries_find_the_clusters_and_the_dead_come_back() -> None:
    vectors = clusters(8, 4)
    torch.manual_seed(1)
    book = Codebook(24, 4)
    book(vectors)
    book.entries[:20] = 1e3  # nobody is near
    book.sums[:20] = 1e3
    for _ in range(600):  # their counts, those of living entries, have to fade
        found = book(vectors[torch.randperm(len(vectors))[:200]])
    assert book.entries.abs().max() < 100 and found.perplexity > 12
    assert found.commitment < 0.02  # the spread of a cluster is 0.01
    book.eval()
    before = book.entries.clone()
    again = book(vectors)
    assert torch.equal(book.entries, before)
    nearest = torch.cdist(vectors, book.entries).argmin(dim=1)
    assert torch.equal(again.codes[:, 0], nearest)
    torch.testing.assert_close(again.values, book.entries[nearest])


def test_a_step_that_is_not_finite_teaches_nothing() -> None:
    vectors = clusters(8, 4)
    broken = vectors.clone()
    broken[3, 1] = float("nan")
    book = Codebook(8, 4)
    book(broken)  # the very first, which would be what entries begin with
    assert not book.begun
    book(vectors)
    before = {name: buffer.clone() for name, buffer in book.named_buffers()}
    book(broken)
    assert all(torch.equal(buffer, before[name]) for name, buffer in book.named_buffers())
    assert book(vectors).values.isfinite().all()


def test_gradients_pass_as_if_nothing_had_been_done() -> None:
    quantiser = ProductQuantiser(6, 3, 4).eval()
    vectors = torch.randn(10, 6, requires_grad=True)
    found = quantiser(vectors)
    assert found.codes.shape == (10, 3) and quantiser.bits == 6
    weight = torch.randn(10, 6)
    (found.values * weight).sum().backward()
    torch.testing.assert_close(vectors.grad, weight)
    for part, book in enumerate(quantiser.books):
        torch.testing.assert_close(
            found.values[:, 2 * part : 2 * part + 2].detach(), book.entries[found.codes[:, part]]
        )


def test_every_further_codebook_leaves_less() -> None:
    torch.manual_seed(0)
    vectors, left = torch.randn(500, 8), []
    for number in (1, 2, 4):
        quantiser = ResidualQuantiser(8, number, 16)
        for _ in range(60):
            quantiser(vectors)
        found = quantiser.eval()(vectors)
        assert found.codes.shape == (500, number) and quantiser.bits == 4 * number
        left.append((found.values - vectors).square().mean().item())
    assert 1 > left[0] > left[1] > left[2] > 0


def test_all_residual_codebooks_are_in_use_soon_however_many_are_read() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(4000, 16) @ torch.randn(16, 16).cumsum(dim=1)
    quantiser = ResidualQuantiser(16, 6, 32)
    for update in range(250):
        batch = vectors[torch.randint(len(vectors), (600,))]
        found = quantiser(batch, 1 + update % 6)
        assert found.codes.shape[1] == 1 + update % 6
    whole = quantiser.eval()(vectors)
    assert whole.perplexity.min() > 0.7 * 32
    first = quantiser(vectors, 2)
    expected = sum(quantiser.books[k].entries[whole.codes[:, k]] for k in range(2))
    torch.testing.assert_close(first.values, expected)


def test_perplexity_counts_entries_in_use() -> None:
    assert perplexity(torch.arange(8).repeat(3), 8).item() == pytest.approx(8)
    assert perplexity(torch.zeros(20).long(), 8).item() == pytest.approx(1)


def learn_in_one_of_two(rank: int, folder: str) -> None:
    distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", timedelta(seconds=60), rank=rank, world_size=2
    )
    torch.manual_seed(rank)
    book = Codebook(8, 3)
    for _ in range(3):
        book(torch.randn(400 if rank else 40, 3))
    torch.save(book.state_dict(), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()  # or gloo's threads may end the process with SIGABRT


def test_processes_with_more_and_less_to_say_have_the_same_entries(tmp_path: Path) -> None:
    multiprocessing.spawn(learn_in_one_of_two, (str(tmp_path),), 2)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
