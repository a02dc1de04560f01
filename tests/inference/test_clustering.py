"""From embeddings to segments: hand-made cases, and conversations from known models."""

from typing import Tuple

import numpy as np
import pytest

from tests.inference.conversations import conversation, markov_sequence
from ume.activity import merge_segments, read_rttm, write_rttm
from ume.inference.clustering import STARTING_POINTS, Options, diarize, first_labels
from ume.inference.plda import Plda, cosine_plda, train_plda
from ume.inference.tune_clustering import segment_der
from ume.inference.windows import sliding_windows, speaker_segments

WIDTH = 64
SPHERES = cosine_plda(WIDTH, 0.7)
GMM = Options(STARTING_POINTS["gmm"])
LIKELIHOODS = Options(STARTING_POINTS["voxconverse"], "plda", 0.0)


def unit_means(rng: np.random.Generator, speakers: int) -> np.ndarray:
    means = rng.normal(size=(speakers, WIDTH))
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def turns(truth: np.ndarray) -> np.ndarray:
    """A window for each, far from the others."""
    return np.stack([2.0 * np.arange(len(truth)), 2.0 * np.arange(len(truth)) + 1.5], axis=1)


@pytest.mark.parametrize("truth, options", [
    ([0] * 30, GMM), ([0] * 30, LIKELIHOODS),
    ([0] * 20 + [1] * 20, GMM), ([0] * 20 + [1] * 20, LIKELIHOODS),
    ([0] * 30 + [1] * 2 + [0] * 4, GMM), ([0] * 30 + [1] * 2 + [0] * 4, LIKELIHOODS),
    ([0, 1, 0, 1], GMM), ([0, 1, 2, 3] * 8, GMM), ([0, 1, 2, 3] * 8, LIKELIHOODS),
])  # fmt: skip
def test_hand_made_cases(truth, options) -> None:
    """One speaker; two, far apart; two, one of whom has two windows; two with two; four."""
    rng = np.random.default_rng(0)
    embeddings = unit_means(rng, 4)[truth] + 0.03 * rng.normal(size=(len(truth), WIDTH))
    windows = turns(np.array(truth))
    found = diarize(embeddings, windows, SPHERES, options)
    assert found == speaker_segments(windows, np.array(truth))


@pytest.mark.parametrize(
    "hmm, people", [("ami", 1), ("libricss", 1), ("voxconverse", 2), ("gmm", 2)]
)
def test_who_says_little_is_found_by_two_starting_points(hmm, people) -> None:
    rng = np.random.default_rng(0)
    truth = [0] * 30 + [1] * 2 + [0] * 4
    embeddings = unit_means(rng, 4)[truth] + 0.03 * rng.normal(size=(36, WIDTH))
    found = diarize(embeddings, turns(np.array(truth)), SPHERES, Options(STARTING_POINTS[hmm]))
    assert len(found) == people


def test_no_window_is_nobody_and_one_is_somebody() -> None:
    windows = sliding_windows([])
    assert diarize(np.zeros((0, WIDTH)), windows, SPHERES, GMM) == {}
    windows = sliding_windows([(1.0, 1.7)])
    assert diarize(np.ones((1, WIDTH)), windows, SPHERES, GMM) == {"1": [(1.0, 1.7)]}
    both = sliding_windows([(1.0, 1.7), (3.0, 4.0)])
    assert len(diarize(np.ones((2, WIDTH)), both, SPHERES, GMM)) == 1
    with pytest.raises(ValueError, match="1 embeddings of 2 windows"):
        diarize(np.ones((1, WIDTH)), both, SPHERES, GMM)


@pytest.mark.parametrize("speakers", [2, 3, 4])
@pytest.mark.parametrize("hmm", list(STARTING_POINTS))
def test_oracle_embeddings_leave_under_one_percent_of_confusion(speakers, hmm) -> None:
    rng = np.random.default_rng(speakers)
    talk = conversation(rng, unit_means(rng, speakers))
    options = Options(STARTING_POINTS[hmm])
    found = diarize(talk.embeddings, talk.windows, SPHERES, options)
    errors = segment_der(found, talk.reference)
    assert len(found) == speakers
    assert errors.confusion / errors.total < 0.01
    assert errors.miss + errors.false_alarm <= 0.001 * errors.total  # frames cut by two edges


