"""A recogniser with Whisper's own decoder: from its weights, through training, to words."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ume.dataset.mixtures import read_cuts
from ume.decoding.attention import FoundationDecoder, padded
from ume.decoding.decode import Config as DecodeConfig
from ume.decoding.decode import main as decode
from ume.decoding.lang import Config as LangConfig
from ume.decoding.lang import main as prepare_lang
from ume.decoding.shards import Shards
from ume.decoding.tune import SHARES
from ume.decoding.tune import Config as TuneConfig
from ume.decoding.tune import main as tune
from ume.errors import UmeError
from ume.files import write_json
from ume.inference.infer import Config as InferConfig
from ume.inference.infer import main as infer
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate
from ume.models.files import FOUNDATION, load_model
from ume.models.ume import LossConfig, UMEConfig
from ume.nn.recogniser import RecogniserConfig
from ume.nn.separation import SeparationConfig
from ume.nn.whisper_decoder import WhisperDecoder, greedy_search
from ume.pretrained.whisper import find_whisper, load_whisper
from ume.training.train import Config, main


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two updates: on true sources, and on mixtures with conditioning."""
    try:
        find_whisper()
    except UmeError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("foundation")
    simulate(SimulateConfig(str(data), str(folder / "mix"), 2, "train=12 dev=2"))
    prepare_lang(LangConfig([str(data / "text_train")], str(folder / "lang")))
    config = Config(
        exp=str(folder / "exp"),
        data=str(folder / "mix"),
        lang=str(folder / "lang"),
        model=UMEConfig(
            separation=SeparationConfig(hidden=16, bottleneck=8, blocks=3, repeats=1),
            asr=RecogniserConfig(
                "conditioning", 16, 2, 32, 7, 1, 1, dropout=0.0, foundation_decoder=True
            ),
        ),
        encoder_weights="auto",
        steps=2,
        asr_steps=1,
        max_duration=6.0,
        valid_every=2,
        valid_mixtures=1,
        save_every=2,
        average_every=1,
        num_workers=0,
    )
    main(config)
    return config


def test_the_decoder_starts_from_its_own_weights_and_keeps_its_tokens(trained: Config) -> None:
    model, whisper = load_model(trained.exp), load_whisper()
    assert isinstance(model.asr.decoder, WhisperDecoder)
    state = model.asr.decoder.state_dict()
    assert torch.equal(state["embedding.weight"], whisper.decoder["embedding.weight"])
    moved = [name for name, value in whisper.decoder.items() if not torch.equal(state[name], value)]
    assert "layers.0.cross_attention.key.weight" in moved and len(moved) > 50
    largest = max((state[name] - whisper.decoder[name]).abs().max() for name in moved)
    assert 0 < largest < 1e-3  # two steps of a small rate
    assert model.vocabulary is not None and (Path(trained.exp) / FOUNDATION).is_dir()
    metrics = [json.loads(line) for line in open(Path(trained.exp) / "metrics.jsonl")]
    values = {key: value for line in metrics for key, value in line.items()}
    assert 0 < values["valid/attention"] < 2 and "valid/ter" in values


def test_its_words_are_those_of_a_greedy_search_on_each_stream(
    trained: Config, tmp_path: Path
) -> None:
    cuts = f"{trained.data}/cuts_dev_max.jsonl.gz"
    infer(InferConfig(trained.exp, cuts, str(tmp_path)))
    options = DecodeConfig(str(tmp_path), trained.lang, "attention", trained.exp)
    decode(options)
    words = json.loads((tmp_path / "words" / "attention.json").read_text())
    assert [entry["speaker"] for entry in words] == ["1", "2"] * len(read_cuts(cuts))
    decode(replace(options, max_duration=0.1))  # one stream after the other
    assert json.loads((tmp_path / "words" / "attention.json").read_text()) == words
    with pytest.raises(UmeError, match="no decoder for --method ctc-attention: train with"):
        decode(replace(options, method="ctc-attention"))


