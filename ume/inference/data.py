"""A job's share of a manifest, in batches of similar length."""

from typing import Iterator, List, Tuple

from lhotse.cut import Cut

from ume.dataset.batch import MixtureBatch
from ume.dataset.loader import MixtureDataset, eval_batches, load
from ume.dataset.mixtures import read_cuts
from ume.jobs import of_job


def job_batches(
    path: str, max_duration: float, job: int, num_jobs: int
) -> Tuple[Iterator[MixtureBatch], List[Cut]]:
    """Every ``num_jobs``-th batch from the ``job``-th on, and the cuts in them.

    Batches, not cuts, are shared among the jobs: the last digits of a result depend on what a cut
    is padded with, so the batches must not depend on the number of jobs. Some jobs may get none.
    """
    cuts = sorted(read_cuts(path), key=lambda cut: (cut.duration, cut.id))
    own = of_job(eval_batches(cuts, max_duration), job, num_jobs)
    batches = load(MixtureDataset(cuts), [(0, batch) for batch in own], num_workers=0)
    return batches, [cuts[index] for batch in own for index in batch]
