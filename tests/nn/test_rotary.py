"""Rotary positions: differences only, whatever is left out between."""

import torch

from ume.nn.rotary import RotaryLayer, rotate, turns


def test_products_of_turned_vectors_depend_on_the_difference_of_places_only() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 8, dtype=torch.double)

    def product(one: int, other: int) -> torch.Tensor:
        places = torch.tensor([one, other], dtype=torch.double)
        angles = turns(places, 8)
        return (rotate(query, angles[:1]) * rotate(key, angles[1:])).sum()

    torch.testing.assert_close(product(3, 10), product(103, 110))
    assert (product(3, 10) - product(3, 11)).abs() > 1e-3


def test_a_layer_does_not_know_where_a_clip_lies_but_how_far_apart_its_frames_are() -> None:
    torch.manual_seed(0)
    layer = RotaryLayer(16, 2).eval().double()
    x, places = torch.randn(1, 6, 16, dtype=torch.double), torch.arange(6)[None]
    torch.testing.assert_close(layer(x, None, places + 40), layer(x, None), atol=1e-6, rtol=1e-6)
    assert (layer(x, None, 2 * places) - layer(x, None)).abs().max() > 1e-3


def test_frames_that_do_not_exist_have_no_say() -> None:
    torch.manual_seed(0)
    layer = RotaryLayer(16, 2).eval()
    x, mask = torch.randn(1, 6, 16), torch.tensor([[1, 1, 0, 1, 0, 0]]).bool()
    chosen = mask[0].nonzero()[:, 0]
    torch.testing.assert_close(
        layer(x, mask)[:, chosen], layer(x[:, chosen], None, chosen[None]), atol=1e-5, rtol=1e-5
    )
