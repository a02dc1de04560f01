"""SI-SDRi by region against fast-bss-eval; silence, little overlap, agreement of labels."""

import fast_bss_eval
import numpy as np
import pytest

from ume.scoring.separation import gate, labels_agree, score_separation

T = 16000


def scene(speakers: int = 2) -> tuple:
    rng = np.random.default_rng(3)
    activity = np.zeros((speakers, T), dtype=bool)
    for k in range(speakers):
        activity[k, 2000 * k : 10000 + 2000 * k] = True
    sources = rng.standard_normal((speakers, T)) * activity
    mixture = sources.sum(axis=0)
    estimates = (sources + 0.3 * rng.standard_normal((speakers, T)))[::-1].copy()
    return estimates, sources, mixture, activity


def oracle(estimates: np.ndarray, sources: np.ndarray, mixture: np.ndarray) -> tuple:
    after, order = fast_bss_eval.si_sdr(sources, estimates, zero_mean=True, return_perm=True)
    before = [fast_bss_eval.si_sdr(s[None], mixture[None], zero_mean=True)[0] for s in sources]
    return after.mean(), (after - np.array(before)).mean(), tuple(order.tolist())


@pytest.mark.parametrize("speakers", [1, 2, 3, 4])
def test_whole_is_fast_bss_eval(speakers: int) -> None:
    estimates, sources, mixture, activity = scene(speakers)
    mixture = mixture + 0.1 * np.random.default_rng(0).standard_normal(T)
    score = score_separation(estimates, sources, mixture, activity)
    after, gain, order = oracle(estimates, sources, mixture)
    assert score.averages["SI-SDR", "whole"].rate == pytest.approx(after, abs=1e-3)
    assert score.averages["SI-SDRi", "whole"].rate == pytest.approx(gain, abs=1e-3)
    assert score.permutation == order == tuple(range(speakers))[::-1]


def test_overlap_is_the_overlapped_samples_alone() -> None:
    estimates, sources, mixture, activity = scene()
    both = activity.all(axis=0)
    score = score_separation(estimates, sources, mixture, activity)
    after, gain, _ = oracle(estimates[:, both], sources[:, both], mixture[both])
    assert score.averages["SI-SDR", "overlap"].rate == pytest.approx(after, abs=1e-3)
    assert score.averages["SI-SDRi", "overlap"].rate == pytest.approx(gain, abs=1e-3)


def test_a_source_silent_while_others_overlap_is_not_scored_there() -> None:
    estimates, sources, mixture, activity = scene(3)
    activity[2] = False
    score = score_separation(estimates, sources, mixture, activity)
    assert score.averages["SI-SDR", "overlap"].count == 2
    assert score.averages["SI-SDR", "whole"].count == 3


def test_gate_does_nothing_where_all_speak() -> None:
    _, sources, mixture, activity = scene()
    gated = gate(mixture, activity)
    assert np.array_equal(gated[0], mixture * activity[0])
    score = score_separation(gated, sources, mixture, activity)
    assert score.averages["SI-SDRi", "overlap"].rate == pytest.approx(0, abs=1e-9)
    assert score.averages["SI-SDRi", "whole"].rate > 0.5


def test_silent_source_is_left_out_and_not_nan() -> None:
    estimates, sources, mixture, activity = scene()
    sources[0] = 0
    score = score_separation(estimates, sources, mixture, activity)
    assert score.permutation == (1, 0)
    assert score.averages["SI-SDR", "whole"].count == 1
    assert all(np.isfinite(average.numbers).all() for average in score.averages.values())


@pytest.mark.parametrize("mode", ["whole", "overlap"])
def test_a_source_that_nobody_was_found_for_is_given_the_mixture(mode: str) -> None:
    estimates, sources, mixture, activity = scene()
    both = score_separation(estimates, sources, mixture, activity).averages["SI-SDRi", mode]
    estimates[0] = 0  # that of the second source
    score = score_separation(estimates, sources, mixture, activity)
    kept = activity.all(axis=0) if mode == "overlap" else slice(None)
    _, gain, _ = oracle(estimates[1:, kept], sources[:1, kept], mixture[kept])
    assert score.averages["SI-SDRi", mode].count == both.count == 2
    assert score.averages["SI-SDRi", mode].rate == pytest.approx(gain / 2, abs=1e-3)


def test_a_poor_voice_is_not_exchanged_for_the_mixture() -> None:
    estimates, sources, mixture, activity = scene()
    estimates[0] = np.random.default_rng(1).standard_normal(T)  # worse than the mixture
    padded = [np.pad(x, ((0, 2), (0, 0))) for x in (estimates, sources, activity)]
    padded.insert(2, mixture)
    score = score_separation(*padded)  # two silent streams, two speakers that there are not
    _, gain, _ = oracle(estimates, sources, mixture)
    assert score.averages["SI-SDRi", "whole"].rate == pytest.approx(gain, abs=1e-3)


def test_a_source_that_is_all_of_the_mixture_has_nothing_to_be_separated_from() -> None:
    estimates, sources, _, activity = scene(1)
    score = score_separation(estimates, sources, sources[0], activity)
    assert all(average.count == 0 for average in score.averages.values())


def test_without_overlap_nothing_is_counted_there() -> None:
    estimates, sources, mixture, activity = scene()
    activity[1] = ~activity[0]
    activity[1, :1000] = True  # 62 ms
    score = score_separation(estimates, sources, mixture, activity)
    assert score.averages["SI-SDR", "overlap"].count == 0


@pytest.mark.parametrize("permutation, agree", [((1, 0), True), ((0, 1), False)])
def test_labels_agree(permutation: tuple, agree: bool) -> None:
    _, _, _, activity = scene()
    assert labels_agree(permutation, activity, activity[::-1]) is agree


def test_a_tie_agrees() -> None:
    _, _, _, activity = scene()
    silent = np.zeros_like(activity)
    assert labels_agree((0, 1), activity, silent) and labels_agree((1, 0), activity, silent)
