"""The diarization head at 40, 20 and 10 ms."""

import pytest
import torch

from ume.errors import UmeError
from ume.nn.diarization import DiarizationConfig, DiarizationHead, EdgeBranch

LENS = torch.tensor([16000, 9700])  # samples


@pytest.mark.parametrize(
    "shift, branch, frames",
    [(0.04, 0, [25, 16]), (0.02, 0, [50, 31]), (0.01, 0, [100, 61]), (0.01, 8, [100, 61])],
)
def test_a_clip_has_the_same_logits_in_any_batch(shift, branch, frames):
    head = DiarizationHead(DiarizationConfig(shift, branch), 12, 2).eval()
    if head.branch is not None:
        torch.nn.init.normal_(head.branch.output[1].weight)
    states = torch.randn(2, 50, 12)
    audio = torch.randn(2, 16000)
    together = head(states, torch.tensor([50, 31]), 0.02, audio, LENS)
    assert together.shape == (2, frames[0], 2)
    assert head.frame_lens(LENS).tolist() == frames
    alone = head(states[1:, :31], torch.tensor([31]), 0.02, audio[1:, :9700], LENS[1:])
    torch.testing.assert_close(together[1:, : frames[1]], alone, atol=1e-5, rtol=1e-4)


def test_at_the_states_own_pace_it_is_one_linear_layer():
    head = DiarizationHead(DiarizationConfig(), 12, 3)
    states = torch.randn(1, 50, 12)
    logits = head(states, torch.tensor([50]), 0.02, torch.randn(1, 16000), LENS[:1])
    torch.testing.assert_close(logits, head.output(head.norm(states)))


def test_the_branch_starts_as_nothing_and_every_part_of_it_learns():
    branch = EdgeBranch(8, 2)
    audio = torch.randn(2, 16000)
    assert not branch(audio, LENS).any()
    torch.nn.init.normal_(branch.output[1].weight)
    branch(audio, LENS).square().sum().backward()
    assert all(parameter.grad.any() for parameter in branch.parameters())


def test_the_branch_hears_an_edge_within_a_frame_of_20_ms():
    branch = EdgeBranch(8, 1).eval()
    torch.nn.init.normal_(branch.output[1].weight)
    early = torch.zeros(1, 16000)
    early[0, 8000:] = torch.randn(8000)
    early[0, 12000:] *= 4  # the loudest, which Whisper's features are relative to, stays as it is
    late = early.clone()
    late[0, :8160] = 0  # starts 10 ms later
    changed = (branch(early, LENS[:1]) - branch(late, LENS[:1])).abs()[0, :, 0] > 1e-6
    frames = changed.nonzero().flatten().tolist()
    # what differs are windows of 25 ms about frame 50, seen by two kernels of 9 frames
    assert 40 <= frames[0] <= 50 <= frames[-1] <= 61


@pytest.mark.parametrize("config, message", [
    (DiarizationConfig(0.03), "frame_shift is 0.03; choose one of 0.04, 0.02, 0.01"),
    (DiarizationConfig(0.02, 8), "branch_width needs a diarization.frame_shift of 0.01"),
])  # fmt: skip
def test_what_cannot_be_is_refused(config, message):
    with pytest.raises(UmeError, match=message):
        DiarizationHead(config, 12, 2)
