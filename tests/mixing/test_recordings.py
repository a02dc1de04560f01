"""Real recordings: cuts of several speakers, whose sources nobody knows."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ume.activity import read_rttm
from ume.dataset import validate
from ume.dataset.mixtures import load_example, read_cuts
from ume.errors import UmeError
from ume.files import read_json
from ume.mixing.recordings import Config, main

RTTM = """SPEAKER one 1 0.5 1.0 <NA> <NA> ann <NA> <NA>
SPEAKER one 1 1.2 0.5 <NA> <NA> bob <NA> <NA>
SPEAKER one 1 2.0 0.5 <NA> <NA> ann <NA> <NA>
SPEAKER two 1 0.0 9.0 <NA> <NA> cyd <NA> <NA>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, seconds in (("one", 3), ("two", 2)):
        audio = 0.1 * rng.standard_normal(16000 * seconds)
        soundfile.write(tmp_path / f"{name}.flac", audio, 16000, "PCM_16")
    (tmp_path / "ref.rttm").write_text(RTTM)
    return tmp_path


def test_the_mixture_is_the_recording_and_its_sources_are_zero(folder: Path) -> None:
    mix = folder / "mix"
    main(Config(str(folder), str(folder / "ref.rttm"), str(mix), "real"))
    one, two = read_cuts(mix / "cuts_real_part.jsonl.gz")
    example = load_example(one)
    audio, _ = soundfile.read(folder / "one.flac", dtype="float32")
    np.testing.assert_array_equal(example.audio, audio)
    assert example.speakers == ["ann", "bob"] and not example.sources.any()
    assert example.activity.sum(axis=0).tolist() == [75, 25]
    window = load_example(one, 16000, 32000)
    np.testing.assert_array_equal(window.audio, audio[16000:32000])
    assert load_example(two).sources.any()  # one speaker: the voice is the recording
    reference = read_rttm(mix / "ref_real_part.rttm")
    assert reference["one"]["ann"] == [(0.5, 1.5), (2.0, 2.5)]
    assert reference["two"]["cyd"] == [(0.0, 2.0)]  # no longer than the recording
    validate.main(validate.Config(str(mix), audio=True))
    shutil.copy(mix / "cuts_real_part.jsonl.gz", mix / "mine.jsonl.gz")
    validate.main(validate.Config(str(mix / "mine.jsonl.gz")))


def test_speech_after_the_end_is_said_and_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = "".join(
        f"SPEAKER one 1 {start} 1.0 <NA> <NA> {speaker} <NA> <NA>\n"
        for start, speaker in ((2.75, "bob"), (3.5, "dan"), (7.0, "dan"), (8.0, "eve"))
    )
    (folder / "ref.rttm").write_text(RTTM.replace("two 1 0.0 9.0", "two 1 0.0 2.001") + late)
    mix = folder / "mix"
    main(Config(str(folder), str(folder / "ref.rttm"), str(mix)))
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        f"{folder / 'one.flac'} is shorter than its reference: 3.75 s of speech and 2 whole "
        "speaker(s) are left out"
    )
    assert read_json(mix / "about.json")["outside"] == {"one": {"speakers": 2, "seconds": 3.75}}
    assert read_rttm(mix / "ref_test_part.rttm")["one"].keys() == {"ann", "bob"}


def test_names_and_times_that_cannot_be(folder: Path) -> None:
    with pytest.raises(UmeError, match="--part my_test: give a name of letters"):
        main(Config(str(folder), str(folder / "ref.rttm"), str(folder / "mix"), "my_test"))
    (folder / "ref.rttm").write_text(RTTM.replace("two 1 0.0 9.0", "two 1 2500 900"))
    with pytest.raises(UmeError, match="two.flac lasts 2.0 s and all its speech .* is after that"):
        main(Config(str(folder), str(folder / "ref.rttm"), str(folder / "mix")))
    assert not (folder / "mix").exists()


def test_a_recording_that_is_there_twice_is_refused(folder: Path) -> None:
    soundfile.write(folder / "two.wav", np.zeros(16000), 16000, "PCM_16")
    with pytest.raises(UmeError, match="two.wav is there as FLAC, too"):
        main(Config(str(folder), str(folder / "ref.rttm"), str(folder / "mix")))


def test_audio_and_reference_must_agree(folder: Path) -> None:
    (folder / "two.flac").unlink()
    with pytest.raises(UmeError, match="lacks recording two"):
        main(Config(str(folder), str(folder / "ref.rttm"), str(folder / "mix")))
    (folder / "empty").mkdir()
    with pytest.raises(UmeError, match="holds no"):
        main(Config(str(folder / "empty"), str(folder / "ref.rttm"), str(folder / "mix")))