def test_its_weights_may_go_back_towards_those_it_began_from(
    trained: Config, tmp_path: Path
) -> None:
    model, whisper = load_model(trained.exp), load_whisper()
    model.asr.decoder.load_state_dict(
        {name: value.flip(0) for name, value in whisper.decoder.items()}  # far from where it began
    )
    exp = tmp_path / "exp"
    shutil.copytree(trained.exp, exp, ignore=shutil.ignore_patterns("*.pt", "model.safetensors"))
    save_file(model.state_dict(), str(exp / "model.safetensors"))
    cuts = f"{trained.data}/cuts_dev_max.jsonl.gz"
    hyp = tmp_path / "hyp"
    infer(InferConfig(str(exp), cuts, str(hyp)))
    states = Shards(hyp / "states", model.encoder.width)
    streams = {name: states[name] for name in list(states.frames)[:3]}
    options = DecodeConfig(str(hyp), trained.lang, "attention", str(exp))
    at_shares = FoundationDecoder(options, [0.0, 0.5, 1.0]).at_settings(streams)
    memory, lens = padded(states, list(streams))
    rules = replace(model.vocabulary.rules, no_speech_threshold=1.0)
    for place, share in enumerate((0.0, 0.5, 1.0)):
        model.asr.decoder.load_state_dict(
            {name: v.flip(0) + share * (v - v.flip(0)) for name, v in whisper.decoder.items()}
        )
        texts = greedy_search(model.asr.decoder, memory, rules, lens)
        expected = [model.vocabulary.text(text) for text in texts]
        assert [at_shares[name][place] for name in streams] == expected
        alone = FoundationDecoder(replace(options, pretrained_share=share))(streams)
        assert list(alone.values()) == expected
    assert any(texts[0] != texts[2] for texts in at_shares.values())
    record = json.loads((exp / "train.json").read_text())
    write_json(exp / "train.json", {**record, "encoder_weights_sha256": "another"})
    FoundationDecoder(options, [0.0])
    with pytest.raises(UmeError, match="is not what .*exp was trained from"):
        FoundationDecoder(options, [0.0, 0.5])


def test_the_share_of_its_first_weights_is_chosen_on_dev(trained: Config, tmp_path: Path) -> None:
    cuts = f"{trained.data}/cuts_dev_max.jsonl.gz"
    infer(InferConfig(trained.exp, cuts, str(tmp_path)))
    given = (str(tmp_path), cuts, trained.lang, str(tmp_path))
    tune(TuneConfig(*given, methods=["attention"], model=trained.exp))
    tuned = json.loads((tmp_path / "tuned_decoding_attention.json").read_text())
    assert set(tuned["cpwer"]) == {f"{share:g}" for share in SHARES}
    assert tuned["cpwer"][f"{tuned['pretrained_share']:g}"] == min(tuned["cpwer"].values())
    assert "blank_penalty" not in tuned
    chosen = str(tmp_path / "tuned_decoding_attention.json")
    decode(DecodeConfig(str(tmp_path), trained.lang, "attention", trained.exp, tuned=chosen))
    share = json.loads((tmp_path / "words" / "attention" / "1.json").read_text())
    assert share["pretrained_share"] == tuned["pretrained_share"]


def test_a_voice_alone_gives_what_whisper_gives_for_it_unpadded(trained: Config) -> None:
    """Before training nothing of what was added says anything."""
    model = load_model(trained.exp)
    whisper = load_whisper()
    model.encoder.load_state_dict(whisper.encoder)
    model.asr.decoder.load_state_dict(whisper.decoder)
    torch.nn.init.zeros_(model.asr.to_decoder.weight)
    torch.nn.init.zeros_(model.asr.to_decoder.bias)
    fresh = type(model.conditioner)(["activity", "masks"], 384, 3, 257)
    model.conditioner.load_state_dict(fresh.state_dict())
    audio, lens = torch.randn(1, 32000) * 0.1, torch.tensor([32000])
    with torch.no_grad():
        states = model.recognise(audio, lens).states
        torch.testing.assert_close(states, model.encoder(audio, lens).layers[-1])
        decoder = WhisperDecoder(model.config.encoder.whisper).eval()
        decoder.load_state_dict(whisper.decoder)
        rules = model.vocabulary.rules
        expected = greedy_search(decoder, model.encoder(audio, lens).layers[-1], rules)
        assert greedy_search(model.asr.decoder, states, rules, torch.tensor([100])) == expected


def test_windows_teach_the_streams_what_whisper_hears_in_each_voice(
    trained: Config, tmp_path: Path
) -> None:
    model = replace(trained.model, loss=LossConfig(distillation=0.5))
    options = dict(crop=1.0, crop_share=1.0, asr_steps=0, valid_every=1, log_every=1)
    main(replace(trained, exp=str(tmp_path / "taught"), model=model, **options))
    lines = [json.loads(line) for line in open(tmp_path / "taught" / "metrics.jsonl")]
    logged = [line for line in lines if "train/distillation" in line]
    assert len(logged) == 2 and all(0 < line["train/distillation"] < 4 for line in logged)
    assert not any("train/asr" in line for line in logged)  # windows have no words
    assert all(line["train/encoder_norm/distillation"] > 0 for line in logged)
    with pytest.raises(UmeError, match="distillation needs --encoder_weights"):
        plain = replace(model, asr=replace(model.asr, foundation_decoder=False))
        main(replace(trained, exp=str(tmp_path / "x"), model=plain, encoder_weights=None))


def test_without_weights_there_is_no_such_decoder(trained: Config, tmp_path: Path) -> None:
    with pytest.raises(UmeError, match="foundation_decoder needs --encoder_weights"):
        main(replace(trained, exp=str(tmp_path / "x"), encoder_weights=None))
    assert not (tmp_path / "x").exists()
