"""Arithmetic by one thread."""

from contextlib import contextmanager
from typing import Iterator

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside the ``with`` block, and in processes that are forked there.

    Sums depend on the number of threads in their last digits.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
