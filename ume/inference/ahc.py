"""Agglomerative clustering of speaker embeddings: what VBx starts from."""

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.special import expit

BINS = 1000  # of the histogram of scores that the Gaussians are fitted to
ITERATIONS = 100  # of EM
ALIKE = 1e-6  # scores that differ by less differ by rounding


def cosine_scores(vectors: np.ndarray) -> np.ndarray:
    """Cosines (N, N) of every two of ``vectors`` (N, E)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # (N, 1)
    unit = vectors / np.maximum(lengths, np.finfo(float).tiny)
    return unit @ unit.T


def agglomerate(scores: np.ndarray, offset: float) -> np.ndarray:
    """Cluster by average linkage; what is alike has high ``scores`` (N, N), symmetric.

    Clusters are joined while their score is at least ``offset`` above the threshold that
    :func:`calibrate` finds; with less than three vectors, where there is none, never. Returns
    labels (N,) from 0. Takes O(N^2) memory and time.
    """
    count = len(scores)
    if count < 3:
        return np.arange(count)
    pairs = squareform(scores, checks=False)  # (N (N - 1) / 2,)
    best = pairs.max()
    threshold = calibrate(pairs) + offset
    tree = linkage(best - pairs, "average")
    return fcluster(tree, best - threshold, "distance") - 1


def calibrate(scores: np.ndarray) -> float:
    """Score at which one speaker is as likely as two, of the scores (P,) of a recording's pairs.

    Two Gaussians of one variance are fitted by EM; the scores of one speaker are the higher ones.
    """
    if np.ptp(scores) < ALIKE:
        return float(scores.min())
    weights, edges = np.histogram(scores, BINS)
    weights = weights / len(scores)  # (BINS,)
    values = (edges[:-1] + edges[1:]) / 2  # (BINS,)
    mean = weights @ values
    variance = weights @ (values - mean) ** 2
    floor = (edges[1] - edges[0]) ** 2 / 12  # the histogram tells nothing finer
    means = mean + np.array([-1, 1]) * np.sqrt(variance)
    middle, slope = mean, (means[1] - means[0]) / variance
    for _ in range(ITERATIONS):
        high = expit(slope * (values - middle))  # (BINS,) posterior of the higher Gaussian
        joint = weights * np.stack([1 - high, high])  # (2, BINS)
        share = joint.sum(axis=1)  # (2,)
        means = joint @ values / share
        variance = np.sum(joint * (values - means[:, None]) ** 2) + floor
        slope = (means[1] - means[0]) / variance
        middle = means.mean() + np.log(share[0] / share[1]) / slope
    return float(middle)
