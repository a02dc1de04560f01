"""Heads that name the speakers in orders of their own are put in one order."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.activity import FRAME_SAMPLES, FRAME_SHIFT
from ume.inference.align import align_heads, alignment_rule, busy_order, heads_to_align
from ume.metrics.permutations import permute
from ume.models.ume import UME, LossConfig, UMEConfig, UMEOutput
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig
from ume.nn.separation import SeparationConfig

FRAME = FRAME_SAMPLES
BLOCK = 50  # frames
VOCAB = 5


def example(speakers: int, seed: int) -> "tuple[UMEOutput, torch.Tensor]":
    """Two clips, the second one shorter, whose speakers speak one after the other.

    All heads agree. Beyond the second clip lies nonsense.
    """
    generator = torch.Generator().manual_seed(seed)
    frames = BLOCK * speakers
    turns = torch.arange(frames) // BLOCK
    active = (turns == torch.arange(speakers)[:, None]).expand(2, -1, -1).clone()  # (B, S, F)
    frame_lens = torch.tensor([frames, frames - BLOCK // 2])
    active[1, :, frame_lens[1] :] = torch.rand(speakers, BLOCK // 2, generator=generator) > 0.5
    noise = torch.randn(2, speakers, frames * FRAME, generator=generator)
    sources = noise * (0.01 + active.float()).repeat_interleave(FRAME, dim=2)
    logits = 6 * active.transpose(1, 2) - 3 + torch.randn(2, frames, speakers, generator=generator)
    spoken = active & (torch.rand(active.shape, generator=generator) < 0.3)  # CTC is peaky
    scores = torch.randn(2, speakers, frames, VOCAB, generator=generator)
    scores[..., 0] += torch.where(spoken, -9.0, 9.0)
    states = torch.randn(2, speakers, frames, 3, generator=generator)
    output = UMEOutput(frame_lens, frame_lens, logits, sources, scores.log_softmax(dim=-1), states)
    return output, frame_lens * FRAME


@settings(max_examples=40, deadline=None)
@given(data=st.data(), speakers=st.integers(2, 4), seed=st.integers(0, 99))
def test_whatever_the_heads_orders_they_end_as_the_voices(data, speakers: int, seed: int) -> None:
    expected, lens = example(speakers, seed)
    order = st.lists(st.permutations(range(speakers)), min_size=2, max_size=2)
    activity_order, word_order = (torch.tensor(data.draw(order)) for _ in range(2))
    shuffled = UMEOutput(
        expected.frame_lens,
        expected.activity_lens,
        permute(expected.activity_logits, activity_order, dim=2),
        expected.sources,
        permute(expected.ctc_log_probs, word_order, dim=1),
        permute(expected.word_states, word_order, dim=1),
    )
    aligned = align_heads(shuffled, lens, FRAME_SHIFT, ["diarization", "asr"])
    assert torch.equal(aligned.sources, expected.sources)
    assert torch.equal(aligned.activity_logits, expected.activity_logits)
    assert torch.equal(aligned.ctc_log_probs, expected.ctc_log_probs)
    assert torch.equal(aligned.word_states, expected.word_states)


def test_without_words_the_activity_is_aligned_alone() -> None:
    output, lens = example(2, seed=0)
    expected = output.activity_logits
    output.activity_logits, output.ctc_log_probs = expected.flip(2), None
    aligned = align_heads(output, lens, FRAME_SHIFT, ["diarization", "asr"])
    assert torch.equal(aligned.activity_logits, expected) and aligned.ctc_log_probs is None


def test_nothing_beyond_a_clip_says_whose_its_words_are() -> None:
    output, lens = example(2, seed=1)
    expected = output.ctc_log_probs.clone()
    for stream in range(2):  # whichever is said to go on speaking
        output.ctc_log_probs = expected.clone()
        output.ctc_log_probs[1, stream, output.frame_lens[1] :, 0] = -99.0
        output.ctc_log_probs[1, 1 - stream, output.frame_lens[1] :, 0] = 0.0
        beyond = output.ctc_log_probs.clone()
        alone = align_heads(output, lens, FRAME_SHIFT, ["asr"])
        assert torch.equal(alone.ctc_log_probs, beyond)
    curves = []

    def watch(sources, curve, *_):
        curves.append(curve)
        return torch.tensor([[0, 1], [0, 1]])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ume.inference.align.busy_order", watch)
        for junk in (-99.0, 0.0):
            output.ctc_log_probs = expected.clone()
            output.ctc_log_probs[1, :, output.frame_lens[1] :, 0] = junk
            align_heads(output, lens, FRAME_SHIFT, ["asr"])
    assert torch.equal(*curves)


def test_only_the_heads_that_are_named_are_reordered() -> None:
    output, lens = example(2, seed=0)
    activity, words = output.activity_logits.flip(2), output.ctc_log_probs.flip(1)
    output.activity_logits, output.ctc_log_probs = activity, words
    aligned = align_heads(output, lens, FRAME_SHIFT, ["diarization"])
    assert torch.equal(aligned.activity_logits, activity.flip(2))
    assert torch.equal(aligned.ctc_log_probs, words)


@pytest.mark.parametrize(
    "form, losses, heads, rule",
    [
        ("encoders", (1, 1, 1), ["diarization", "asr"], "activity and words: reordered"),
        ("voices", (1, 1, 1), ["diarization"], "activity: reordered"),
        ("voices", (0, 1, 1), [], "none: there are no voices beside"),
        ("encoders", (0, 1, 1), ["asr"], "words: reordered"),
    ],
)
def test_words_that_are_read_of_voices_stay_with_them(form, losses, heads, rule) -> None:
    size = EBranchformerSize(2, 8, 2, 8, 8, 3)
    for tied in (False, True):
        model = UME(UMEConfig(
            vocab_size=VOCAB, encoder=EncoderConfig("e-branchformer", e_branchformer=size),
            separation=SeparationConfig(hidden=8, bottleneck=8, blocks=1, repeats=1),
            asr=RecogniserConfig(form, 8, 2, 8, 3, 1, 1), loss=LossConfig(*losses, tied=tied),
        ))  # fmt: skip
        assert heads_to_align(model) == ([] if tied else heads)
        assert alignment_rule(model).startswith("none: the heads were trained" if tied else rule)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_streams_that_never_change_keep_their_order(level: float) -> None:
    sources, curves = torch.randn(1, 2, 10 * FRAME), torch.full((1, 2, 10), level)
    order = busy_order(sources, curves, torch.tensor([10 * FRAME]), FRAME_SHIFT)
    assert order.tolist() == [[0, 1]]


@pytest.mark.parametrize("shift", [0.01, 0.04])
def test_activity_has_a_pace_of_its_own(shift: float) -> None:
    output, lens = example(2, seed=0)
    activity = output.activity_logits
    if shift == 0.01:
        activity = activity.repeat_interleave(2, dim=1)
    else:
        activity = activity.view(2, BLOCK, 2, 2).mean(dim=2)
    words = output.ctc_log_probs
    output.activity_logits, output.ctc_log_probs = activity.flip(2), words.flip(1)
    aligned = align_heads(output, lens, shift, ["diarization", "asr"])
    assert torch.equal(aligned.activity_logits, activity)
    assert torch.equal(aligned.ctc_log_probs, words)
