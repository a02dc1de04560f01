"""A job's share of a manifest, in batches of similar length."""

from typing import Iterator, Tuple

from ume.dataset.batch import MixtureBatch
from ume.dataset.loader import make_eval_loader
from ume.dataset.mixtures import read_cuts
from ume.errors import UmeError


def job_batches(
    path: str, max_duration: float, job: int, num_jobs: int
) -> Tuple[Iterator[MixtureBatch], int]:
    """Batches of every ``num_jobs``-th cut from the ``job``-th on, and their number of cuts."""
    if not 1 <= job <= num_jobs:
        raise UmeError(f"--job {job} is not within 1 .. --num-jobs {num_jobs}")
    cuts = sorted(read_cuts(path)[job - 1 :: num_jobs], key=lambda cut: (cut.duration, cut.id))
    if not cuts:
        raise UmeError(f"{path} has fewer cuts than --num-jobs {num_jobs}; use fewer jobs")
    return make_eval_loader(cuts, max_duration), len(cuts)
