"""Overlap, levels and noise of a mixture, and their bins."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.cut import MixedCut, MixTrack
from lhotse.supervision import AlignmentItem

from ume.dataset.mixtures import load_example
from ume.scoring.conditions import AXES, LEVELS, NOISE, OVERLAP, conditions
from ume.scoring.reference import Reference


def track(folder: Path, name: str, power: float, speech: tuple = ()) -> MixTrack:
    """4 s of a square wave; a source where ``speech`` (start, duration) is given."""
    path = folder / f"{name}.wav"
    audio = np.sqrt(power) * np.sign(np.sin(np.arange(64000) * (0.1 + len(name) / 100)) + 1e-9)
    if speech:
        start, duration = (round(16000 * t) for t in speech)
        audio[:start] = audio[start + duration :] = 0
    soundfile.write(path, audio, 16000, subtype="FLOAT")
    supervisions = []
    if speech:
        alignment = {"speech": [AlignmentItem("speech", *speech)]}
        supervisions = [SupervisionSegment(name, name, 0, 4.0, speaker=name, alignment=alignment)]
    recording = Recording.from_file(path)
    return MixTrack(MonoCut(name, 0.0, 4.0, 0, supervisions, recording=recording))


def measured(*tracks: MixTrack) -> dict:
    cut = MixedCut("m", list(tracks))
    return conditions(cut, Reference.of(cut), load_example(cut))


def test_by_hand(tmp_path: Path) -> None:
    ann, bob = track(tmp_path, "ann", 0.02, (0.0, 3.0)), track(tmp_path, "bobby", 0.01, (2.0, 2.0))
    values = measured(ann, bob)
    assert values["overlap"] == pytest.approx(25)  # one second of four
    assert values["level difference"] == pytest.approx(10 * np.log10(2), abs=1e-4)
    assert "speech to noise" not in values
    noisy = measured(ann, bob, track(tmp_path, "noise", 0.05))
    speech = load_example(MixedCut("m", [ann, bob])).audio.astype(np.float64)
    expected = 10 * np.log10((speech**2).mean() / 0.05)
    assert noisy["speech to noise"] == pytest.approx(expected, abs=1e-4)
    assert {name: noisy[name] for name in values} == values


def test_one_speaker_has_no_level_difference(tmp_path: Path) -> None:
    values = measured(track(tmp_path, "ann", 0.02, (0.0, 3.0)))
    assert values == {"overlap": 0.0}


@pytest.mark.parametrize(
    "axis, value, name",
    [
        (OVERLAP, 0.0, "0-20 %"), (OVERLAP, 20.0, "20-40 %"), (OVERLAP, 100.0, "80-100 %"),
        (LEVELS, 2.4, "0-2.5 dB"), (LEVELS, 5.0, "from 5 dB"),
        (NOISE, -5.1, "under -5 dB"), (NOISE, 0.0, "0-5 dB"), (NOISE, 12.0, "from 5 dB"),
    ],
)  # fmt: skip
def test_bins(axis: tuple, value: float, name: str) -> None:
    assert axis in AXES and axis.bin(value) == name and name in axis.bins
