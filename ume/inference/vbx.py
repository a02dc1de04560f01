"""VBx: Bayesian HMM clustering of a sequence of speaker embeddings.

F. Landini, J. Profant, M. Diez, L. Burget, "Bayesian HMM clustering of x-vector sequences (VBx)
in speaker diarization: theory, implementation and analysis on standard tasks", Computer Speech &
Language 71, 2022 (arXiv 2012.14952); numbers of equations are those of this paper.

Letters: N windows in order of time, E dimensions, S speakers.
"""

from dataclasses import dataclass
from typing import List, NamedTuple

import numpy as np

SMOOTHING = 5.0  # nats by which a window's first speaker is ahead of the others at the start
MAX_ITERATIONS = 40
TOLERANCE = 1e-6  # nats: the ELBO has converged


@dataclass(frozen=True)
class Hmm:
    """What is chosen of the model."""

    fa: float = 0.4
    """Scale of the likelihoods, below 1 since neighbouring windows are not independent."""
    fb: float = 64.0
    """Scale of the speakers' prior: the higher, the fewer speakers."""
    loop: float = 0.65
    """Probability, below 1, that the next window keeps the speaker without a new draw."""


class Speakers(NamedTuple):
    """Posteriors of the speakers' embeddings, diagonal Gaussians."""

    means: np.ndarray
    """(S, E), of the speakers' latent variables; times sqrt(between), of their embeddings."""
    variances: np.ndarray
    """(S, E), of the latent variables."""


class Occupation(NamedTuple):
    """What forward-backward finds."""

    log_posteriors: np.ndarray
    """(N, S): of speaker s in window n."""
    log_evidence: float
    """Of all windows."""
    draws: np.ndarray
    """(S,): how often speaker s is drawn from the priors, in expectation; the start is a draw."""


@dataclass(frozen=True)
class Clusters:
    """What VBx finds."""

    log_posteriors: np.ndarray
    """(N, S): log responsibilities of the speakers for the windows."""
    priors: np.ndarray
    """(S,): of speakers that are not needed they go to zero."""
    elbos: List[float]
    """Of every iteration, in nats; they never fall."""


def vbx(windows: np.ndarray, between: np.ndarray, labels: np.ndarray, hmm: Hmm) -> Clusters:
    """Cluster embeddings by speaker; speakers may be given up, but none is added.

    Args:
        windows: ``(N, E)``, N > 0, of mean 0 and variance 1 within speakers
            (:meth:`ume.inference.plda.Plda.project`).
        between: ``(E,)``, variances between speakers.
        labels: ``(N,)``, a first clustering, with labels from 0.
    """
    start = SMOOTHING * np.eye(labels.max() + 1)[labels]  # (N, S)
    posteriors = np.exp(start) / np.exp(start).sum(axis=1, keepdims=True)
    priors = np.full(start.shape[1], 1 / start.shape[1])  # (S,)
    elbos: List[float] = []
    for _ in range(MAX_ITERATIONS):
        speakers = speaker_posteriors(windows, between, posteriors, hmm)
        likelihoods = expected_log_likelihoods(windows, between, speakers, hmm)
        occupation = forward_backward(likelihoods, priors, hmm.loop)
        elbos.append(occupation.log_evidence - hmm.fb * divergence(speakers))  # (25)
        posteriors = np.exp(occupation.log_posteriors)
        priors = occupation.draws / occupation.draws.sum()  # (24)
        if len(elbos) > 1 and elbos[-1] - elbos[-2] < TOLERANCE:
            break
    return Clusters(occupation.log_posteriors, priors, elbos)


def speaker_posteriors(
    windows: np.ndarray, between: np.ndarray, posteriors: np.ndarray, hmm: Hmm
) -> Speakers:
    """Speakers, given the windows' posteriors (N, S): equations (16) to (18)."""
    ratio = hmm.fa / hmm.fb
    variances = 1 / (1 + ratio * np.outer(posteriors.sum(axis=0), between))  # (S, E)
    means = ratio * variances * (posteriors.T @ (windows * np.sqrt(between)))  # (S, E)
    return Speakers(means, variances)


def expected_log_likelihoods(
    windows: np.ndarray, between: np.ndarray, speakers: Speakers, hmm: Hmm
) -> np.ndarray:
    """Scaled log likelihoods (N, S) of the windows under uncertain speakers: equation (23)."""
    alone = -0.5 * np.sum(windows**2 + np.log(2 * np.pi), axis=1, keepdims=True)  # (N, 1)
    second_moments = speakers.variances + speakers.means**2  # (S, E)
    cross = (windows * np.sqrt(between)) @ speakers.means.T  # (N, S)
    return hmm.fa * (alone + cross - 0.5 * second_moments @ between)


def divergence(speakers: Speakers) -> float:
    """Kullback-Leibler divergence (nats) of the speakers from their prior, N(0, 1); see (25)."""
    means, variances = speakers
    return 0.5 * float(np.sum(means**2 + variances - np.log(variances) - 1))


def forward_backward(log_likelihoods: np.ndarray, priors: np.ndarray, loop: float) -> Occupation:
    """Posteriors of a chain that stays with ``loop``, and else draws from ``priors``: (19) to (22).

    The chain (1) is reversible and ``priors`` are its stationary distribution. So the backward
    variables times the priors are forward predictions of the reversed sequence, and both passes
    are one recursion.

    Args:
        log_likelihoods: ``(N, S)``, N > 0.
        priors: ``(S,)``.
        loop: at least 0 and below 1.
    """
    priors = np.maximum(priors, np.finfo(float).tiny)
    jump = (1 - loop) * priors  # (S,)
    both = np.stack([log_likelihoods, log_likelihoods[::-1]], axis=1)  # (N, 2, S)
    predictions = np.empty_like(both)  # of window n, from those before it
    prediction = np.log(priors)
    for n, likelihoods in enumerate(both):
        predictions[n] = prediction
        state = prediction + likelihoods  # (2, S)
        peak = state.max(axis=1, keepdims=True)  # (2, 1)
        scaled = np.exp(state - peak)
        prediction = peak + np.log(loop * scaled + jump * scaled.sum(axis=1, keepdims=True))
    forward = predictions[:, 0] + log_likelihoods  # (N, S), equation (20)
    backward = predictions[::-1, 1] - np.log(priors)  # (N, S), equation (21)
    evidence = np.logaddexp.reduce(forward[-1])  # (22)
    before = np.logaddexp.reduce(forward[:-1], axis=1)[:, None]  # (N - 1, 1)
    drawn = np.exp(before + np.log(jump) + (log_likelihoods + backward)[1:] - evidence)
    log_posteriors = forward + backward - evidence  # (N, S), equation (19)
    draws = np.exp(log_posteriors[0]) + drawn.sum(axis=0)
    return Occupation(log_posteriors, float(evidence), draws)
