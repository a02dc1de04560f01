"""Conversations as mixture folders: valid, true to their turns, the same for any number of jobs."""

import subprocess
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
import soundfile
from lhotse import Recording, RecordingSet, load_manifest
from lhotse.cut import MixedCut

from ume.activity import SAMPLING_RATE, read_rttm, segments_to_samples
from ume.audio import load_audio
from ume.dataset import validate
from ume.dataset.mixtures import load_example
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing import conversations as module
from ume.mixing.conversations import Config, load_piece, main, single_speaker_der
from ume.mixing.cuts import cut_activity, speech_segments, utterances
from ume.mixing.metadata import measure
from ume.scoring.reference import Reference

SHORT = {"duration": 8.0, "turn": 1.5, "num_speakers": "1,2,3,4"}


def cuts(folder: Path, part: str = "train") -> List[MixedCut]:
    return list(load_manifest(folder / f"cuts_{part}_part.jsonl.gz"))


@pytest.fixture(scope="module")
def conversations(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations of 1 to 4 speakers."""
    folder = tmp_path_factory.mktemp("conversations") / "mix"
    main(Config(data=str(data), output=str(folder), mixtures="train=12", **SHORT))
    return folder


def test_they_are_valid_and_load_as_mixtures(conversations: Path) -> None:
    validate.main(validate.Config(str(conversations), audio=True))
    for index, cut in enumerate(cuts(conversations)):
        sources = utterances(cut)
        assert len(sources) == index % 4 + 1 and cut.duration >= 8.0
        example = load_example(cut)
        assert example.speakers == list(sources) == list(Reference.of(cut).speakers)
        assert example.sources.shape == (len(sources), round(cut.duration * SAMPLING_RATE))
        assert np.abs(example.sources.sum(axis=0) - example.audio).max() < 1e-6
        assert np.abs(example.audio).max() <= 0.9 + 1e-4
        assert example.activity.any(axis=0).all()  # everybody speaks
        for audio, (speaker, turns) in zip(example.sources, sources.items()):
            segments = cut_activity(cut)[speaker]
            assert 0 <= segments[0][0] and segments[-1][1] <= cut.duration
            inside = segments_to_samples([(turn.start, turn.end) for turn in turns], len(audio))
            assert np.abs(audio[inside]).max() > 0 and not audio[~inside].any()


def test_reference_is_the_speech_of_the_utterances(conversations: Path, data: Path) -> None:
    reference = read_rttm(conversations / "ref_train_part.rttm")
    speech = {s.id: speech_segments(s) for s in load_manifest(data / "supervisions_train.jsonl.gz")}
    for cut in cuts(conversations):
        assert reference[cut.id].keys() == cut_activity(cut).keys()
        for speaker, segments in cut_activity(cut).items():
            assert np.allclose(reference[cut.id][speaker], segments, atol=2e-3)
        for track in cut.tracks:
            piece = track.cut
            inside = [
                (max(s, piece.start) - piece.start, min(e, piece.end) - piece.start)
                for s, e in speech[piece.recording.id] if e > piece.start and s < piece.end
            ]  # fmt: skip
            assert np.allclose(speech_segments(piece.supervisions[0]), inside, atol=1e-4)


def test_words_are_those_of_whole_utterances(conversations: Path, data: Path) -> None:
    whole = {s.id: s for s in load_manifest(data / "supervisions_train.jsonl.gz")}
    kept = 0
    for track in (track for cut in cuts(conversations) for track in cut.tracks):
        utterance = whole[track.cut.recording.id]
        segments = speech_segments(utterance)
        inside = (
            track.cut.start <= segments[0][0] + 1e-4 and track.cut.end >= segments[-1][1] - 1e-4
        )
        text = track.cut.supervisions[0].text
        assert text == (utterance.text if inside else None)
        kept += text is not None
    assert 0 < kept


def test_speakers_differ_in_level_as_the_rules_say(conversations: Path) -> None:
    for cut in cuts(conversations):
        levels: Dict[str, List[float]] = {}
        for track in cut.tracks:
            audio = load_audio(track.cut.recording)[0]
            levels.setdefault(track.cut.supervisions[0].speaker, []).append(measure(audio)[0])
        assert all(max(own) - min(own) < 0.01 for own in levels.values())
        means = [np.mean(own) for own in levels.values()]
        assert max(means) <= -25 + 0.01 and max(means) - min(means) <= 8.01


def test_jobs_change_nothing_and_numbers_are_independent(
    data: Path, conversations: Path, tmp_path: Path
) -> None:
    main(Config(data=str(data), output=str(tmp_path / "four"), mixtures="train=12", num_jobs=4,
                **SHORT))  # fmt: skip
    for path in conversations.iterdir():
        assert path.read_bytes() == (tmp_path / "four" / path.name).read_bytes(), path.name
    main(Config(data=str(data), output=str(tmp_path / "few"), mixtures="train=5", **SHORT))
    assert cuts(tmp_path / "few") == cuts(conversations)[:5]
    main(Config(data=str(data), output=str(tmp_path / "other"), mixtures="train=5", seed=1,
                **SHORT))  # fmt: skip
    assert cuts(tmp_path / "other") != cuts(conversations)[:5]


def test_mixtures_are_conversations_of_a_turn_each(data: Path, tmp_path: Path) -> None:
    main(Config(data=str(data), output=str(tmp_path / "mix"), mixtures="train=6", duration=0,
                overlap_share=1, overlap=1000, turn=1000, num_speakers="2,3"))  # fmt: skip
    validate.main(validate.Config(str(tmp_path / "mix"), audio=True))
    for index, cut in enumerate(cuts(tmp_path / "mix")):
        assert len(cut.tracks) == index % 2 + 2
    about = read_json(tmp_path / "mix" / "about.json")["parts"]["train"]
    assert about["turns"]["overlap_share"] == 1 and about["part"]["overlap_ratio"] > 50


def test_about_tells_what_is_in_it(conversations: Path) -> None:
    about = read_json(conversations / "about.json")
    assert about["rules"]["turn"] == 1.5 and about["rules"]["pause"] == 0.5
    part = about["parts"]["train"]
    assert part["num_speakers"] == {"1": 3, "2": 3, "3": 3, "4": 3}
    turns = sum(len(cut.tracks) for cut in cuts(conversations))
    assert part["turns"]["turns_per_conversation"] == pytest.approx(turns / 12, abs=1e-3)
    assert 0 < part["turns"]["overlap_share"] < 1 and 0 < part["part"]["overlap_ratio"] < 50
    assert part["part"]["all_speak_der"] > 20


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three noises of 2, 3 and 4 s."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for seconds in (2, 3, 4):
        audio = 0.05 * rng.standard_normal(seconds * SAMPLING_RATE)
        soundfile.write(folder / f"hum-{seconds}.wav", audio, SAMPLING_RATE)
    recordings = [Recording.from_file(path) for path in sorted(folder.glob("*.wav"))]
    RecordingSet.from_recordings(recordings).to_file(folder / "noise.jsonl.gz")
    return folder / "noise.jsonl.gz"


def test_noise_is_as_far_below_the_speakers_as_asked_and_in_the_mixture_only(
    noise: Path, data: Path, tmp_path: Path
) -> None:
    options = {**SHORT, "num_speakers": "1,2", "mixtures": "train=8 dev=4 test=2"}
    main(Config(data=str(data), output=str(tmp_path / "clean"), **options))
    folder = tmp_path / "noisy"
    main(Config(data=str(data), output=str(folder), noise=str(noise), snr=[15.0, 15.0], **options))
    validate.main(validate.Config(str(folder), audio=True))
    recordings = load_manifest(data / "recordings_train.jsonl.gz")
    for clean, noisy in zip(cuts(tmp_path / "clean"), cuts(folder)):
        before, after = load_example(clean), load_example(noisy)
        scale = after.sources.std() / before.sources.std()  # lowered where the peak would exceed
        assert scale <= 1 + 1e-4 and np.abs(after.audio).max() <= 0.9 + 1e-4
        assert np.abs(after.sources - scale * before.sources).max() < 1e-4
        assert (after.activity == before.activity).all()
        rest = after.audio - after.sources.sum(axis=0)
        tenths = rest[: len(rest) // 1600 * 1600].reshape(-1, 1600)
        assert (np.abs(tenths).max(axis=1) > 0).all()  # without a gap
        levels = {}
        for cut in (track.cut for track in noisy.tracks if track.cut.supervisions):
            utterance = load_audio(recordings[cut.recording.id])[0]
            level = measure(utterance)[0] + 20 * np.log10(cut.custom["gain"])
            levels[cut.supervisions[0].speaker] = level
        assert measure(rest)[0] == pytest.approx(np.mean(list(levels.values())) - 15, abs=0.5)
    heard = [
        {track.cut.recording.id for cut in cuts(folder, part) for track in cut.tracks
         if not track.cut.supervisions} for part in ("train", "dev", "test")
    ]  # fmt: skip
    assert list(map(len, heard)) == [1, 1, 1] and len(set.union(*heard)) == 3
    about = read_json(folder / "about.json")
    assert about["snr"] == [15.0, 15.0] and about["parts"]["dev"]["noises"] == 1


def test_only_what_is_heard_is_decoded_again(
    noise: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: List[str] = []

    def load(recording: Recording, **options: Any) -> np.ndarray:
        whole.extend([] if options else [recording.id])
        return load_audio(recording, **options)

    monkeypatch.setattr(module, "load_audio", load)
    monkeypatch.setattr(module, "MAX_PEAK", 0.1)  # every conversation has to be mixed
    main(Config(data=str(data), output=str(tmp_path / "mix"), mixtures="train=4", noise=str(noise),
                **SHORT))  # fmt: skip
    assert len(whole) == len(set(whole))  # to be measured


def test_a_piece_is_a_stretch_of_the_recording(noise: Path) -> None:
    for recording in load_manifest(noise):
        for own in (recording, recording.resample(8000).resample(16000)):
            audio = load_audio(own)[0]
            for first, count in ((0, len(audio)), (3, len(audio) - 3), (4001, 12345)):
                assert np.array_equal(load_piece(own, first, count), audio[first : first + count])


def test_the_single_speaker_answer(conversations: Path) -> None:
    """Equals the DER that pyannote.metrics gives that answer."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    metric = DiarizationErrorRate()
    for cut in cuts(conversations):
        reference, answer = Annotation(), Annotation()
        speech = Timeline()
        for speaker, segments in cut_activity(cut).items():
            for start, end in segments:
                reference[Segment(start, end), speaker] = speaker
                speech.add(Segment(start, end))
        for number, segment in enumerate(speech.support()):
            answer[segment, number] = "one"
        metric(reference, answer, uem=Timeline([Segment(0, cut.duration)]))
    assert single_speaker_der(cuts(conversations)) == pytest.approx(100 * abs(metric), abs=0.5)


def test_the_script_takes_rules_from_a_file(data: Path, tmp_path: Path, root: Path) -> None:
    (tmp_path / "rules.yaml").write_text("{duration: 8.0, turn: 1.5, num_speakers: 1}\n")
    command = [root / "steps/simulate_conversations.sh", "--conf", tmp_path / "rules.yaml",
               "--mixtures", "train=4", data, tmp_path / "a mix"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    rules = {"duration": 8.0, "turn": 1.5, "num_speakers": 1}
    main(Config(data=str(data), output=str(tmp_path / "own"), mixtures="train=4", **rules))
    assert cuts(tmp_path / "a mix") == cuts(tmp_path / "own")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_speakers": "1,x"}, "--num-speakers 1,x: give numbers from 1"),
        ({"num_speakers": "0"}, "--num-speakers 0: give numbers from 1"),
        ({"num_speakers": "3", "mixtures": "dev=1"}, "part dev: 2 speakers are fewer than"),
        ({"mixtures": "eval=1"}, "has no part eval"),
        ({"change": 2.0}, "--change must be within"),
        ({"snr": [20.0, 10.0]}, "--snr .*: give the lowest and the highest"),
        ({"noise": "NOISE", "mixtures": "train=1 dev=1 test=1 more=1"}, "3 recordings are too few"),
        ({"num_jobs": 0}, "--num-jobs must be at least 1"),
        ({"data": "/nowhere"}, "local/prepare_voxceleb2.sh or local/prepare_speakers.sh makes it"),
    ],
)
def test_bad_input(data: Path, noise: Path, tmp_path: Path, options: dict, message: str) -> None:
    if "noise" in options:
        options = {**options, "noise": str(noise)}
    with pytest.raises(UmeError, match=message):
        main(Config(**{"data": str(data), "output": str(tmp_path / "out"), **options}))
    assert not (tmp_path / "out").exists()
