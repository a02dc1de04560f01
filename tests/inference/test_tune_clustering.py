"""Tuning finds what is better than the starting points, by a DER that is pyannote's."""

import numpy as np
import pytest
from pyannote.metrics.diarization import DiarizationErrorRate

from tests.inference.conversations import conversation
from tests.scoring.synthetic import annotation
from ume.errors import UmeError
from ume.inference import tune_clustering
from ume.inference.clustering import STARTING_POINTS, Options
from ume.inference.plda import cosine_plda
from ume.inference.tune_clustering import Recording, search, segment_der, tune
from ume.inference.vbx import Hmm

WIDTH = 32


@pytest.mark.parametrize("found", [
    {"1": [(0.0, 2.0)], "2": [(1.0, 4.0)], "3": [(5.0, 5.5)]}, {"1": [(0.0, 5.0)]}, {},
])  # fmt: skip
def test_errors_are_those_of_pyannote(found) -> None:
    reference = {"a": [(0.0, 1.5), (3.0, 4.0)], "b": [(1.0, 3.0)]}
    expected = DiarizationErrorRate()(annotation(reference), annotation(found), detailed=True)
    errors = segment_der(found, reference)
    assert errors.rate == pytest.approx(expected["diarization error rate"], abs=1e-9)
    assert errors.confusion * 0.02 == pytest.approx(expected["confusion"])


@pytest.fixture(scope="module")
def recordings():
    talks = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        means = rng.normal(size=(3, WIDTH)) / np.sqrt(WIDTH)
        talks.append(Recording(*conversation(rng, means, turns=7, noise=0.2)))
    return talks


def test_what_is_chosen_is_the_best_of_all(recordings, monkeypatch) -> None:
    monkeypatch.setitem(tune_clustering.OFFSETS, "cosine", (-0.015, 0.1))
    monkeypatch.setattr(tune_clustering, "FA", (0.07, 0.4))
    monkeypatch.setattr(tune_clustering, "FB", (0.8, 14.0))
    monkeypatch.setattr(tune_clustering, "LOOPS", (0.0, 0.9))
    plda = cosine_plda(WIDTH, 0.4)
    chosen, errors = tune(recordings, plda)
    table = search([chosen, *map(Options, STARTING_POINTS.values())], recordings, plda)
    assert table[chosen] == errors
    assert errors.rate == min(found.rate for found in table.values()) < 0.05
    assert errors.total == sum(segment_der({}, talk.reference).total for talk in recordings)


def test_there_must_be_speech_to_tune_on() -> None:
    with pytest.raises(UmeError, match="nobody speaks in the recordings"):
        tune([], cosine_plda(WIDTH, 0.4))


def test_speakers_who_are_given_up_are_confused(recordings) -> None:
    plda = cosine_plda(WIDTH, 0.4)
    merged, usual = Options(Hmm(0.01, 1000.0, 0.9)), Options(STARTING_POINTS["voxconverse"])
    table = search([merged, usual], recordings, plda)
    assert table[merged].confusion > 0.4 * table[merged].total > table[usual].confusion


def test_the_starting_points_are_in_the_grid() -> None:
    for hmm in STARTING_POINTS.values():
        assert hmm.fa in tune_clustering.FA and hmm.fb in tune_clustering.FB
        assert hmm.loop in tune_clustering.LOOPS
    assert Options.offset == tune_clustering.OFFSETS["cosine"][0]
