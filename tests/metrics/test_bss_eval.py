"""SDR, SIR and SAR against mir_eval and fast-bss-eval; silence, padding, bounds."""

import fast_bss_eval
import mir_eval
import numpy as np
import pytest
import torch

from ume.metrics.bss_eval import bss_eval


def scene(sources: int, length: int = 9000, seed: int = 0) -> tuple:
    """Coloured sources, and estimates that are filtered, leak and are noisy."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((sources, length))
    truth = np.stack(
        [np.convolve(x, [1.0, 0.9 - 0.3 * k, 0.4])[:length] for k, x in enumerate(white)]
    )
    leaking = truth + 0.2 * np.roll(truth, 1, axis=0) + 0.1 * rng.standard_normal(truth.shape)
    return truth, np.stack([np.convolve(x, [0.8, -0.3, 0.2])[:length] for x in leaking])


def own(estimates: np.ndarray, truth: np.ndarray) -> list:
    """The figures of each source's own estimate."""
    return [f.diagonal().numpy() for f in bss_eval(torch.tensor(estimates), torch.tensor(truth))]


@pytest.mark.filterwarnings("ignore:mir_eval.separation:FutureWarning")
@pytest.mark.parametrize("sources", [1, 2, 3])
def test_is_mir_eval(sources: int) -> None:
    truth, estimates = scene(sources)
    expected = mir_eval.separation.bss_eval_sources(truth, estimates, compute_permutation=False)[:3]
    for name, found, wanted in zip(("SDR", "SIR", "SAR"), own(estimates, truth), expected):
        assert found == pytest.approx(np.minimum(wanted, 80), abs=0.01), name


def test_every_pair_is_fast_bss_eval() -> None:
    truth, estimates = scene(2)
    found = bss_eval(torch.tensor(estimates), torch.tensor(truth))
    for order in ([0, 1], [1, 0]):
        expected = fast_bss_eval.bss_eval_sources(
            truth, estimates[order], compute_permutation=False
        )
        for name, pairs, wanted in zip(found._fields, found, expected):
            assert pairs[[0, 1], order].numpy() == pytest.approx(wanted, abs=0.01), name


def test_padding_and_batching_change_nothing() -> None:
    (long, long_found), (short, short_found) = scene(2, 9000), scene(2, 7000, seed=1)
    pad = ((0, 0), (0, 2000))
    batch = bss_eval(
        torch.tensor(np.stack([long_found, np.pad(short_found, pad)])),
        torch.tensor(np.stack([long, np.pad(short, pad)])),
    )
    for name, pairs in batch._asdict().items():
        alone = getattr(bss_eval(torch.tensor(short_found), torch.tensor(short)), name)
        torch.testing.assert_close(pairs[1], alone, atol=1e-6, rtol=0)


def test_a_low_passed_source_is_solvable() -> None:
    truth, estimates = scene(2)
    spectrum = np.fft.rfft(truth)
    spectrum[:, spectrum.shape[1] // 2 :] = 0  # as MP3 leaves it
    truth = np.fft.irfft(spectrum, n=truth.shape[1])
    sdr, _, sar = own(estimates, truth)
    assert np.isfinite(sdr).all() and (sdr < sar).all() and (sar < 20).all()


def test_silence() -> None:
    truth, estimates = scene(3)
    truth[1], estimates[2] = 0, 0
    found = bss_eval(torch.tensor(estimates), torch.tensor(truth))
    rest = bss_eval(torch.tensor(estimates), torch.tensor(truth[[0, 2]]))
    for pairs, without in zip(found, rest):
        assert pairs[1].isnan().all()
        torch.testing.assert_close(pairs[[0, 2]], without, atol=1e-6, rtol=0)
        assert pairs[0, 2] == pytest.approx(-80)


def test_bounds() -> None:
    truth, _ = scene(2)
    sdr, sir, sar = own(truth, truth)
    assert sdr == pytest.approx(80) and sir == pytest.approx(80) and sar == pytest.approx(80)
