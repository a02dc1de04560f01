"""Figures of a whole set against pyannote, spy-der, jiwer and meeteval's command."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import jiwer
import pytest
from pyannote.core import Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

from tests.scoring.synthetic import Material, annotation, make_test_set
from ume.scoring import quality
from ume.scoring.diarization import Speech
from ume.scoring.score import Config, main


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A set, scored by all but PESQ, as if that were not installed."""
    test_set = make_test_set(tmp_path_factory.mktemp("scored"))
    folders = str(test_set.cuts), str(test_set.hyp / "separated"), str(test_set.hyp)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "find_spec", lambda name: None)
        patch.setattr("ume.scoring.score.has_pesq", lambda: False)
        main(Config(*folders, separation_metrics="SI-SDR BSSEval STOI PESQ"))
    return test_set


@pytest.fixture(scope="module")
def scores(material: Material) -> Dict[str, Any]:
    """``scores.json``."""
    return json.loads((material.hyp / "scores.json").read_text())


def value(scores: Dict[str, Any], name: str, row: str = "hypothesis", **keys: Any) -> float:
    keys = {"name": name, "row": row, "subset": "all", "reference": None, **keys}
    (entry,) = [m for m in scores["metrics"] if all(m.get(k) == v for k, v in keys.items())]
    return entry["value"]


def utterances(mixture: Any) -> Speech:
    """Of the synthetic set: speech begins 0.1 s after and ends 0.2 s before the utterance's end."""
    return {s: [(b - 0.1, e + 0.2) for b, e in x] for s, x in mixture.speech.items()}


@pytest.mark.parametrize("collar", [0.0, 0.25])
@pytest.mark.parametrize("reference", [None, "utterance"])
def test_diarization_is_pyannote(
    material: Material, scores: Dict[str, Any], collar: float, reference: str
) -> None:
    whole, overlap = (DiarizationErrorRate(collar=2 * collar) for _ in range(2))
    jaccard = JaccardErrorRate(collar=2 * collar)
    for m in material.mixtures:
        truth = annotation(utterances(m) if reference else m.speech)
        found, uem = annotation(m.hyp_speech), Timeline([Segment(0, m.duration)])
        whole(truth, found, uem=uem)
        jaccard(truth, found, uem=uem)
        overlap(truth, found, uem=truth.get_overlap())
    keys = {"collar": collar, "reference": reference}
    assert value(scores, "DER", **keys) == pytest.approx(100 * abs(whole), abs=1e-4)
    assert value(scores, "JER", **keys) == pytest.approx(100 * abs(jaccard), abs=1e-4)
    assert value(scores, "overlap-only DER", **keys) == pytest.approx(100 * abs(overlap), abs=1e-4)
    confusion = 100 * whole["confusion"] / whole["total"]
    assert value(scores, "confusion-only DER", **keys) == pytest.approx(confusion, abs=1e-4)


def test_der_is_spyder(material: Material, scores: Dict[str, Any]) -> None:
    spyder = pytest.importorskip("spyder", reason="spy-der is not installed: no cross-check of DER")
    errors, total = 0.0, 0.0
    for m in material.mixtures:
        turns = [
            [(speaker, *segment) for speaker, segments in speech.items() for segment in segments]
            for speech in (m.speech, m.hyp_speech)
        ]
        found = spyder.DER(*turns, uem=[(0.0, m.duration)], collar=0.0)
        errors, total = errors + found.der * found.duration, total + found.duration
    # spyder keeps times in single precision
    assert value(scores, "DER", collar=0.0) == pytest.approx(100 * errors / total, abs=1e-4)


