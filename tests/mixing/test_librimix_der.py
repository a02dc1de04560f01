"""What a DER means on LibriMix: all speak, and an oracle in frames, by the official metadata."""

from pathlib import Path
from typing import Dict, Tuple

import numpy as np
import pytest

from ume.activity import Annotation, read_rttm, segments_to_frames
from ume.corpora import check_librimix
from ume.corpora.librimix import Metadata, speaker_of, utterance_of
from ume.files import read_json
from ume.mixing import librimix

TICK = 0.005  # s: LibriSpeech's lengths and the alignment's times are multiples
SHIFTS = (0.1, 0.04, 0.02, 0.01)  # s
ALL_SPEAK = {(2, "min"): 13.4, (3, "min"): 13.5, (2, "max"): 41.8, (3, "max"): 56.2}
DROPPED = {(2, "min"): [1.49, 0.59, 0.28, 0.02], (3, "min"): [1.75, 0.68, 0.32, 0.04],
           (2, "max"): [1.00, 0.40, 0.20, 0.00], (3, "max"): [1.01, 0.41, 0.20, 0.00]}  # fmt: skip
# kept: active if speech fills half of a whole frame; ours: half of what there is of it
KEPT = {(2, "min"): [1.12, 0.44, 0.21], (3, "min"): [1.19, 0.47, 0.22]}


@pytest.fixture(scope="module")
def told(shared: Path) -> Tuple[Metadata, Dict[str, int], Annotation]:
    folder = shared / "data/librimix_metadata"
    metadata = Metadata(folder)
    return (
        metadata,
        metadata.lengths("LibriSpeech"),
        read_rttm(folder / "LibriSpeech/test_clean.rttm"),
    )


def errors(hypothesis: np.ndarray, reference: np.ndarray) -> int:
    """Time in error, of two (S, T)."""
    found, spoken = hypothesis.sum(axis=0), reference.sum(axis=0)
    return int((np.maximum(found, spoken) - (hypothesis & reference).sum(axis=0)).sum())


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("size", [2, 3])
def test_table_of_trivial_and_oracle_der(told, size: int, mode: str) -> None:
    metadata, lengths, aligned = told
    ticks = round(TICK * 16000)
    total, all_speak = 0, 0
    wrong = {(shift, rule): 0 for shift in SHIFTS for rule in ("ours", "kept", "dropped")}
    for number, row in enumerate(metadata.rows(size, "test", True)):
        samples = (min if mode == "min" else max)(lengths[path] for path in row.sources)
        segments = [aligned[utterance_of(path).partition("-")[2]][speaker_of(path)]
                    for path in row.sources]  # fmt: skip
        count = -(-samples // ticks)
        reference = np.stack([segments_to_frames(each, samples, TICK) for each in segments])
        assert reference.shape == (size, count)  # (S, T)
        total += int(reference.sum())
        all_speak += int((~reference).sum())
        for shift in SHIFTS:
            repeat = round(shift / TICK)
            starts = np.arange(0, count, repeat)
            exist = np.minimum(repeat, count - starts)  # (F,)
            frames = 2 * np.add.reduceat(reference, starts, axis=1, dtype=int) >= exist  # (S, F)
            if number % 50 == 0:
                ours = [segments_to_frames(each, samples, shift) for each in segments]
                assert np.array_equal(frames, ours)
            hypothesis = frames.repeat(repeat, axis=1)[:, :count]
            wrong[shift, "ours"] += errors(hypothesis, reference)
            tail = slice(samples // (repeat * ticks) * repeat, None)  # the last partial frame
            hypothesis[:, tail] = (2 * reference[:, tail].sum(axis=1) >= repeat)[:, None]
            wrong[shift, "kept"] += errors(hypothesis, reference)
            hypothesis[:, tail] = False
            wrong[shift, "dropped"] += errors(hypothesis, reference)
    der = {key: 100 * value / total for key, value in wrong.items()}
    assert 100 * all_speak / total == pytest.approx(ALL_SPEAK[size, mode], abs=0.06)
    for shift, expected in zip(SHIFTS, DROPPED[size, mode]):
        assert der[shift, "dropped"] == pytest.approx(expected, abs=0.011), shift
    for shift, expected in zip(SHIFTS, KEPT.get((size, mode), [])):
        assert der[shift, "kept"] == pytest.approx(expected, abs=0.011), shift
        assert der[shift, "ours"] < der[shift, "kept"]


def test_manifests_without_audio(shared: Path, tmp_path: Path) -> None:
    """The metadata and the alignment alone are enough, and about.json says what they mean."""
    folder = shared / "data/librimix_metadata"
    (tmp_path / "alignments").mkdir()
    rttm = "test_clean.rttm"
    (tmp_path / "alignments" / rttm).symlink_to(folder / "LibriSpeech" / rttm)
    mix = str(tmp_path / "mix")
    check_librimix.main(check_librimix.Config(
        str(tmp_path), str(folder), mix, parts="test", check_files=False
    ))  # fmt: skip
    alignments = str(tmp_path / "alignments")
    librimix.main(librimix.Config(mix, modes="min", alignments=alignments))
    part = read_json(tmp_path / "mix/about.json")["parts"]["test"]
    assert part["activity"] == {"alignment": 2073} and part["num_with_text"] == 0
    assert part["min"]["num_mixtures"] == 3000
    assert part["min"]["all_speak_der"] == pytest.approx(13.4, abs=0.15)  # in 20 ms
    assert sum(path.stat().st_size for path in (tmp_path / "mix").glob("cuts_*")) < 1_000_000
