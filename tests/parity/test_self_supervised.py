"""Self-supervised encoders beside ``transformers``: every layer, alone and padded in a batch."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from ume.errors import UmeError
from ume.nn.encoders import EncoderConfig, build_encoder
from ume.nn.self_supervised import SelfSupervisedSize
from ume.pretrained import initialise

SIZE = dict(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
    conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
)  # fmt: skip
NORMS = {  # the base models' form, and the large ones'
    "base": dict(feat_extract_norm="group", do_stable_layer_norm=False),
    "large": dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True),
}


@pytest.fixture(params=["WavLM", "Hubert", "Wav2Vec2"])
def kind(request):
    return request.param


@pytest.fixture(params=list(NORMS))
def saved(request, kind, tmp_path):
    """A model with random weights, in a folder."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SIZE, **NORMS[request.param])
    model = getattr(transformers, f"{kind}Model")(config).eval()
    model.save_pretrained(tmp_path)
    return model, str(tmp_path)


def encoder_of(folder, **changes):
    size = SelfSupervisedSize(folder)
    encoder = build_encoder(EncoderConfig("self-supervised", self_supervised=size, **changes))
    assert len(initialise(encoder)) == 64
    return encoder.eval()


def test_every_layer_is_theirs_alone_and_padded(saved):
    model, folder = saved
    encoder = encoder_of(folder)
    lens = torch.tensor([16000, 9000])
    audio = torch.randn(2, 16000) * 0.1
    together = encoder(audio, lens)
    assert together.layers.shape == (3, 2, 50, 32) and together.lens.tolist() == [50, 29]
    for row, length in enumerate(lens.tolist()):
        clip = audio[row : row + 1, :length]
        heard = clip
        if encoder.normalise:
            heard = (clip - clip.mean()) / (clip.var(unbiased=False) + 1e-7).sqrt()
        output = model(heard, output_hidden_states=True)
        theirs = torch.stack([*output.hidden_states[1:-1], output.last_hidden_state])
        frames = theirs.shape[2]
        assert frames in (together.lens[row] - 1, together.lens[row] - 2)
        for ours in (encoder(clip, lens[row : row + 1]).layers, together.layers[:, row : row + 1]):
            torch.testing.assert_close(ours[:, :, :frames], theirs, atol=1e-5, rtol=1e-5)
            last = ours[:, :, frames : int(together.lens[row])]
            assert torch.equal(last, ours[:, :, frames - 1 : frames].expand_as(last))
    assert together.layers[:, 1, 29:].abs().sum() == 0


def test_layers_are_frozen_and_recomputed_as_in_the_other_encoders(saved):
    _, folder = saved
    encoder = encoder_of(folder, frozen_layers=2, checkpointing=True).train()
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert trained and all(
        name.startswith(("model.encoder.layers.2.", "model.encoder.layer_norm."))
        for name in trained
    )
    encoder(torch.randn(1, 8000), torch.tensor([8000])).layers[-1].sum().backward()
    got = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert got and got <= trained


def test_a_clip_shorter_than_a_frame_has_one(saved):
    _, folder = saved
    output = encoder_of(folder)(torch.randn(1, 100), torch.tensor([100]))
    assert output.layers.shape[2] == 1 and torch.isfinite(output.layers).all()


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(UmeError, match="encoder.self_supervised.source .*nothing here"):
        encoder_of(str(tmp_path / "nothing here"))


def test_weights_that_are_not_all_there_are_refused(saved):
    _, folder = saved
    path = f"{folder}/model.safetensors"
    state = load_file(path)
    state.pop("masked_spec_embed", None)
    save_file(state, path, {"format": "pt"})
    encoder_of(folder)
    for name in [name for name in state if ".layers.1." in name]:
        del state[name]
    save_file(state, path, {"format": "pt"})
    with pytest.raises(UmeError, match=r"lacks encoder\.layers\.1\..* and \d+ more"):
        encoder_of(folder)


def test_names_of_older_releases_are_understood(saved):
    model, folder = saved
    path = f"{folder}/model.safetensors"
    before = load_file(path)
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in before.items()
    }
    assert old.keys() != before.keys()
    save_file(old, path, {"format": "pt"})
    state = encoder_of(folder).model.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0)