def test_errs_are_jiwer(material: Material) -> None:
    for suffix in ("1best", "sources-1best", "mixture-1best"):
        words = material.hyp / "words"
        recogs = (words / f"recogs-test_max-{suffix}.txt").read_text()
        sides = [
            [
                " ".join(re.findall(r"'([^']*)'", line))
                for line in re.findall(rf"{side}=(.*)", recogs)
            ]
            for side in ("ref", "hyp")
        ]
        pairs = [(ref, hyp) for ref, hyp in zip(*sides) if ref]  # jiwer takes no empty reference
        counted = jiwer.process_words(*map(list, zip(*pairs)))
        inserted = sum(len(hyp.split()) for ref, hyp in zip(*sides) if not ref)
        correct = counted.hits
        length = correct + counted.substitutions + counted.deletions
        assert (
            f"Errors: {counted.insertions + inserted} insertions, {counted.deletions} deletions, "
            f"{counted.substitutions} substitutions, over {length} reference words "
            f"({correct} correct)\n"
        ) in (words / f"errs-test_max-{suffix}.txt").read_text()


@pytest.mark.parametrize(
    "rate, suffix, figure",
    [
        ("cpwer", "1best", "cpWER"),
        ("cpwer", "mixture-1best", "cpWER"),
        ("tcpwer", "1best", "tcpWER"),
        ("orcwer", "1best", "ORC-WER"),
    ],
)
def test_words_are_those_of_meeteval(
    material: Material, scores: Dict[str, Any], tmp_path: Path, rate: str, suffix: str, figure: str
) -> None:
    words = material.hyp / "words"
    collar = ["--collar", "5"] if rate == "tcpwer" else []
    done = subprocess.run(
        [Path(sys.executable).with_name("meeteval-wer"), rate, "-r", words / "ref.stm",
         "-h", words / f"{suffix}.stm", *collar, "--average-out", tmp_path / "average.yaml",
         "--per-reco-out", tmp_path / "all.yaml"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    ((errors, length),) = re.findall(r"\[ (\d+) / (\d+),", done.stdout + done.stderr)
    row = "mixture" if suffix.startswith("mixture") else "separated"
    found = value(scores, figure, row, method="1best")
    assert found == pytest.approx(100 * int(errors) / int(length), abs=1e-4)
    assert int(errors) > 0


def test_permutation_wer_is_of_equal_numbers_of_streams(scores: Dict[str, Any]) -> None:
    assert value(scores, "permutation WER", "separated", method="1best") == 25
    rows = {m["row"] for m in scores["metrics"] if m["name"] == "permutation WER"}
    assert rows == {"separated", "sources"}  # the mixture is one stream


def test_without_pesq_it_is_said(scores: Dict[str, Any]) -> None:
    names = {m["name"] for m in scores["metrics"]}
    assert {"SDR", "SDRi", "SIR", "SAR", "STOI", "STOIi", "ESTOI", "ESTOIi"} <= names
    assert not {"PESQ", "PESQi", "SIRi", "SARi"} & names
    assert scores["protocol"]["PESQ"] == "left out: the package pesq is not installed"


def test_bins(material: Material, scores: Dict[str, Any]) -> None:
    sexes = {b["bin"]: b for b in scores["bins"] if b["axis"] == "sex pair"}
    assert {name: b["num_recordings"] for name, b in sexes.items()} == {
        "F-F": 2,
        "F-M": 3,
        "M-M": 1,
    }
    opposite = {m["name"]: m["value"] for m in sexes["F-M"]["metrics"]}
    assert list(opposite) == ["DER", "SI-SDRi", "SDRi", "STOI", "cpWER"]
    for m in scores["metrics"]:
        key = (m["name"], m["subset"], m.get("collar", 0.0), m.get("region", "whole"))
        main_one = m["row"] in ("hypothesis", "separated") and not m.get("reference")
        if main_one and key in {(name, "opposite-sex", 0.0, "whole") for name in opposite}:
            assert opposite[m["name"]] == m["value"], m["name"]
    # all overlap by 40 to 60 % and their levels are alike: such conditions make no table
    assert {b["axis"] for b in scores["bins"]} == {"sex pair"}
    header = (material.hyp / "per_utterance.csv").read_text().splitlines()[0]
    assert ",seconds,overlap,level-difference,speech-to-noise,DER_hypothesis_0.0," in header
