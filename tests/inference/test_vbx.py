"""VBx against sums over all paths, the paper's equations one by one, exact marginals, and AHC."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import multivariate_normal

from tests.inference.conversations import markov_sequence
from ume.inference.ahc import agglomerate, cosine_scores
from ume.inference.vbx import (
    Hmm,
    Speakers,
    expected_log_likelihoods,
    forward_backward,
    speaker_posteriors,
    vbx,
)

BETWEEN = np.linspace(4, 0.2, 16)  # (E,)
PLAIN = Hmm(fa=1, fb=1, loop=0.9)


def confusions(labels: np.ndarray, truth: np.ndarray) -> int:
    """Windows that the best pairing of labels and speakers leaves wrong."""
    together = np.zeros((labels.max() + 1, truth.max() + 1))
    np.add.at(together, (labels, truth), 1)
    return len(truth) - int(together[linear_sum_assignment(-together)].sum())


def paths(log_likelihoods, priors, loop):
    """Every path with its draws: speakers, speakers drawn, probability with the windows."""
    count, speakers = log_likelihoods.shape
    for path in product(range(speakers), repeat=count):
        for fresh in product([False, True], repeat=count - 1):
            probability = priors[path[0]]
            for before, now, drawn in zip(path, path[1:], fresh):
                stays = loop * (before == now)
                probability *= (1 - loop) * priors[now] if drawn else stays
            emitted = np.exp(sum(log_likelihoods[n, s] for n, s in enumerate(path)))
            draws = [path[0], *(s for s, drawn in zip(path[1:], fresh) if drawn)]
            yield path, draws, probability * emitted


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 3), st.floats(0, 0.99))
def test_forward_backward_is_the_sum_over_all_paths(seed, count, speakers, loop) -> None:
    rng = np.random.default_rng(seed)
    log_likelihoods = 2 * rng.normal(size=(count, speakers)) - 3
    priors = rng.dirichlet(np.ones(speakers))
    posteriors, draws, evidence = np.zeros((count, speakers)), np.zeros(speakers), 0.0
    for path, drawn, probability in paths(log_likelihoods, priors, loop):
        posteriors[range(count), path] += probability
        np.add.at(draws, drawn, probability)
        evidence += probability
    found = forward_backward(log_likelihoods, priors, loop)
    assert found.log_evidence == pytest.approx(np.log(evidence), abs=1e-10)
    np.testing.assert_allclose(np.exp(found.log_posteriors), posteriors / evidence, atol=1e-10)
    np.testing.assert_allclose(found.draws, draws / evidence, atol=1e-10)


def test_likelihoods_far_apart_neither_overflow_nor_vanish() -> None:
    log_likelihoods = np.zeros((50, 3))
    log_likelihoods[:25, 0] = log_likelihoods[25:, 1] = 5000
    found = forward_backward(log_likelihoods, np.array([0.5, 0.5, 0]), 0.9)
    assert np.isfinite(found.log_posteriors).all()
    assert found.log_posteriors.argmax(axis=1).tolist() == [0] * 25 + [1] * 25
    np.testing.assert_allclose(np.exp(found.log_posteriors).sum(axis=1), 1, rtol=1e-9)
    assert found.log_evidence == pytest.approx(50 * 5000 + np.log(0.5 * 0.95**48 * 0.05), abs=1e-6)


def test_updates_are_the_equations_of_the_paper() -> None:
    rng = np.random.default_rng(1)
    count, width, speakers = 7, 4, 3
    windows, between = rng.normal(size=(count, width)), rng.uniform(0.1, 5, size=width)
    posteriors = rng.dirichlet(np.ones(speakers), size=count)
    hmm = Hmm(fa=0.3, fb=17, loop=0.8)
    found = speaker_posteriors(windows, between, posteriors, hmm)
    likelihoods = expected_log_likelihoods(windows, between, found, hmm)
    loading = np.diag(np.sqrt(between))  # V of equation (5)
    for s in range(speakers):
        precision, mean = np.eye(width), np.zeros(width)
        for n in range(count):
            rho = loading.T @ windows[n]  # (18)
            precision = precision + hmm.fa / hmm.fb * posteriors[n, s] * np.diag(between)  # (17)
            mean = mean + hmm.fa / hmm.fb * posteriors[n, s] * rho
        covariance = np.linalg.inv(precision)
        mean = covariance @ mean  # (16)
        np.testing.assert_allclose(found.means[s], mean, rtol=1e-12)
        np.testing.assert_allclose(np.diag(found.variances[s]), covariance, atol=1e-12)
        for n in range(count):
            constant = -0.5 * (windows[n] @ windows[n] + width * np.log(2 * np.pi))
            second = np.trace(np.diag(between) @ (covariance + np.outer(mean, mean)))
            expected = hmm.fa * (mean @ loading.T @ windows[n] - 0.5 * second + constant)  # (23)
            assert likelihoods[n, s] == pytest.approx(expected, rel=1e-12)


def test_likelihoods_of_a_speaker_who_is_known_are_gaussian() -> None:
    rng = np.random.default_rng(2)
    windows, means = rng.normal(size=(5, 16)), rng.normal(size=(2, 16))
    known = Speakers(means, np.zeros((2, 16)))
    likelihoods = expected_log_likelihoods(windows, BETWEEN, known, Hmm(fa=1))
    for s in range(2):
        expected = multivariate_normal(means[s] * np.sqrt(BETWEEN)).logpdf(windows)
        np.testing.assert_allclose(likelihoods[:, s], expected, rtol=1e-12)


def test_the_bound_is_the_marginal_likelihood_where_there_is_one_speaker() -> None:
    rng = np.random.default_rng(3)
    windows, _ = markov_sequence(rng, BETWEEN, 1, 9, 0.9)
    found = vbx(windows, BETWEEN, np.zeros(9, dtype=int), PLAIN)
    exact = sum(
        multivariate_normal(np.zeros(9), np.eye(9) + variance).logpdf(windows[:, e])
        for e, variance in enumerate(BETWEEN)
    )
    assert found.elbos[-1] == pytest.approx(exact, rel=1e-10)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 60),
    speakers=st.integers(1, 4),
    clusters=st.integers(1, 6),
    hmm=st.builds(Hmm, st.floats(0.05, 1), st.floats(0.5, 80), st.floats(0, 0.99)),
)
def test_the_bound_never_falls(seed, count, speakers, clusters, hmm) -> None:
    rng = np.random.default_rng(seed)
    windows, _ = markov_sequence(rng, BETWEEN, speakers, count, 0.9)
    found = vbx(windows, BETWEEN, rng.integers(clusters, size=count), hmm)
    assert np.diff(found.elbos).min(initial=0) >= -1e-9 * abs(found.elbos[0])
    assert found.priors.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.exp(found.log_posteriors).sum(axis=1), 1, rtol=1e-8)


@pytest.mark.parametrize("speakers", [1, 2, 3, 5])
def test_speakers_of_the_model_itself_are_recovered(speakers) -> None:
    """From a start with three clusters a speaker, cut at random."""
    rng = np.random.default_rng(speakers)
    windows, truth = markov_sequence(rng, BETWEEN, speakers, 400, 0.95)
    start = 3 * truth + rng.integers(3, size=400)
    found = vbx(windows, BETWEEN, start, Hmm(0.3, 14, 0.9))
    labels = found.log_posteriors.argmax(axis=1)
    assert len(np.unique(labels)) == speakers
    assert confusions(labels, truth) <= 4  # of 400
    assert (found.priors > 0.01).sum() == speakers


def test_is_better_than_ahc_at_any_threshold_where_embeddings_are_noisy() -> None:
    """Errors of 12 sequences of 3 speakers; AHC has the threshold that is best for all of them."""
    offsets = (-0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.3)
    ahc, ours = np.zeros(len(offsets)), 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        windows, truth = markov_sequence(rng, BETWEEN / 4, 3, 200, 0.93)
        scores = cosine_scores(windows)
        starts = [agglomerate(scores, offset) for offset in offsets]
        ahc += [confusions(start, truth) for start in starts]
        found = vbx(windows, BETWEEN / 4, starts[-2], PLAIN)
        ours += confusions(found.log_posteriors.argmax(axis=1), truth)
    assert ours < 0.5 * ahc.min()
    assert ours < 0.05 * 12 * 200
