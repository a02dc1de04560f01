"""What validation says of a model."""

import torch

from ume.losses.joint import TaskCost
from ume.training.validation import heads_agree


def cost(*matrices, exists=True):
    return TaskCost(torch.tensor(matrices), torch.full((len(matrices), 2), exists))


KEEP, SWAP = [[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]


def test_heads_agree_where_their_best_permutations_are_one():
    costs = {"diarization": cost(KEEP, SWAP, SWAP), "separation": cost(KEEP, SWAP, KEEP)}
    assert heads_agree(costs) == [True, True, False]


def test_clips_without_all_their_references_are_not_asked():
    words = cost(KEEP, SWAP)
    words.exists[1, 0] = False
    assert heads_agree({"diarization": cost(KEEP, KEEP), "asr": words}) == [True]
    assert heads_agree({"asr": cost(KEEP, exists=False)}) == []
