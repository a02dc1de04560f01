"""OWSM's decoder and its tokens, in files as ESPnet writes them; tests/parity has ESPnet itself."""

from pathlib import Path
from typing import Any, Dict

import pytest
import torch
import yaml

from ume.dataset.tokenizer import train_tokenizer
from ume.errors import UmeError
from ume.nn.encoders import EncoderConfig, build_foundation_decoder
from ume.nn.owsm_decoder import OwsmDecoder, OwsmDecoderSize
from ume.pretrained import foundation_vocabulary, initialise_decoder
from ume.pretrained.owsm import load_owsm_decoder
from ume.pretrained.owsm_vocabulary import load_owsm_vocabulary

SPECIAL = ["<blank>", "<unk>", "<na>", "<nospeech>", "<eng>", "<asr>", "<notimestamps>", "<0.00>"]
PIECES = ["▁", *"acest"]
TOKENS = [*SPECIAL, *PIECES, "<sos>", "<eos>", "<sop>"]
SIZE = OwsmDecoderSize(num_layers=2, num_heads=2, feed_forward=24, vocab_size=len(TOKENS))
NAMES = {
    "embedding.": "embed.0.",
    "layers.": "decoders.",
    "cross_attention_norm": "norm2",
    "attention_norm": "norm1",
    "feed_forward_norm": "norm3",
    ".cross_attention.": ".src_attn.",
    ".attention.": ".self_attn.",
    ".query.": ".linear_q.",
    ".key.": ".linear_k.",
    ".value.": ".linear_v.",
    ".out.": ".linear_out.",
    "feed_forward.0": "feed_forward.w_1",
    "feed_forward.2": "feed_forward.w_2",
    "output.": "output_layer.",
}


def theirs(name: str) -> str:
    """ESPnet's name of one of our tensors."""
    for ours, other in NAMES.items():
        name = name.replace(ours, other)
    return "after_norm." + name[len("norm.") :] if name.startswith("norm.") else name


@pytest.fixture
def decoder() -> OwsmDecoder:
    torch.manual_seed(0)
    decoder = OwsmDecoder(SIZE, 16).eval()
    for value in decoder.state_dict().values():
        torch.nn.init.normal_(value, std=0.3)
    return decoder


@pytest.fixture
def folder(decoder: OwsmDecoder, tmp_path: Path) -> Path:
    """What ESPnet leaves of a model with that decoder."""
    state = {f"decoder.{theirs(name)}": value for name, value in decoder.state_dict().items()}
    torch.save({**state, "encoder.x": torch.zeros(1)}, tmp_path / "valid.pth")
    config = {
        "decoder": "transformer",
        "decoder_conf": {"num_blocks": 2, "attention_heads": 2, "linear_units": 24},
        "token_list": TOKENS,
        "bpemodel": "data/token_list/bpe/bpe.model",
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "bpe.model").write_bytes(train_tokenizer(["cats set a test"], "char", 0))
    return tmp_path


def test_the_decoder_comes_back_and_its_tokens_go_along(
    decoder: OwsmDecoder, folder: Path, tmp_path: Path
) -> None:
    path, size, _ = load_owsm_decoder(folder)
    assert (path, size) == (folder / "valid.pth", SIZE)
    encoder = EncoderConfig("e-branchformer", owsm_decoder=SIZE)
    encoder.e_branchformer.width = 16
    new = build_foundation_decoder(encoder)
    vocabulary = initialise_decoder(new, folder, tmp_path / "kept")
    for name, value in decoder.state_dict().items():
        assert torch.equal(new.state_dict()[name], value), name
    assert vocabulary.symbols == TOKENS
    assert foundation_vocabulary(tmp_path / "kept").encode("CATS") == vocabulary.encode("cats")


def test_text_and_prompt(folder: Path) -> None:
    vocabulary = load_owsm_vocabulary(folder)
    tokens = vocabulary.encode("CATS  XA")
    assert [TOKENS[token] for token in tokens] == ["▁", *"cats", "▁", "<unk>", "a"]
    assert vocabulary.text([*tokens, TOKENS.index("<0.00>"), TOKENS.index("<eos>")]) == "cats a"
    rules = vocabulary.rules
    assert [TOKENS[n] for n in rules.prompt] == ["<sos>", "<eng>", "<asr>", "<notimestamps>"]
    assert TOKENS[rules.end] == "<eos>" and rules.end not in rules.suppressed
    left = set(range(len(TOKENS))) - set(rules.suppressed)
    assert {TOKENS[n] for n in left} == {*PIECES, "<eos>"}


def test_tokens_one_by_one_give_what_the_whole_text_gives(decoder: OwsmDecoder) -> None:
    frames, lens = torch.randn(2, 9, 16), torch.tensor([9, 5])
    tokens = torch.randint(0, len(TOKENS), (2, 6))
    with torch.no_grad():
        whole = decoder(tokens, decoder.start(frames, lens))
        state = decoder.start(frames, lens)
        steps = torch.cat([decoder(tokens[:, u : u + 1], state) for u in range(6)], dim=1)
        torch.testing.assert_close(steps, whole, atol=1e-5, rtol=1e-5)
        alone = decoder(tokens[1:], decoder.start(frames[1:, :5], lens[1:]))
        torch.testing.assert_close(alone, whole[1:], atol=1e-5, rtol=1e-5)
        # frames that are each there twice say the same: 40 ms frames on a grid of 20 ms
        twice = decoder.start(frames.repeat_interleave(2, dim=1), 2 * lens)
        torch.testing.assert_close(decoder(tokens, twice), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change, message", [
    ({"decoder": "rnn"}, "decoder is 'rnn', not transformer"),
    ({"decoder_conf": {"input_layer": "linear"}}, "input_layer is 'linear'; 'embed' is supported"),
    ({"token_list": TOKENS[:-3]}, "is not the model's; make the encoder's config agree"),
    ({"token_list": None}, "has no token_list"),
])  # fmt: skip
def test_what_does_not_fit_is_named(
    folder: Path, tmp_path: Path, change: Dict[str, Any], message: str
) -> None:
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**config, **change}))
    with pytest.raises(UmeError, match=message):
        initialise_decoder(OwsmDecoder(OwsmDecoderSize(1, 2, 24, 99), 16), folder, tmp_path / "x")


def test_a_missing_bpe_model_is_named(folder: Path) -> None:
    (folder / "bpe.model").unlink()
    with pytest.raises(UmeError, match="put data/token_list/bpe/bpe.model beside its config.yaml"):
        load_owsm_vocabulary(folder)
