"""The shares of jobs that a launcher starts side by side: ``--job J --num-jobs N``."""

from typing import List, Sequence, TypeVar

from ume.errors import UmeError

Item = TypeVar("Item")


def check_job(job: int, num_jobs: int, first: int = 1) -> None:
    """:class:`UmeError` unless there is such a job; job 0, where it is the ``first``, joins all."""
    if not first <= job <= num_jobs:
        raise UmeError(f"--job {job} is not between {first} and --num-jobs {num_jobs}")


def of_job(items: Sequence[Item], job: int, num_jobs: int) -> List[Item]:
    """Every ``num_jobs``-th item from the ``job``-th (from 1) on.

    >>> of_job("abcde", 2, 2)
    ['b', 'd']
    """
    check_job(job, num_jobs)
    return list(items[job - 1 :: num_jobs])
