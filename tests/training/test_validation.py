"""What validation says of a model."""

from pathlib import Path

import pytest
import torch
from lhotse import CutSet
from torch.nn.functional import one_hot

from ume.dataset.batch import collate
from ume.dataset.mixtures import load_example, read_cuts
from ume.losses.joint import TaskCost
from ume.metrics.si_sdr import si_sdr
from ume.models.ume import UME, UMEConfig, UMEOutput
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig
from ume.nn.separation import SeparationConfig
from ume.training.data import valid_batches
from ume.training.validation import heads_agree, token_errors, validate


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


def test_token_errors_are_those_of_the_best_order_where_all_texts_are_known():
    said = [[1, 2, 2], [3, 1]]
    frames = [[3, 0, 1, 0, 0, 0], [1, 2, 0, 2, 2, 0]]  # streams in the other order
    log_probs = one_hot(torch.tensor([frames, frames]), 4).float()
    lens = torch.tensor([6, 6])
    assert token_errors(log_probs, lens, [said, [[1], None]]) == (0, 5)
    assert token_errors(log_probs, lens, [said, [[2], [3]]]) == (0 + 3, 5 + 2)
    assert token_errors(log_probs, torch.tensor([6, 2]), [said, [[3], [1, 2]]]) == (0, 5 + 3)


def test_figures_are_those_of_the_answers(mixtures: Path) -> None:
    """A model that answers with the truth in another order, some of it wrong."""
    batch = collate([load_example(cut) for cut in read_cuts(mixtures / "cuts_test_max.jsonl.gz")])
    clips, speakers, samples = batch.sources.shape
    encoder = EncoderConfig("e-branchformer", e_branchformer=EBranchformerSize(1, 8, 2, 8, 8, 3))
    model = UME(UMEConfig(
        num_speakers=speakers, vocab_size=5, encoder=encoder,
        separation=SeparationConfig(hidden=8, bottleneck=8, blocks=1, repeats=1),
        asr=RecogniserConfig("encoders", 8, 2, 8, 3, 1, 1),
    ))  # fmt: skip
    torch.manual_seed(0)
    there = (torch.arange(samples) < batch.audio_lens[:, None])[:, None]
    noise = 0.1 * batch.sources.std(dim=2, keepdim=True) * torch.randn(batch.sources.shape)
    voices = batch.sources + noise * there
    frames = (batch.audio_lens + 319) // 320
    silent = (torch.rand(batch.activity.shape) < 0.1) & (batch.activity > 0)  # missed
    logits = torch.where((batch.activity > 0) & ~silent, 5.0, -5.0)
    answer = UMEOutput(frames, frames, logits.flip(2), voices.flip(1))
    model.forward = lambda *_: answer  # type: ignore[assignment, method-assign]
    found = validate(model, [batch], None)
    assert found["valid/der"] == pytest.approx(100 * float(silent.sum() / batch.activity.sum()))
    gains = [
        si_sdr(voice[:n].double(), source[:n].double())
        - si_sdr(heard[:n].double(), source[:n].double())
        for n, *clip, heard in zip(batch.audio_lens, voices, batch.sources, batch.audio)
        for voice, source in zip(*clip)
    ]
    assert len(gains) == clips * speakers and min(gains) > 3
    assert found["valid/si_sdri"] == pytest.approx(float(sum(gains) / len(gains)), abs=0.05)


def test_validation_is_on_dev(mixtures: Path, tmp_path: Path) -> None:
    dev = read_cuts(mixtures / "cuts_test_max.jsonl.gz")[:3]
    CutSet.from_cuts(dev).to_file(tmp_path / "cuts_dev_max.jsonl.gz")  # the only manifest there
    (batch,) = valid_batches(str(tmp_path), "max", 2)
    assert batch.ids == [cut.id for cut in dev[:2]]
