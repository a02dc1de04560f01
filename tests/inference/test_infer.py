"""The hypothesis folder: every file of it, the same for any number of jobs."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Dict, Set

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet
from safetensors import safe_open
from torch import Tensor

from ume.activity import num_frames, read_rttm
from ume.dataset.batch import collate
from ume.dataset.mixtures import load_example, num_samples, read_cuts
from ume.errors import UmeError
from ume.files import read_json, write_json
from ume.inference.align import align_heads
from ume.inference.infer import Config, main
from ume.inference.segment import Config as SegmentConfig
from ume.inference.segment import Rule
from ume.inference.segment import main as segment
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate
from ume.models.files import load_model, save_model
from ume.models.ume import TASKS, UME, LossConfig, UMEConfig
from ume.nn.e_branchformer import EBranchformerSize
from ume.nn.encoders import EncoderConfig
from ume.nn.recogniser import RecogniserConfig
from ume.nn.separation import SeparationConfig

VOCAB = 7


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def model(mixtures: Path, tmp_path_factory: pytest.TempPathFactory, request) -> Path:
    """A small model for ``mixtures`` that has not learned anything."""
    torch.manual_seed(0)
    config = UMEConfig(
        num_speakers=read_json(mixtures / "about.json")["num_speakers"],
        vocab_size=VOCAB,
        encoder=EncoderConfig(
            "e-branchformer", e_branchformer=EBranchformerSize(2, 16, 2, 32, 32, 7)
        ),
        separation=SeparationConfig(hidden=16, bottleneck=8, blocks=3, repeats=1),
        asr=RecogniserConfig("voices", 16, 2, 32, 7, 1, 1),
        loss=LossConfig(tied=request.param),
    )
    folder = tmp_path_factory.mktemp("exp") / "a model"
    save_model(folder, config, UME(config).state_dict())
    return folder


@pytest.fixture
def config(model: Path, mixtures: Path, tmp_path: Path) -> Config:
    """Four mixtures in two or more batches."""
    cuts = str(mixtures / "cuts_test_max.jsonl.gz")
    return Config(str(model), cuts, str(tmp_path / "hyp"), max_duration=8.0, num_threads=1)


def infer(config: Config, num_jobs: int = 1) -> Path:
    """Run all jobs, the last one first, and close the folder with a threshold of one half."""
    for job in range(num_jobs, 0, -1):
        main(replace(config, job=job, num_jobs=num_jobs))
    tuned = Path(config.hyp).parent / "tuned.json"
    write_json(tuned, asdict(Rule(0.5, 5)))
    segment(SegmentConfig(config.hyp, str(tuned)))
    return Path(config.hyp)


def tensors(folder: Path) -> Dict[str, Tensor]:
    """All shards of a folder."""
    found: Dict[str, Tensor] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(str(path), framework="pt") as shard:
            assert float(shard.metadata()["frame_shift"]) == 0.02
            found.update({name: shard.get_tensor(name) for name in shard.keys()})
    return found


def files(folder: Path) -> Set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_system_writes_every_file_of_the_contract(config: Config) -> None:
    hyp, cuts = infer(config), read_cuts(config.cuts)
    speakers = range(1, len(cuts[0].tracks) + 1)
    voices = {f"audio/{cut.id}_{k}.flac" for cut in cuts for k in speakers}
    shards = {"meta/1.json", "posteriors/1.safetensors", "ctc/1.safetensors"}
    assert files(hyp) == voices | shards | {"hyp.rttm", "segments.json", "meta.json"}
    posteriors, ctc = tensors(hyp / "posteriors"), tensors(hyp / "ctc")
    assert set(posteriors) == {cut.id for cut in cuts}
    assert set(ctc) == {f"{cut.id}_{k}" for cut in cuts for k in speakers}
    for cut in cuts:
        frames = num_frames(num_samples(cut))
        activity = posteriors[cut.id]
        assert activity.shape == (frames, len(speakers)) and activity.dtype == torch.float16
        assert 0 <= activity.min() and activity.max() <= 1
        for k in speakers:
            log_probs = ctc[f"{cut.id}_{k}"]
            assert log_probs.shape == (frames, VOCAB) and log_probs.dtype == torch.float32
            torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(frames))
            info = soundfile.info(hyp / "audio" / f"{cut.id}_{k}.flac")
            assert (info.frames, info.samplerate) == (num_samples(cut), 16000)
            assert (info.channels, info.subtype) == (1, "PCM_16")
    assert set(read_rttm(hyp / "hyp.rttm")) <= {cut.id for cut in cuts}


def test_label_k_is_the_models_stream_k_in_every_file(config: Config) -> None:
    hyp, model = infer(config), load_model(config.model)
    posteriors, ctc = tensors(hyp / "posteriors"), tensors(hyp / "ctc")
    for cut in read_cuts(config.cuts):
        batch = collate([load_example(cut)])
        with torch.no_grad():
            output = model(batch.audio, batch.audio_lens)
            if not model.config.loss.tied:
                output = align_heads(output, batch.audio_lens, 0.02, ["diarization"])
        expected = output.activity_logits[0].sigmoid()
        assert not torch.allclose(expected.flip(1), expected, atol=2e-3), "columns are too alike"
        torch.testing.assert_close(posteriors[cut.id].float(), expected, rtol=0, atol=2e-3)
        for k, (words, voice) in enumerate(zip(output.ctc_log_probs[0], output.sources[0]), 1):
            torch.testing.assert_close(ctc[f"{cut.id}_{k}"], words, rtol=0, atol=1e-3)
            written = torch.from_numpy(soundfile.read(hyp / "audio" / f"{cut.id}_{k}.flac")[0])
            likeness = [torch.corrcoef(torch.stack([written.float(), own]))[0, 1]
                        for own in output.sources[0]]  # fmt: skip
            assert likeness[k - 1] > 0.999 and likeness[k - 1] == max(likeness), voice.shape


def test_meta_tells_how_it_was_made(config: Config, model: Path) -> None:
    meta, cuts = read_json(infer(config) / "meta.json"), read_cuts(config.cuts)
    assert (meta["model"], meta["cuts"], meta["input"]) == (str(model), config.cuts, "separated")
    assert len(meta["model_sha256"]) == len(meta["cuts_sha256"]) == 64
    assert meta["recordings"] == sorted(cut.id for cut in cuts) and meta["num_recordings"] == 4
    assert meta["num_speakers"] == len(cuts[0].tracks)
    assert (meta["threshold"], meta["median"]) == (0.5, 5)
    tied = load_model(model).config.loss.tied
    rule = "none: the heads were trained" if tied else "activity: reordered"
    assert meta["alignment_rule"].startswith(rule)
    assert meta["audio_seconds"] == pytest.approx(sum(cut.duration for cut in cuts))
    assert meta["cpu_seconds"] > 0


@pytest.mark.parametrize(
    "task, tasks, folders",
    [
        ("diarization", ["diarization"], {"posteriors"}),
        ("separation", ["separation"], {"audio"}),
        ("asr", ["separation", "asr"], {"audio", "ctc"}),  # words are those of the voices
    ],
)
def test_a_model_of_one_task_answers_it_alone(config: Config, tmp_path, task, tasks, folders):
    network = load_model(config.model)
    weights = {name: float(name == task) for name in TASKS}
    network.config.loss = replace(network.config.loss, **weights)
    save_model(tmp_path / "single", network.config, network.state_dict())
    hyp = infer(replace(config, model=str(tmp_path / "single")))
    found = {path.name for path in hyp.iterdir() if path.is_dir()} - {"meta"}
    assert found == folders
    assert read_json(hyp / "meta.json")["tasks"] == tasks
    assert (hyp / "hyp.rttm").exists() == (task == "diarization")


def test_words_may_be_left_out(config: Config) -> None:
    hyp = infer(replace(config, words=False))
    assert not (hyp / "ctc").exists() and (hyp / "audio").exists()
    assert read_json(hyp / "meta.json")["tasks"] == ["diarization", "separation"]


def test_a_model_of_words_alone_has_nothing_to_say_without_words(config: Config, tmp_path) -> None:
    network = load_model(config.model).config
    network.asr.differentiate_by = "voices"
    network.loss = replace(network.loss, diarization=0.0, separation=0.0, tied=False)
    save_model(tmp_path / "words", network, UME(network).state_dict())
    config = replace(config, model=str(tmp_path / "words"))
    hyp = infer(replace(config, words=False))
    assert read_json(hyp / "meta.json")["tasks"] == [] and not (hyp / "audio").exists()
    assert read_json(infer(config) / "meta.json")["tasks"] == ["separation", "asr"]


@pytest.mark.parametrize("kind", ["separated", "sources", "mixture"])
def test_what_an_attention_decoder_reads_is_kept(config: Config, tmp_path, kind) -> None:
    network = load_model(config.model).config
    network.asr.decoder_layers = 1
    save_model(tmp_path / "reader", network, UME(network).state_dict())
    hyp = infer(replace(config, model=str(tmp_path / "reader"), input=kind))
    ctc, states = tensors(hyp / "ctc"), tensors(hyp / "states")
    assert set(states) == set(ctc)
    assert all(value.shape == (len(ctc[name]), 16) for name, value in states.items())


@pytest.mark.parametrize("kind", ["separated", "sources", "mixture"])
@pytest.mark.parametrize("num_jobs", [2, 9])
def test_the_number_of_jobs_changes_nothing(config: Config, kind: str, num_jobs: int) -> None:
    config = replace(config, input=kind)
    alone = infer(replace(config, hyp=config.hyp + " of one"))
    shared = infer(replace(config, hyp=config.hyp + " of many"), num_jobs)
    for name in ("posteriors", "ctc"):
        ours, theirs = tensors(shared / name), tensors(alone / name)
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    others = {name for name in files(alone) if name.startswith(("audio", "hyp", "segments"))}
    assert others == {n for n in files(shared) if n.startswith(("audio", "hyp", "segments"))}
    for name in others:
        assert (alone / name).read_bytes() == (shared / name).read_bytes(), name
    metas = [read_json(folder / "meta.json") for folder in (alone, shared)]
    for name in ("recordings", "num_samples", "num_recordings"):
        assert metas[0][name] == metas[1][name]


def test_controls_of_the_same_start_are_those_of_their_own(config: Config, tmp_path: Path) -> None:
    main(replace(config, hyp=str(tmp_path / "set" / "separated"), beside="sources mixture"))
    for kind in ("separated", "sources", "mixture"):
        alone = replace(config, input=kind, hyp=str(tmp_path / kind))
        main(alone)
        found, expected = tmp_path / "set" / kind, Path(alone.hyp)
        assert files(found) == files(expected)
        for name in files(found) - {"meta/1.json"}:
            assert (found / name).read_bytes() == (expected / name).read_bytes(), name
        metas = [read_json(folder / "meta" / "1.json") for folder in (found, expected)]
        for meta in metas:
            del meta["cpu_seconds"]
        assert metas[0] == metas[1]
    with pytest.raises(UmeError, match="'noise'; choose one of separated, sources, mixture"):
        main(replace(config, beside="noise"))


def test_sources_are_recognised_one_by_one(config: Config, model: Path) -> None:
    hyp, cuts = infer(replace(config, input="sources")), read_cuts(config.cuts)
    found = tensors(hyp / "ctc")
    assert files(hyp) == {"meta/1.json", "ctc/1.safetensors", "meta.json"}
    assert len(found) == len(cuts) * len(cuts[0].tracks)
    network, cut = load_model(model), cuts[0]
    for k, audio in enumerate(cut.load_audio(mixed=False), start=1):
        padded = np.zeros((1, num_samples(cut)), np.float32)
        padded[0, : audio.shape[-1]] = audio.reshape(-1)
        expected = network.recognise(torch.from_numpy(padded), torch.tensor([padded.shape[1]]))
        torch.testing.assert_close(
            found[f"{cut.id}_{k}"], expected.log_probs[0], atol=1e-4, rtol=1e-4
        )


def test_a_source_that_a_mixture_lacks_is_no_stream(
    data: Path, model: Path, tmp_path: Path
) -> None:
    simulate(SimulateConfig(str(data), str(tmp_path / "both"), "2,3", "test=4"))
    cuts = tmp_path / "both" / "cuts_test_max.jsonl.gz"
    main(Config(str(model), str(cuts), str(tmp_path / "hyp"), "sources", max_duration=60.0))
    assert set(tensors(tmp_path / "hyp" / "ctc")) == {
        f"{cut.id}_{k}" for cut in read_cuts(cuts) for k in range(1, len(cut.tracks) + 1)
    }


def test_the_mixture_is_one_stream(config: Config) -> None:
    hyp = infer(replace(config, input="mixture"))
    assert set(tensors(hyp / "ctc")) == {f"{cut.id}_1" for cut in read_cuts(config.cuts)}
    assert read_json(hyp / "meta.json")["num_speakers"] == 1


def test_voices_have_the_rate_of_their_mixtures(config: Config, tmp_path: Path) -> None:
    cuts = [cut.resample(8000) for cut in read_cuts(config.cuts)[:2]]
    low = tmp_path / "cuts_test_max.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(low)
    hyp = infer(replace(config, cuts=str(low)))
    for cut in cuts:
        info = soundfile.info(hyp / "audio" / f"{cut.id}_1.flac")
        assert (info.frames, info.samplerate) == (num_samples(cut, 8000), 8000)


def test_half_precision_on_demand(config: Config) -> None:
    hyp = infer(replace(config, half=True, input="mixture"))
    assert {value.dtype for value in tensors(hyp / "ctc").values()} == {torch.float16}


def test_a_second_run_with_other_jobs_replaces_the_first(config: Config) -> None:
    infer(config, 3)
    whole = set(tensors(Path(config.hyp) / "posteriors"))
    hyp = infer(config, 1)
    assert set(tensors(hyp / "posteriors")) == whole
    main(replace(config, job=9, num_jobs=9))  # has no share
    assert not (hyp / "posteriors" / "9.safetensors").exists()
    main(replace(config, job=1, num_jobs=1))
    (hyp / "posteriors" / "9.safetensors").write_bytes(b"of an earlier run")
    main(replace(config, job=9, num_jobs=9))
    assert not (hyp / "posteriors" / "9.safetensors").exists()


def test_loud_voices_are_made_quieter_together(config: Config, monkeypatch) -> None:
    def loud(self: UME, audio: Tensor, lens: Tensor, words: bool) -> object:
        output = forward(self, audio, lens, words=words)
        assert output.sources is not None
        output.sources[:, 0], output.sources[:, 1] = 2.0, 1.0
        return output

    forward = UME.forward
    monkeypatch.setattr(UME, "forward", loud)
    main(config)
    for cut in read_cuts(config.cuts):
        voices = [
            soundfile.read(Path(config.hyp) / "audio" / f"{cut.id}_{k}.flac")[0] for k in (1, 2)
        ]
        assert voices[0].max() == pytest.approx(0.999, abs=1e-4)
        assert voices[1].max() == pytest.approx(0.4995, abs=1e-4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"input": "both"}, "--input is 'both'; choose one of separated, sources, mixture"),
        ({"job": 3, "num_jobs": 2}, "--job 3 is not between 1 and --num-jobs 2"),
        ({"job": 0}, "--job 0 is not between 1 and --num-jobs 1"),
        ({"model": "none"}, "model.safetensors does not exist; steps/train.sh makes it"),
        ({"cuts": "none.jsonl.gz"}, "none.jsonl.gz does not exist; the stage of mixtures makes it"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    config: Config, change: Dict[str, object], message: str
) -> None:
    with pytest.raises(UmeError, match=message) as error:
        main(replace(config, **change))
    assert "\n" not in str(error.value)
    assert not Path(config.hyp).exists()
