"""Training Echo's stages: one after the other, killed and resumed, and what is refused."""

import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from lhotse import CutSet, Recording, SupervisionSet
from lhotse.utils import fastcopy

from ume.dataset.utterances import utterance_cuts
from ume.decoding.lang import Config as LangConfig
from ume.decoding.lang import main as prepare_lang
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing.conversations import Config as ConversationsConfig
from ume.mixing.conversations import main as simulate_conversations
from ume.models.echo import STAGES, EchoConfig, SlotConfig
from ume.models.files import load_echo
from ume.nn.encoders import EncoderConfig
from ume.nn.factors import FactorConfig
from ume.nn.specaugment import SpecAugment
from ume.nn.vit import ViTSize
from ume.nn.whisper import WhisperSize
from ume.training.checkpoint import find_checkpoints, load_checkpoint
from ume.training.processes import join
from ume.training.stages.stage import StageConfig
from ume.training.train_echo import Config, EchoTask, by_turns, main


@pytest.fixture(scope="module")
def conversations(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mix") / "conversations"
    config = ConversationsConfig(
        data=str(data), output=str(folder), mixtures="train=6 dev=3", num_speakers="1,2",
        duration=3.0, turn=1.0,
    )  # fmt: skip
    simulate_conversations(config)
    return folder


@pytest.fixture(scope="module")
def lang(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lang") / "char"
    prepare_lang(LangConfig([str(data / "text_train")], str(folder)))
    return folder


def config(stage: str, exp: Path, *folders: Path, **changes: object) -> Config:
    encoder = EncoderConfig("vit", vit=ViTSize(num_layers=1, width=16, num_heads=2))
    factors = FactorConfig(width=8, codebooks=2, entries=4, residual=2)
    slots = SlotConfig(num_slots=2, width=16, num_layers=1, voice_layers=1, num_heads=2)
    options = dict(
        model=EchoConfig(encoder, 8, 8, factors, slots),
        learn=StageConfig(predictor_width=16, predictor_layers=1),
        steps=4,
        max_duration=8.0,
        valid_every=2,
        valid_cuts=4,
        save_every=2,
        keep=9,
        average_every=1,
        average_last=0.5,
        log_every=1,
        warmup=2,
        num_workers=0,
        num_threads=1,
        crop=None if stage in ("content", "factors") else 1.5,
        best_by="accuracy" if stage == "speakers" else "loss",
        large_margin_share=0.5,
        large_margin_crop=2.0,
    )
    return Config(str(exp), [str(folder) for folder in folders], stage, **{**options, **changes})


def train(given: Config) -> Path:
    main(given)
    return Path(given.exp)


def test_all_stages_follow_one_another(data, conversations, lang, tmp_path):
    before = None
    for stage in STAGES:
        folders = (data, conversations) if stage in ("jepa", "speakers") else (data,)
        if stage == "slots":
            folders = (conversations,)
        given = config(stage, tmp_path / stage, *folders)
        given.initialize_from = None if before is None else str(before)
        given.lang = str(lang) if stage in ("content", "factors") else None
        if before is not None:
            given.model = EchoConfig()  # the model of the stage before is what counts
        exp = train(given)
        model = load_echo(exp)
        assert model.config.stages == list(STAGES[: STAGES.index(stage) + 1])
        record = read_json(exp / "train.json")
        assert record["steps"] == 4 and record["stages"] == model.config.stages
        assert (exp / "bpe.model").exists() == (stage != "jepa")
        lines = [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]
        watched = {name for line in lines for name in line if name.startswith("valid/")}
        assert watched, stage
        if stage == "jepa":
            assert watched >= {"valid/deviation", "valid/rank", "valid/uniformity"}
        before = exp
    assert model.encoder.width == 16 and model.config.vocab_size > 8
    learned = load_echo(tmp_path / "content").content.weight
    assert torch.equal(model.content.weight, learned)


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    stage, data, conversations, lang, tmp_path
):
    folder = conversations if stage == "slots" else data
    words = str(lang) if stage in ("content", "factors") else None
    whole, killed = tmp_path / "whole", tmp_path / "killed run"
    main(config(stage, whole, folder, lang=words))
    main(config(stage, killed, folder, lang=words))
    (killed / "checkpoint-4.pt").unlink()
    (killed / "train.json").unlink()
    main(config(stage, killed, folder, lang=words, num_workers=1))
    assert [step for step, _ in find_checkpoints(killed)] == [2, 4]
    ours, theirs = (load_checkpoint(folder / "checkpoint-4.pt") for folder in (killed, whole))
    for key in ("model", "model_avg", "aids"):
        assert (theirs[key] or key == "aids") and all(
            torch.equal(ours[key][name], value) for name, value in theirs[key].items()
        )
    curves = [(folder / "metrics.jsonl").read_text() for folder in (killed, whole)]
    assert curves[0] == curves[1]
    if stage == "jepa":
        aids = [load_checkpoint(whole / f"checkpoint-{step}.pt")["aids"] for step in (2, 4)]
        assert any(not torch.equal(aids[0][name], value) for name, value in aids[1].items()
                   if name.startswith("teacher."))  # fmt: skip


@pytest.mark.parametrize("kind", ["vit", "log-mel", "whisper"])
def test_heads_are_trained_on_an_encoder_that_stays_as_it_is(kind, data, conversations, tmp_path):
    given = config("speakers", tmp_path / "speakers", data, encoder_rate=0.0)
    given.model.encoder.kind = kind
    given.model.encoder.whisper = WhisperSize(16, 2, 1)
    before = train(given)
    given = config("slots", tmp_path / "slots", conversations, encoder_rate=0.0)
    given.initialize_from = str(before)
    exp = train(given)
    first = load_checkpoint(exp / "checkpoint-2.pt")["model"]
    last = load_checkpoint(exp / "checkpoint-4.pt")["model"]
    for name, value in first.items():
        moved = name.startswith(("slots.", "voices."))
        if value.is_floating_point() and "weight" in name:
            assert torch.equal(last[name], value) != moved, name
    assert yaml.safe_load((exp / "model.yaml").read_text())["stages"] == ["speakers", "slots"]
    head = load_echo(before).speaker.state_dict()
    assert all(torch.equal(v, head[k]) for k, v in load_echo(exp).speaker.state_dict().items())


def test_lower_layers_that_are_frozen_stay_as_they_are(data, tmp_path):
    given = config("speakers", tmp_path, data, weight_decay=0.0)
    given.model.encoder.vit.num_layers = 2
    given.model.encoder.frozen_layers = 1
    train(given)
    first, last = (load_checkpoint(tmp_path / f"checkpoint-{n}.pt")["model"] for n in (2, 4))
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert {name.split(".")[2] for name in moved if name.startswith("encoder.layers")} == {"1"}
    assert not any(name.startswith("encoder.embedding") for name in moved)


def test_what_is_frozen_hides_nothing_from_the_first_step_on(data, lang, tmp_path, monkeypatch):
    modes = []

    def watch(self, features, lens, before=SpecAugment.forward):
        modes.append(self.training)
        return before(self, features, lens)

    monkeypatch.setattr(SpecAugment, "forward", watch)
    train(config("content", tmp_path, data, encoder_rate=0.0, lang=str(lang)))
    assert modes and not any(modes)


def test_dev_has_no_say_in_whom_factors_tell(data, lang, tmp_path):
    exp = train(config("factors", tmp_path, data, lang=str(lang), crop=None))
    lines = [json.loads(line) for line in (exp / "metrics.jsonl").read_text().splitlines()]
    logged = {name for line in lines for name in line}
    assert "train/speaker" in logged and "valid/back" in logged and "valid/speaker" not in logged


@pytest.mark.parametrize(
    "stage, changes, message",
    [
        ("phones", {}, "give one of jepa, content"),
        ("content", {}, "needs --lang"),
        ("content", {"lang": "LANG", "crop": 2.0}, "leave --crop out"),
        ("factors", {"lang": "LANG", "crop": 2.0}, "leave --crop out"),
        ("speakers", {"best_by": "loss"}, "needs --best_by accuracy"),
        ("speakers", {"best_by": "der"}, "validation gives accuracy"),
        ("jepa", {"learn": StageConfig({"ancor": 0.0})}, "no loss ancor; it has prediction, redun"),
        ("jepa", {"learn": StageConfig({"anchor": 0.0})}, "no loss anchor"),
        ("factors", {"initialize_from": "JEPA", "encoder_weights": "auto"}, "give one"),
        ("jepa", {"initialize_from": "NOWHERE"}, "train_echo"),
    ],
)
def test_options_that_cannot_be(stage, changes, message, data, lang, tmp_path):
    given = config(stage, tmp_path, data)
    for name, value in changes.items():
        if value == "JEPA":
            value = str(train(config("jepa", tmp_path / "jepa", data)))
        places = {"LANG": str(lang), "NOWHERE": str(tmp_path / "none")}
        setattr(given, name, places.get(str(value), value))
    with pytest.raises(UmeError, match=message):
        main(given)


def test_a_mixture_of_more_speakers_than_slots_is_refused(conversations, tmp_path):
    given = config("slots", tmp_path, conversations)
    given.model.slots.num_slots = 1
    with pytest.raises(UmeError, match="has 2 speakers and the model answers for 1"):
        main(given)


def test_recordings_teach_slots_nothing(data, conversations, tmp_path):
    real = tmp_path / "real"
    prepare_recordings(conversations, real)
    with pytest.raises(UmeError, match="is a recording, whose voices are not known apart"):
        main(config("slots", tmp_path / "exp", real))
    with pytest.raises(UmeError, match="dev cuts of one speaker, and there is none"):
        main(config("speakers", tmp_path / "exp", real))


def prepare_recordings(conversations: Path, folder: Path) -> None:
    """The conversations as recordings of nobody knows whose voices."""
    folder.mkdir()
    for part in ("train", "dev"):
        cuts = []
        for cut in CutSet.from_file(conversations / f"cuts_{part}_part.jsonl.gz"):
            path = folder / f"{cut.id}.wav"
            soundfile.write(path, cut.load_audio()[0], 16000)
            supervisions = [fastcopy(s, recording_id=cut.id) for s in cut.supervisions]
            recording = Recording.from_file(path, recording_id=cut.id)
            whole = recording.to_cut()
            whole.id, whole.supervisions = cut.id, supervisions
            if len({s.speaker for s in supervisions}) > 1:
                cuts.append(whole)
        CutSet.from_cuts(cuts).to_file(folder / f"cuts_{part}_part.jsonl.gz")
    shutil.copy(conversations / "about.json", folder)


def test_content_needs_words(data, lang, tmp_path):
    mute = shutil.copytree(data, tmp_path / "mute")
    for path in mute.glob("supervisions_*.jsonl.gz"):
        mutes = [fastcopy(s, text=None) for s in SupervisionSet.from_file(path)]
        SupervisionSet.from_segments(mutes).to_file(path)
    with pytest.raises(UmeError, match="stage content: no cut of part train has a text"):
        main(config("content", tmp_path / "exp", mute, lang=str(lang)))


def test_the_last_share_of_speakers_is_of_longer_windows(data, tmp_path):
    given = config("speakers", tmp_path, data, large_margin_crop=1.8, crop=1.0, max_duration=4.0)
    updates = EchoTask(given, join()).data.updates(0)
    seen = [(kind, batches[0].audio.shape[1]) for kind, batches in itertools.islice(updates, 4)]
    assert [kind for kind, _ in seen] == ["speakers"] * 2 + ["margin"] * 2
    assert [samples for _, samples in seen] == [16000] * 2 + [28800] * 2


def test_stages_are_not_repeated(data, conversations, tmp_path):
    exp = train(config("jepa", tmp_path / "jepa", data))
    again = config("jepa", tmp_path / "again", data, initialize_from=str(exp))
    with pytest.raises(UmeError, match="been through stage jepa already"):
        main(again)
    with pytest.raises(
        UmeError, match="nothing does not exist; the recipe's corpus stage makes it"
    ):
        main(config("jepa", tmp_path / "none", tmp_path / "nothing"))


@pytest.mark.parametrize("stage", ["content", "factors"])
def test_words_are_learned_from_utterances_only(stage, conversations, lang, tmp_path):
    with pytest.raises(UmeError, match=f"stage {stage} learns from utterances and .* holds none"):
        main(config(stage, tmp_path, conversations, lang=str(lang), crop=None))


def test_two_processes_train_a_stage_together(data, tmp_path):
    given = config("factors", tmp_path / "exp", data)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(dataclasses.asdict(given)))
    command = ["torchrun", "--standalone", "--nproc_per_node=2", "-m", "ume", "train-echo"]
    command = [sys.executable, "-m", "ume", *command, "--config", str(path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    record = read_json(tmp_path / "exp" / "train.json")
    assert record["processes"] == 2 and record["steps"] == 4
    state = load_checkpoint(tmp_path / "exp" / "checkpoint-4.pt")
    assert len(state["rng"]) == 2 and state["aids"]


def test_validation_hears_every_speaker_before_any_twice(data):
    cuts = by_turns(utterance_cuts(data, "train"))
    speakers = [cut.supervisions[0].speaker for cut in cuts]
    number = len(set(speakers))
    assert len(speakers) == 3 * number
    assert speakers[:number] == sorted(set(speakers)) == speakers[number : 2 * number]
