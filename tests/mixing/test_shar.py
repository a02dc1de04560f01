"""Shar of mixtures whose parts differ: numbers of speakers, turns, recordings."""

from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet, RecordingSet, SupervisionSegment

from ume.dataset.mixtures import load_example, read_cuts
from ume.mixing import shar
from ume.mixing.conversations import Config as ConversationsConfig
from ume.mixing.conversations import main as simulate_conversations
from ume.mixing.simulate import Config as SimulateConfig
from ume.mixing.simulate import main as simulate


@pytest.fixture(params=["2,3", "conversations"])
def folder(request: pytest.FixtureRequest, data: Path, tmp_path: Path) -> Path:
    made = tmp_path / "mixtures"
    if request.param == "2,3":
        simulate(SimulateConfig(str(data), str(made), "2,3", "test=4", modes="part"))
    else:
        simulate_conversations(ConversationsConfig(
            data=str(data), output=str(made), mixtures="test=4", num_speakers="1,2,3",
            duration=4.0, turn=1.0,
        ))  # fmt: skip
    return made


def test_each_speaker_is_one_source(folder: Path, tmp_path: Path) -> None:
    shar.main(shar.Config(str(folder), str(tmp_path / "shar"), 3))
    virtual = list(read_cuts(folder / "cuts_test_part.jsonl.gz"))
    packed = list(CutSet.from_shar(in_dir=tmp_path / "shar" / "test_part"))
    assert [cut.id for cut in packed] == [cut.id for cut in virtual]
    numbers = set()
    for cut, expected in zip(packed, virtual):
        example = load_example(expected)
        numbers.add(len(example.sources))
        assert np.allclose(cut.load_audio()[0], example.audio, atol=1e-4)
        for k, source in enumerate(example.sources, 1):
            assert np.allclose(cut.load_custom(f"source_{k}")[0], source, atol=1e-4)
        assert not cut.has_custom(f"source_{len(example.sources) + 1}")
        assert not cut.has_custom("noise")
    assert len(numbers) > 1


def test_a_mixture_is_the_sum_of_what_is_decoded_already(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = read_cuts(folder / "cuts_test_part.jsonl.gz")
    mixtures = [cut.load_audio()[0] for cut in cuts]
    monkeypatch.setattr(shar, "load_audio", None)
    for cut, mixture in zip(cuts, mixtures):
        assert np.abs(shar.mono_cut(cut).load_audio()[0] - mixture).max() <= 2**-15


def test_a_mixture_above_full_scale_stays_the_sum_of_its_parts(data: Path, tmp_path: Path) -> None:
    simulate(SimulateConfig(str(data), str(tmp_path / "mix"), "2", "test=1", modes="max"))
    (cut,) = read_cuts(tmp_path / "mix" / "cuts_test_max.jsonl.gz")
    loud = cut.perturb_volume(50.0)
    audio = loud.load_audio()[0]
    assert np.abs(audio).max() > 1.2
    packed = shar.mono_cut(loud)
    mixture = packed.load_audio()[0]
    parts = sum(packed.load_custom(f"source_{k}")[0] for k in (1, 2))
    assert 0.99 < np.abs([mixture, packed.load_custom("source_1")[0]]).max() <= 1
    assert np.abs(mixture - parts).max() < 1e-4
    assert np.abs(mixture * np.abs(audio).max() / np.abs(mixture).max() - audio).max() < 1e-2


def test_a_recording_has_no_parts(data: Path) -> None:
    (recording, *_) = RecordingSet.from_file(data / "recordings_test.jsonl.gz")
    cut = recording.to_cut()
    cut.supervisions = [
        SupervisionSegment(name, recording.id, 0.0, cut.duration, speaker=name) for name in "ab"
    ]
    assert shar.parts_of(cut) == {}
    packed = shar.mono_cut(cut)
    assert not packed.custom and np.array_equal(packed.load_audio(), cut.load_audio())
