"""True sources with some of the others left in."""

import torch

from ume.dataset.batch import MixtureBatch
from ume.training.guide import LEAK, leaky_sources


def test_each_source_keeps_the_rest_of_its_mixture_at_a_level_of_its_own():
    torch.manual_seed(0)
    sources = torch.randn(50, 2, 400)
    names = [["a", "b"]] * 50
    lens, two = torch.full((50,), 400), torch.full((50,), 2)
    activity = torch.ones(50, 2, 2)
    batch = MixtureBatch(sources.sum(dim=1), lens, sources, activity, names, names, two, ["x"] * 50)
    rest = leaky_sources(batch) - sources
    gain = (rest * sources.flip(1)).sum(dim=2) / sources.flip(1).square().sum(dim=2)  # (B, S)
    torch.testing.assert_close(rest, gain[..., None] * sources.flip(1), atol=1e-5, rtol=1e-4)
    level = 20 * gain.log10()
    assert LEAK[0] <= level.min() < LEAK[0] + 2 and LEAK[1] - 2 < level.max() <= LEAK[1]
    assert level.std() > 5
    nearly_clean = leaky_sources(batch, progress=0.0) - sources
    torch.testing.assert_close(nearly_clean, 10 ** (LEAK[0] / 20) * sources.flip(1))
