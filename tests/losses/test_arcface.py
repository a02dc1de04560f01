"""ArcFace against the angle itself, its margin, and that it tells classes apart."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ume.losses.arcface import SCALE, ArcFace, CentredArcFace, margin_at


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


def test_what_all_vectors_share_does_not_count() -> None:
    torch.manual_seed(0)
    plain, centred = ArcFace(3, 4), CentredArcFace(3, 4)
    centred.load_state_dict(plain.state_dict(), strict=False)
    shared = torch.tensor([50.0, -20.0, 7.0, 0.0])
    for _ in range(400):
        vectors, speakers = torch.randn(30, 4), torch.randint(3, (30,))
        centred(shared + vectors, speakers, 0.1)
    torch.testing.assert_close(centred.mean, shared, atol=0.2, rtol=0)
    before = centred.eval().mean.clone()
    loss = centred(before + vectors, speakers, 0.1)
    torch.testing.assert_close(loss, plain(vectors, speakers, 0.1), atol=1e-4, rtol=1e-4)
    centred(vectors, speakers, 0.1)
    assert torch.equal(centred.mean, before)  # it does not learn where it is only asked


def test_a_batch_that_is_not_finite_leaves_the_mean_as_it_is() -> None:
    head = CentredArcFace(2, 2)
    head(torch.tensor([[1.0, 3.0], [3.0, 5.0]]), torch.tensor([0, 1]), 0.0)
    torch.testing.assert_close(head.mean, torch.tensor([2.0, 4.0]))
    head(torch.tensor([[float("nan"), 3.0]]), torch.tensor([0]), 0.0)
    torch.testing.assert_close(head.mean, torch.tensor([2.0, 4.0]))
