"""PLDA of speaker embeddings: two covariances, between speakers and within, made diagonal together.

An embedding is centred, projected by LDA, scaled to one length, then taken for
``x = mean + y + e`` with the speaker ``y ~ N(0, B)`` and the rest ``e ~ N(0, W)``. In the basis in
which W is the identity and B diagonal, VBx and the scores work dimension by dimension.

Letters: N embeddings, D their width, E that after LDA, K speakers of a training set.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from scipy.linalg import eigh

from ume.errors import UmeError
from ume.files import existing, write_bytes

ITERATIONS = 20  # of EM; from the moments it has settled by then


@dataclass(frozen=True)
class Plda:
    """A trained model and the way of an embedding to it."""

    centre: np.ndarray
    """(D,): mean of the embeddings as they come."""
    lda: np.ndarray
    """(D, E): projection before the scaling to one length."""
    mean: np.ndarray
    """(E,): mean of the scaled embeddings."""
    transform: np.ndarray
    """(E, E): to the basis in which the covariance within speakers is the identity."""
    between: np.ndarray
    """(E,): variances between speakers there, falling."""

    def normalise(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) centred, projected, of length sqrt(E), centred again: (N, E)."""
        if embeddings.shape[1] != len(self.centre):
            raise UmeError(
                f"PLDA is of embeddings of width {len(self.centre)} and these have "
                f"{embeddings.shape[1]}; train it on the same model"
            )
        return _scale((embeddings - self.centre) @ self.lda) - self.mean

    def project(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) to (N, E), of variance 1 within and ``between`` between speakers."""
        return self.normalise(embeddings) @ self.transform

    def scores(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Log likelihood ratio of one speaker against two, of every pair of two projections.

        Args:
            one, other: ``(N, E)`` and ``(M, E)``, of :meth:`project`.

        Returns:
            ``(N, M)``, in nats.
        """
        total, joint = 1 + self.between, 1 + 2 * self.between
        square = -0.5 * self.between**2 / (total * joint)  # of each coordinate squared
        constant = np.sum(np.log(total) - 0.5 * np.log(joint))
        alone = [projected**2 @ square for projected in (one, other)]  # (N,), (M,)
        return (one * (self.between / joint)) @ other.T + np.add.outer(*alone) + constant

    def save(self, path: Union[str, Path]) -> None:
        """Write the model as safetensors, at once."""
        tensors = {name: np.ascontiguousarray(tensor) for name, tensor in asdict(self).items()}
        write_bytes(path, save(tensors))

    @classmethod
    def read(cls, path: Union[str, Path]) -> "Plda":
        """The model that :meth:`save` wrote."""
        try:
            tensors = load_file(existing(path))
            return cls(**{field.name: tensors[field.name] for field in fields(cls)})
        except (SafetensorError, KeyError):
            raise UmeError(f"{path} is no PLDA model; train it again") from None


class Covariances(NamedTuple):
    """The two-covariance model: mean (E,), covariance between speakers and within (E, E)."""

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray


class Statistics(NamedTuple):
    """What the model is estimated from."""

    counts: np.ndarray
    """(K,): embeddings of each speaker."""
    means: np.ndarray
    """(K, E)."""
    scatter: np.ndarray
    """(E, E): squared deviations from the speaker's mean, summed."""


def train_plda(
    embeddings: np.ndarray, speakers: Sequence[str], lda_width: Optional[int] = None
) -> Plda:
    """Train on embeddings (N, D) of known speakers (N,); without ``lda_width`` there is no LDA.

    Raises :class:`UmeError` where there are too few of them.
    """
    width = embeddings.shape[1]
    centre = embeddings.mean(axis=0)  # (D,)
    lda = np.eye(width)
    if lda_width is not None:
        _, between, within = moments(statistics(embeddings, speakers))
        lda = diagonalise(between, within)[0][:, :lda_width]  # (D, E)
    scaled = _scale((embeddings - centre) @ lda)  # (N, E)
    mean, between, within = two_covariances(statistics(scaled, speakers))
    transform, variances = diagonalise(between, within)
    return Plda(centre, lda, mean, transform, variances)


def cosine_plda(width: int, cosine: float) -> Plda:
    """The model of spheres, where none is trained: embeddings as they come, of ``width``.

    ``cosine`` (between 0 and 1) is that of two embeddings of one speaker, on average; those of two
    speakers are orthogonal, on average. The scores then rise with the cosine.
    """
    centre, axes = np.zeros(width), np.eye(width)
    between = np.full(width, cosine / (1 - cosine))
    return Plda(centre, axes, centre, axes / np.sqrt(1 - cosine), between)


def statistics(embeddings: np.ndarray, speakers: Sequence[str]) -> Statistics:
    """Statistics of embeddings (N, E) of known speakers (N,)."""
    _, index, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), embeddings.shape[1]))  # (K, E)
    np.add.at(means, index, embeddings)
    means /= counts[:, None]
    rest = embeddings - means[index]  # (N, E)
    needed = embeddings.shape[1] + len(counts)
    if len(counts) < 2 or len(embeddings) < needed:
        raise UmeError(
            f"{len(embeddings)} embeddings of {len(counts)} speakers are too few for PLDA of "
            f"{embeddings.shape[1]} dimensions: give {needed} of 2 speakers or more, or use LDA"
        )
    return Statistics(counts, means, rest.T @ rest)


def moments(stats: Statistics) -> Covariances:
    """Pooled covariance within speakers, and that of the speakers' means."""
    within = stats.scatter / (stats.counts.sum() - len(stats.counts))
    mean = stats.means.mean(axis=0)
    return Covariances(mean, np.atleast_2d(np.cov(stats.means.T, bias=True)), within)


def two_covariances(stats: Statistics, iterations: int = ITERATIONS) -> Covariances:
    """The model of (locally) greatest likelihood, by EM from the :func:`moments`.

    The posterior of a speaker of n embeddings of mean x is, in the diagonal basis and with the
    variance b between speakers, ``N(n b x / (1 + n b), b / (1 + n b))``.
    """
    model = moments(stats)
    counts = stats.counts[:, None]  # (K, 1)
    total = counts.sum()
    for _ in range(iterations):
        transform, variances = diagonalise(model.between, model.within)
        back = np.linalg.inv(transform)
        means = (stats.means - model.mean) @ transform  # (K, E)
        spread = variances / (1 + counts * variances)  # (K, E), the posteriors' variances
        expected = counts * spread * means  # (K, E), their means
        rest = means - expected  # (K, E)
        shift = (counts * rest).sum(axis=0) / total  # (E,)
        rest -= shift
        between = expected.T @ expected + np.diag(spread.sum(axis=0))
        within = (counts * rest).T @ rest + np.diag((counts * spread).sum(axis=0))
        model = Covariances(
            model.mean + shift @ back,
            back.T @ (between / len(counts)) @ back,
            (stats.scatter + back.T @ within @ back) / total,
        )
    return model


def diagonalise(between: np.ndarray, within: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The basis (E, E) in which ``within`` is the identity and ``between`` diagonal, and that (E,).

    Raises :class:`UmeError` where ``within`` is singular.
    """
    try:
        variances, transform = eigh(between, within)
    except np.linalg.LinAlgError:
        raise UmeError(
            "the covariance within speakers is singular: give more embeddings of each, or use LDA"
        ) from None
    return transform[:, ::-1], variances[::-1].clip(min=0)


def _scale(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, E) scaled to the length sqrt(E); those of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # (N, 1)
    return vectors * (np.sqrt(vectors.shape[1]) / np.maximum(lengths, np.finfo(float).tiny))