@pytest.fixture(scope="module")
def trained() -> Tuple[Plda, np.ndarray]:
    """PLDA trained on 300 speakers of a known model, and the variances between its speakers."""
    rng = np.random.default_rng(5)
    between = np.linspace(3, 0.1, WIDTH)
    means = rng.normal(size=(300, WIDTH)) * np.sqrt(between)
    embeddings = np.repeat(means, 8, axis=0) + rng.normal(size=(2400, WIDTH))
    return train_plda(embeddings, np.repeat(np.arange(300), 8), lda_width=40), between


def test_noisy_turns_are_told_apart_better_than_by_ahc(trained) -> None:
    plda, between = trained
    options = Options(STARTING_POINTS["voxconverse"])
    ours = ahc = segment_der({}, {})
    for seed in range(4):
        rng = np.random.default_rng(seed)
        means = rng.normal(size=(4, WIDTH)) * np.sqrt(between)
        talk = conversation(rng, means, turns=24, noise=1.5)
        found = diarize(talk.embeddings, talk.windows, plda, options)
        start = speaker_segments(talk.windows, first_labels(talk.embeddings, plda, options))
        ours, ahc = (
            ours + segment_der(found, talk.reference),
            ahc + segment_der(start, talk.reference),
        )
        assert len(found) == 4
    assert ours.rate < 0.02 and ours.rate < ahc.rate


@pytest.mark.parametrize("scores", ["cosine", "plda"])
def test_ahc_compares_by_either_score(trained, scores) -> None:
    plda, between = trained
    embeddings, truth = markov_sequence(np.random.default_rng(7), between, 3, 90, 0.9)
    labels = first_labels(embeddings, plda, Options(scores=scores, offset=0.0))
    assert len(np.unique(labels)) == len(np.unique(3 * labels + truth)) == 3


def test_second_speakers_speak_in_overlap_alone() -> None:
    """1 speaks to 6 s, 2 from 4 s; windows around the overlap are the mean of both."""
    rng = np.random.default_rng(8)
    one, two = unit_means(rng, 2)
    windows = sliding_windows([(0.0, 10.0)])
    inside = [
        (np.minimum(windows[:, 1], end) - np.maximum(windows[:, 0], start)).clip(min=0)[:, None]
        for start, end in ((0.0, 6.0), (4.0, 10.0))
    ]
    embeddings = inside[0] * one + inside[1] * two
    found = diarize(embeddings, windows, SPHERES, GMM, overlap=[(4.0, 6.0)])
    reference = {"a": [(0.0, 6.0)], "b": [(4.0, 10.0)]}
    assert segment_der(found, reference).rate < 0.02
    assert segment_der(diarize(embeddings, windows, SPHERES, GMM), reference).rate > 0.15
    alone = diarize(np.ones((len(windows), WIDTH)), windows, SPHERES, GMM, [(4.0, 6.0)])
    assert alone == {"1": [(0.0, 10.0)]}


def test_speakers_are_written_as_rttm(tmp_path) -> None:
    rng = np.random.default_rng(9)
    talk = conversation(rng, unit_means(rng, 3), turns=9)
    found = diarize(talk.embeddings, talk.windows, SPHERES, GMM)
    assert list(found) == ["1", "2", "3"]
    assert [found[speaker][0] for speaker in found] == sorted(turn[0] for turn in found.values())
    write_rttm(tmp_path / "hyp.rttm", {"talk": found})
    again = read_rttm(tmp_path / "hyp.rttm")["talk"]
    for speaker, segments in found.items():
        np.testing.assert_allclose(again[speaker], segments, atol=2e-3)
    everyone = [segment for segments in found.values() for segment in segments]
    speech = [segment for segments in talk.reference.values() for segment in segments]
    np.testing.assert_allclose(merge_segments(everyone, 1e-6), merge_segments(speech, 1e-6))
