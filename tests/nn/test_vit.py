"""Echo's encoder and its predictor: sizes, padding, what is hidden."""

import torch

from ume.nn.lengths import valid_frames
from ume.nn.vit import Predictor, ViTEncoder, ViTSize

SMALL = ViTSize(num_layers=2, width=32, num_heads=4)


def test_the_default_has_25_million_parameters() -> None:
    with torch.no_grad():
        count = sum(parameter.numel() for parameter in ViTEncoder(ViTSize()).parameters())
    assert 24e6 < count < 26e6


def test_a_clip_alone_and_padded_in_a_batch_gives_the_same() -> None:
    torch.manual_seed(0)
    encoder = ViTEncoder(SMALL).double().eval()
    audio, lens = torch.randn(2, 9000, dtype=torch.double), torch.tensor([9000, 4801])
    together = encoder(audio, lens)
    assert together.lens.tolist() == [29, 16] and together.frame_shift == 0.02
    assert together.layers.shape == (2, 2, 29, 32) and not together.layers[:, 1, 16:].any()
    alone = encoder(audio[1:, :4801], lens[1:])
    torch.testing.assert_close(together.layers[:, 1:, :16], alone.layers, atol=1e-9, rtol=1e-7)


def test_what_is_hidden_has_no_say() -> None:
    torch.manual_seed(0)
    encoder, predictor = ViTEncoder(SMALL).eval(), Predictor(32, 16, 2).eval()
    x, lens = encoder.embed(torch.randn(2, 6400), torch.tensor([6400, 3200]))
    valid = valid_frames(lens, x.shape[1])
    seen = valid.clone()
    seen[:, 3:7] = False
    other = x.clone()
    other[:, 3:7] += torch.randn_like(x[:, 3:7])
    first, second = (encoder.look(each, seen) for each in (x, other))
    torch.testing.assert_close(first[seen], second[seen])
    guesses = [predictor(states, seen, valid) for states in (first, second)]
    torch.testing.assert_close(guesses[0][valid], guesses[1][valid])
    assert (encoder.look(x, valid) - first)[seen].abs().max() > 1e-3
    torch.testing.assert_close(
        encoder.look(x, valid)[valid], encoder.run_layers(x, lens)[-1][valid]
    )
