"""Utterances as cuts: trimmed to their speech, with all of their words or none."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ume.corpora.folder import Utterance, write_data_folder
from ume.dataset.utterances import utterance_cuts
from ume.errors import UmeError
from ume.mixing.cuts import source_cut

SAMPLES = 160000  # of an utterance

speech = st.lists(st.integers(0, SAMPLES), min_size=2, max_size=6, unique=True).map(
    lambda points: [(s / 16000, e / 16000) for s, e in zip(*[iter(sorted(points))] * 2)]
)


def utterance(segments: list, trimmed: bool = True) -> Utterance:
    return Utterance(
        "a-1", "a", "F", "SOME WORDS", Path("none.flac"), SAMPLES, segments, "vad", trimmed=trimmed
    )


@given(speech, st.booleans())
def test_words_stay_whatever_times_round_to(segments: list, trimmed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_data_folder(Path(folder), {"train": [utterance(segments, trimmed)]}, {})
        (cut,) = utterance_cuts(folder, "train")
    (supervision,) = cut.supervisions
    assert supervision.text == "SOME WORDS"
    assert cut.duration == pytest.approx(segments[-1][1] - segments[0][0] if trimmed else 10.0)


@pytest.mark.parametrize("start, duration", [(1.0001, 3.9999), (1.0, 3.9999)])
def test_words_go_with_a_tenth_of_a_millisecond_of_speech(start: float, duration: float) -> None:
    spoken = utterance([(1.0, 2.0), (3.0, 5.0)])
    recording, supervision = spoken.recording(), spoken.supervision()
    whole = source_cut("whole", recording, supervision, 1.0, 4.0, 1.0)
    assert whole.supervisions[0].text == "SOME WORDS"
    cut = source_cut("cut", recording, supervision, 1.0, duration, start)
    assert cut.supervisions[0].text is None


def test_a_part_in_which_nothing_is_said_is_refused(tmp_path: Path) -> None:
    write_data_folder(tmp_path, {"train": [utterance([], trimmed=False)]}, {})
    with pytest.raises(UmeError, match="part train has no speech; make it again by"):
        utterance_cuts(tmp_path, "train")
