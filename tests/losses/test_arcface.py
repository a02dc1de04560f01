"""ArcFace against the angle itself, its margin, and that it tells classes apart."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ume.losses.arcface import SCALE, ArcFace, margin_at


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
def test_the_right_angle_is_wider_by_the_margin(margin: float) -> None:
    torch.manual_seed(0)
    head, embeddings = ArcFace(5, 8).double(), torch.randn(40, 8, dtype=torch.double)
    speakers = torch.randint(5, (40,))
    angles = (normalize(embeddings, dim=1) @ normalize(head.centres, dim=1).T).acos()
    angles[torch.arange(40), speakers] += margin
    assert angles.max() < math.pi  # else the loss goes on in a line
    expected = cross_entropy(SCALE * angles.cos(), speakers)
    torch.testing.assert_close(head(embeddings, speakers, margin), expected)


def test_the_loss_falls_as_the_angle_does_up_to_the_opposite() -> None:
    head = ArcFace(2, 2)
    head.centres.data = torch.eye(2)
    angles = torch.linspace(0.01, math.pi - 0.01, 50)
    around = torch.stack([angles.cos(), -angles.sin()], dim=1)
    losses = [head(each[None], torch.tensor([0]), 0.5).item() for each in around]
    assert all(low <= high + 1e-4 for low, high in zip(losses, losses[1:]))


def test_it_learns_classes() -> None:
    torch.manual_seed(0)
    net, head = torch.nn.Linear(6, 4), ArcFace(3, 4)
    speakers = torch.arange(3).repeat(20)
    inputs = torch.randn(3, 6)[speakers] + 0.3 * torch.randn(60, 6)
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], 0.05)
    for step in range(100):
        loss = head(net(inputs), speakers, margin_at(step / 100))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (head.cosines(net(inputs)).argmax(dim=1) == speakers).all() and loss < 0.1
