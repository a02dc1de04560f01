"""Agglomerative clustering, and the threshold that is found in a recording's own scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from ume.inference.ahc import agglomerate, calibrate, cosine_scores


def test_the_threshold_is_where_two_gaussians_cross() -> None:
    rng = np.random.default_rng(0)
    scores = np.r_[rng.normal(0.1, 0.1, size=70000), rng.normal(0.7, 0.1, size=30000)]
    expected = 0.4 + 0.01 / 0.6 * np.log(0.7 / 0.3)
    assert calibrate(scores) == pytest.approx(expected, abs=0.005)


def test_the_gaussians_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    scores = np.r_[rng.normal(0, 1, size=3000), rng.normal(3, 1.3, size=2000)]
    mixture = GaussianMixture(2, covariance_type="tied", tol=1e-9, max_iter=1000, random_state=0)
    mixture.fit(scores[:, None])
    higher = mixture.predict_proba([[calibrate(scores)]])[0]
    np.testing.assert_allclose(higher, 0.5, atol=0.02)


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_there_always_is_a_threshold(scores) -> None:
    assert np.isfinite(calibrate(np.array(scores)))


@pytest.mark.parametrize("sizes", [(20, 20, 20), (40, 3, 3), (5, 5)])
def test_speakers_who_are_far_apart_are_found(sizes) -> None:
    rng = np.random.default_rng(2)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    rng.shuffle(truth)
    means = 5 * np.eye(8)[: len(sizes)]
    vectors = means[truth] + rng.normal(size=(len(truth), 8)) * 0.3
    labels = agglomerate(cosine_scores(vectors), 0.0)
    assert sorted(np.unique(labels)) == list(range(len(sizes)))
    assert len(np.unique(truth * len(sizes) + labels)) == len(sizes)  # one label each


def test_the_offset_bounds_the_number_of_clusters() -> None:
    vectors = np.random.default_rng(3).normal(size=(30, 8))
    counts = [agglomerate(cosine_scores(vectors), x).max() + 1 for x in (-3, -0.1, 0, 0.1, 3)]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == 30


def test_alike_is_one_and_too_few_are_left_apart() -> None:
    same = np.ones((5, 4))
    assert agglomerate(cosine_scores(same), -0.015).tolist() == [0] * 5
    for count in (0, 1, 2):
        assert agglomerate(cosine_scores(same[:count]), 0).tolist() == list(range(count))
