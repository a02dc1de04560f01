"""PLDA finds the covariances that embeddings were made with; its scores are ratios of densities."""

from dataclasses import asdict
from pathlib import Path
from typing import Tuple

import numpy as np
import pytest
from scipy.stats import multivariate_normal, ortho_group

from ume.errors import UmeError
from ume.inference.plda import (
    Plda,
    cosine_plda,
    diagonalise,
    moments,
    statistics,
    train_plda,
    two_covariances,
)

WIDTH = 5


def covariances(rng: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
    """One between speakers and one within, (E, E), in different bases."""
    bases = ortho_group.rvs(WIDTH, size=2, random_state=rng)
    variances = np.array([[4, 2, 1, 0.5, 0.2], [0.5, 1, 1.5, 2, 3]])
    between, within = (basis * row @ basis.T for basis, row in zip(bases, variances))
    return between, within


def embeddings_of(
    rng: np.random.Generator, between: np.ndarray, within: np.ndarray, counts: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, E) of speakers of so many each, of mean 3, and whose they are (N,)."""
    speakers = np.repeat(np.arange(len(counts)), counts)
    means = rng.multivariate_normal(np.full(len(between), 3.0), between, size=len(counts))
    noise = rng.multivariate_normal(np.zeros(len(between)), within, size=len(speakers))
    return means[speakers] + noise, speakers


def distance(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def test_covariances_are_recovered_and_better_than_by_moments() -> None:
    rng = np.random.default_rng(0)
    between, within = covariances(rng)
    embeddings, speakers = embeddings_of(rng, between, within, rng.integers(2, 9, size=3000))
    stats = statistics(embeddings, speakers)
    found = two_covariances(stats)
    assert distance(found.between, between) < 0.05
    assert distance(found.within, within) < 0.03
    np.testing.assert_allclose(found.mean, 3, atol=0.15)
    assert distance(found.between, between) < 0.3 * distance(moments(stats).between, between)


def test_the_likelihood_never_falls() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 6, size=30)
    embeddings, speakers = embeddings_of(rng, *covariances(rng), counts)
    stats = statistics(embeddings, speakers)
    likelihoods = []
    for iterations in range(8):
        mean, between, within = two_covariances(stats, iterations)
        total = 0.0
        for speaker, count in enumerate(counts):
            joint = np.kron(np.ones((count, count)), between) + np.kron(np.eye(count), within)
            stacked = embeddings[speakers == speaker].ravel()
            total += multivariate_normal(np.tile(mean, count), joint).logpdf(stacked)
        likelihoods.append(total)
    assert np.diff(likelihoods).min() > 0


def test_the_basis_makes_both_diagonal() -> None:
    between, within = covariances(np.random.default_rng(2))
    basis, variances = diagonalise(between, within)
    np.testing.assert_allclose(basis.T @ within @ basis, np.eye(WIDTH), atol=1e-12)
    np.testing.assert_allclose(basis.T @ between @ basis, np.diag(variances), atol=1e-12)
    assert (np.diff(variances) <= 0).all()


@pytest.fixture(scope="module")
def trained() -> Plda:
    rng = np.random.default_rng(3)
    counts = rng.integers(3, 9, size=200)
    return train_plda(*embeddings_of(rng, *covariances(rng), counts), lda_width=4)


def test_scores_are_log_ratios_of_densities(trained: Plda) -> None:
    """In the space before the diagonal basis, whose covariances the basis holds."""
    embeddings = np.random.default_rng(4).normal(3, 2, size=(6, WIDTH))
    back = np.linalg.inv(trained.transform)
    within, between = back.T @ back, back.T * trained.between @ back
    total = between + within
    joint = multivariate_normal(np.zeros(8), np.block([[total, between], [between, total]]))
    single = multivariate_normal(np.zeros(4), total)
    normal = trained.normalise(embeddings)  # (N, E)
    expected = [
        [joint.logpdf(np.r_[a, b]) - single.logpdf(a) - single.logpdf(b) for b in normal[:4]]
        for a in normal
    ]
    projected = trained.project(embeddings)
    np.testing.assert_allclose(trained.scores(projected, projected[:4]), expected, rtol=1e-9)


def test_projections_have_the_variances_that_vbx_relies_on() -> None:
    rng = np.random.default_rng(5)
    embeddings, speakers = embeddings_of(rng, *covariances(rng), np.full(500, 10))
    for lda_width, width in ((None, WIDTH), (3, 3)):
        plda = train_plda(embeddings, speakers, lda_width)
        lengths = np.linalg.norm(plda.normalise(embeddings) + plda.mean, axis=1)
        np.testing.assert_allclose(lengths, np.sqrt(width))
        projected = plda.project(embeddings)
        assert projected.shape == (5000, width)
        found = two_covariances(statistics(projected, speakers))
        np.testing.assert_allclose(found.within, np.eye(width), atol=0.01)
        np.testing.assert_allclose(found.between, np.diag(plda.between), atol=0.05)


def test_lda_keeps_the_directions_that_tell_speakers_apart() -> None:
    rng = np.random.default_rng(6)
    between, within = np.diag([9.0, 9, 0.01, 0.01, 0.01]), np.diag([1.0, 1, 50, 50, 50])
    embeddings, speakers = embeddings_of(rng, between, within, np.full(100, 6))
    lda = train_plda(embeddings, speakers, lda_width=2).lda
    assert np.abs(lda[2:]).max() < 0.1 * np.abs(lda[:2]).max()


def test_a_model_is_kept_as_it_is(trained: Plda, tmp_path: Path) -> None:
    path = tmp_path / "models" / "plda.safetensors"
    trained.save(path)
    again = Plda.read(path)
    for name, tensor in asdict(trained).items():
        np.testing.assert_array_equal(getattr(again, name), tensor)


def test_errors_name_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "plda.safetensors"
    with pytest.raises(UmeError, match="plda.safetensors does not exist"):
        Plda.read(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(UmeError, match="plda.safetensors is no PLDA model; train it again"):
        Plda.read(path)
    rng = np.random.default_rng(8)
    with pytest.raises(UmeError, match="6 embeddings of 3 speakers are too few .* give 8"):
        train_plda(rng.normal(size=(6, 5)), list("aabbcc"))
    with pytest.raises(UmeError, match="9 embeddings of 1 speakers are too few"):
        train_plda(rng.normal(size=(9, 5)), ["a"] * 9)
    flat = np.c_[rng.normal(size=(20, 2)), np.zeros(20)]
    with pytest.raises(UmeError, match="covariance within speakers is singular"):
        train_plda(flat, list("ab") * 10)


def test_two_speakers_are_told_apart_in_one_dimension_and_others_widths_refused() -> None:
    rng = np.random.default_rng(3)
    names = list("ab") * 40
    drawn = np.c_[[[3.0, 0, 0, 0, 0] if name == "a" else [-3.0, 0, 0, 0, 0] for name in names]]
    model = train_plda(drawn + 0.3 * rng.normal(size=(80, 5)), names, 1)
    found = model.project(drawn[:2])
    scores = model.scores(found, found)
    assert np.isfinite(scores).all() and scores[0, 0] > scores[0, 1]
    with pytest.raises(UmeError, match="of width 5 and these have 4"):
        model.project(drawn[:, :4])


def test_the_model_of_spheres_scores_by_cosine() -> None:
    rng = np.random.default_rng(9)
    plda = cosine_plda(WIDTH, 0.6)
    embeddings = rng.normal(size=(20, WIDTH)) * rng.uniform(0.1, 10, size=(20, 1))
    projected = plda.project(embeddings)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = (unit @ unit.T).ravel()
    scores = plda.scores(projected, projected).ravel()
    slope, constant = np.polyfit(cosines, scores, 1)
    assert slope > 0
    np.testing.assert_allclose(scores, slope * cosines + constant, atol=1e-9)


def test_the_cosine_of_the_model_of_spheres_is_that_of_one_speakers_embeddings() -> None:
    """Two embeddings of a speaker, drawn from the model, have it on average."""
    rng = np.random.default_rng(10)
    width, cosine = 400, 0.6
    plda = cosine_plda(width, cosine)
    speaker = rng.normal(size=width) * np.sqrt(plda.between)
    back = np.linalg.inv(plda.transform)
    one, other = (speaker + rng.normal(size=(2, width))) @ back
    assert one @ one / width == pytest.approx(1, abs=0.15)
    found = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert found == pytest.approx(cosine, abs=0.1)


def test_an_embedding_of_zeros_has_a_place() -> None:
    assert np.isfinite(cosine_plda(WIDTH, 0.5).project(np.zeros((1, WIDTH)))).all()
