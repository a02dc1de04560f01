"""DER with md-eval's collar, against spyder and by hand."""

import numpy as np
import pytest

from ume.metrics.results import DiarizationErrors
from ume.scoring.diarization import score_diarization, trivial_hypotheses


def random_speech(rng: np.random.Generator, speakers: str) -> dict:
    edges = {s: np.sort(rng.choice(500, size=8, replace=False)) * 0.02 for s in speakers}
    return {s: [(a, b) for a, b in e.reshape(-1, 2).tolist()] for s, e in edges.items()}


@pytest.mark.parametrize("collar", [0.0, 0.25])
@pytest.mark.parametrize("speakers", ["ab", "abc"])
def test_is_spyder(collar: float, speakers: str) -> None:
    spyder = pytest.importorskip("spyder", reason="spy-der is not installed: no cross-check of DER")
    for seed in range(10):
        rng = np.random.default_rng([seed, len(speakers)])
        reference, hypothesis = random_speech(rng, speakers), random_speech(rng, speakers)
        errors = score_diarization(reference, hypothesis, 10.0, collar)
        turns = [
            [(speaker, *segment) for speaker, segments in speech.items() for segment in segments]
            for speech in (reference, hypothesis)
        ]
        expected = spyder.DER(*turns, uem=[(0.0, 10.0)], collar=collar)
        assert errors.parts["miss"] == pytest.approx(expected.miss, abs=1e-3)
        assert errors.parts["false_alarm"] == pytest.approx(expected.falarm, abs=1e-3)
        # pyannote maps speakers after the collar is taken out, spyder before: it cannot do better.
        assert errors.rate <= expected.der + 1e-6
        if collar == 0:
            assert errors.rate == pytest.approx(expected.der, abs=1e-6)


def test_collar_is_on_each_side() -> None:
    reference = {"a": [(1.0, 3.0)]}
    late = score_diarization(reference, {"1": [(1.3, 3.0)]}, 4.0, collar=0.25)
    assert late.numbers == pytest.approx((0.05, 0.0, 0.0, 1.5))


def test_overlap_is_scored() -> None:
    reference = {"a": [(0.0, 2.0)], "b": [(0.0, 2.0)]}
    errors = score_diarization(reference, {"1": [(0.0, 2.0)]}, 2.0, collar=0.0)
    assert (errors.miss, errors.total) == (2.0, 4.0)


def test_the_whole_recording_is_scored() -> None:
    errors = score_diarization({"a": [(0.0, 1.0)]}, {"1": [(0.0, 9.0)]}, 5.0, collar=0.0)
    assert (errors.false_alarm, errors.total) == (4.0, 1.0)


def test_trivial_hypotheses() -> None:
    reference = {"a": [(0.0, 1.0)], "b": [(0.0, 4.0)]}
    rows = {
        name: score_diarization(reference, speech, 4.0, 0.0)
        for name, speech in trivial_hypotheses(reference, 4.0).items()
    }
    assert rows["all-speak"] == DiarizationErrors(false_alarm=3.0, total=5.0)
    assert rows["one speaker"] == DiarizationErrors(miss=1.0, total=5.0)
    assert rows["all-silent"] == DiarizationErrors(miss=5.0, total=5.0)


def test_nobody_speaks() -> None:
    errors = score_diarization({"a": []}, {"1": [(0.0, 1.0)]}, 2.0, 0.0)
    assert errors == DiarizationErrors(false_alarm=1.0) and errors.rate != errors.rate
