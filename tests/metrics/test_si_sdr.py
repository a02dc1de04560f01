"""SI-SDR against fast-bss-eval, torchmetrics and the definition."""

import fast_bss_eval
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from ume.metrics.permutations import best_permutation
from ume.metrics.si_sdr import is_silent, pairwise_si_sdr, si_sdr


def signals(seed: int = 0, noise: float = 0.3, batch: int = 2, speakers: int = 3) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(batch, speakers, 4000, generator=generator, dtype=torch.float64)
    other = torch.randn(reference.shape, generator=generator, dtype=torch.float64)
    return reference + noise * other + 0.1, reference


@pytest.mark.parametrize("noise", [3.0, 0.3, 0.003])
def test_is_torchmetrics(noise: float) -> None:
    estimate, reference = signals(noise=noise)
    expected = scale_invariant_signal_distortion_ratio(estimate, reference, zero_mean=True)
    assert torch.allclose(si_sdr(estimate, reference), expected, atol=0.01)


@given(st.permutations(range(3)))
def test_best_permutation_is_fast_bss_eval(order: list) -> None:
    estimate, reference = signals()
    estimate = estimate[:, order]
    ours = pairwise_si_sdr(estimate, reference)
    perm, value = best_permutation(-ours)
    theirs, their_perm = fast_bss_eval.si_sdr(
        reference.numpy(), estimate.numpy(), zero_mean=True, return_perm=True
    )
    assert np.array_equal(perm, their_perm)
    assert np.allclose(-value / 3, theirs.mean(axis=1), atol=1e-3)


def test_pairwise_is_si_sdr_of_each_pair() -> None:
    estimate, reference = signals()
    mask = (torch.rand(2, 4000) > 0.4).bool()
    matrix = pairwise_si_sdr(estimate, reference, mask)
    for r in range(3):
        for e in range(3):
            assert torch.allclose(matrix[:, r, e], si_sdr(estimate[:, e], reference[:, r], mask))


def test_mask_is_selection() -> None:
    estimate, reference = signals()
    mask = torch.rand(4000) > 0.5
    whole = si_sdr(estimate, reference, mask)
    assert torch.allclose(whole, si_sdr(estimate[..., mask], reference[..., mask]))


@given(st.floats(min_value=1e-3, max_value=1e3), st.floats(min_value=-1, max_value=1))
def test_scale_and_offset_change_nothing(scale: float, offset: float) -> None:
    estimate, reference = signals()
    assert torch.allclose(
        si_sdr(scale * estimate + offset, reference), si_sdr(estimate, reference), atol=1e-6
    )


def test_silent_reference_is_nan_and_said() -> None:
    estimate, reference = signals()
    reference[0, 1], reference[1, 2] = 0, 0.5
    matrix = pairwise_si_sdr(estimate, reference)
    silent = torch.zeros(2, 3, dtype=torch.bool)
    silent[0, 1] = silent[1, 2] = True
    assert torch.equal(is_silent(reference), silent)
    assert torch.equal(matrix.isnan(), silent.unsqueeze(2).expand(2, 3, 3))
    assert torch.equal(si_sdr(estimate, reference).isnan(), silent)


def test_bounded_at_the_ends() -> None:
    _, reference = signals()
    assert torch.allclose(si_sdr(reference, reference), torch.tensor(80.0, dtype=torch.float64))
    silence = torch.zeros_like(reference)
    assert torch.allclose(si_sdr(silence, reference), torch.tensor(-80.0, dtype=torch.float64))
    assert torch.isfinite(pairwise_si_sdr(silence.float(), reference.float())).all()


def test_gradients_are_finite() -> None:
    estimate, reference = signals(batch=1, speakers=2)
    for start in (estimate, reference, torch.zeros_like(estimate)):
        leaf = start.float().clone().requires_grad_()
        pairwise_si_sdr(leaf, reference.float()).sum().backward()
        assert torch.isfinite(leaf.grad).all()
