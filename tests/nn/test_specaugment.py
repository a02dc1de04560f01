"""SpecAugment hides what it says and nothing else."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig, build_encoder
from ume.nn.specaugment import SpecAugment, SpecAugmentConfig, stretches


def test_without_masks_or_in_evaluation_nothing_is_hidden():
    features, lens = torch.randn(2, 30, 8), torch.tensor([30, 20])
    assert torch.equal(SpecAugment(SpecAugmentConfig())(features, lens), features)
    masked = SpecAugment(SpecAugmentConfig(time_masks=2, mel_masks=2))
    assert torch.equal(masked.eval()(features, lens), features)
    assert not torch.equal(masked.train()(features, lens), features)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.integers(0, 3), st.integers(0, 2), st.integers(1, 9))
def test_what_is_hidden_is_the_clips_mean_within_bounds(seed, time_masks, mel_masks, mel_mask):
    torch.manual_seed(seed)
    features, lens = torch.randn(3, 60, 10), torch.tensor([60, 31, 2])
    config = SpecAugmentConfig(time_masks, 12, 0.2, mel_masks, mel_mask)
    result = SpecAugment(config)(features, lens)
    for clip, hidden, length in zip(features, result, lens.tolist()):
        changed = clip != hidden
        assert not changed[length:].any()
        mean = clip[:length].mean()
        torch.testing.assert_close(hidden[changed], mean.expand(int(changed.sum())))
        bands = changed[:length].all(dim=0)
        assert int(bands.sum()) <= mel_masks * mel_mask
        frames = changed[:length].all(dim=1)
        if not bands.all():
            assert int(frames.sum()) <= time_masks * min(12, 0.2 * length)


def test_stretches_are_everywhere_and_of_all_lengths():
    torch.manual_seed(0)
    mask = stretches(1, torch.full((4000,), 5.0), torch.full((4000,), 20), 20)
    lengths = mask.sum(dim=1)
    assert sorted(set(lengths.tolist())) == [0, 1, 2, 3, 4, 5]
    assert ((lengths == 0).float().mean() - 1 / 6).abs() < 0.03
    assert mask.any(dim=0).all()


def test_encoders_hide_parts_of_their_features_in_training_only():
    size = EBranchformerSize(1, 16, 2, 32, 32, 7, dropout=0.0)
    masks = SpecAugmentConfig(time_masks=2, time_share=0.5, mel_masks=2)
    encoder = build_encoder(EncoderConfig("e-branchformer", e_branchformer=size, specaugment=masks))
    audio, lens = torch.randn(2, 16000), torch.tensor([16000, 12000])
    first, second = (encoder.train()(audio, lens).layers for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (encoder.eval()(audio, lens).layers for _ in range(2))
    assert torch.equal(first, second)
