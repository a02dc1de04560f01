"""The threshold, the median filter and the durations that are right are found."""

from pathlib import Path
from typing import Dict

import numpy as np
import pytest
from safetensors.numpy import save_file

from ume.dataset.mixtures import reference_activity
from ume.errors import UmeError
from ume.files import read_json, write_json
from ume.inference.segment import Rule
from ume.inference.tune import Config, first_rules, main, search, second_rules

SPEECH, SILENCE = 0.72, 0.58  # of the grid's thresholds 0.6, 0.65 and 0.7 tell them apart


def posteriors_of(reference: np.ndarray) -> np.ndarray:
    """Posteriors (F, S) of known activity."""
    return np.where(reference, SPEECH, SILENCE).astype(np.float16)


@pytest.fixture
def references() -> Dict[str, np.ndarray]:
    """Two recordings in which speech and silence take turns every 50 frames."""
    turns = np.arange(400) // 50 % 2 == 1
    return {"a": np.stack([turns, ~turns], axis=1), "b": np.stack([turns, turns], axis=1)}


def test_every_pair_is_tried_and_the_right_ones_have_no_errors(references) -> None:
    posteriors = {name: posteriors_of(r) for name, r in references.items()}
    table = search(first_rules(0.02), posteriors, references, 0.02)
    assert len(table) == 13 * 5
    perfect = {rule for rule, errors in table.items() if errors.rate == 0}
    assert {rule.threshold for rule in perfect} == {0.6, 0.65, 0.7}
    assert table[Rule(0.2)].false_alarm == sum((~r).sum() for r in references.values())
    assert table[Rule(0.8)].miss == sum(r.sum() for r in references.values())


def test_the_order_of_the_speakers_does_not_count(references) -> None:
    posteriors = {name: posteriors_of(r[:, ::-1]) for name, r in references.items()}
    assert search([Rule(0.65)], posteriors, references, 0.02)[Rule(0.65)].rate == 0


def test_a_stream_too_many_must_stay_silent(references) -> None:
    posteriors = {
        name: posteriors_of(np.pad(reference, ((0, 0), (0, 1))))
        for name, reference in references.items()
    }
    table = search([Rule(0.65), Rule(0.2)], posteriors, references, 0.02)
    assert table[Rule(0.65)].rate == 0
    assert table[Rule(0.2)].false_alarm > sum(len(r) for r in references.values())


def test_a_speaker_too_many_is_missed(references) -> None:
    posteriors = {name: posteriors_of(reference)[:, :1] for name, reference in references.items()}
    errors = search([Rule(0.65)], posteriors, references, 0.02)[Rule(0.65)]
    assert errors.miss == sum(reference[:, 1].sum() for reference in references.values())


def test_glitches_are_filtered_out(references) -> None:
    posteriors = {name: posteriors_of(reference) for name, reference in references.items()}
    for values in posteriors.values():
        values[25::50] = SPEECH + SILENCE - values[25::50]  # amid every turn
    rules = [Rule(0.65), Rule(0.65, 5), Rule(0.65, 1, 0.02, 0.06)]
    errors = search(rules, posteriors, references, 0.02)
    assert [errors[rule].rate > 0 for rule in rules] == [True, False, False]


@pytest.mark.parametrize("shift, medians", [(0.01, [3, 11, 23, 35, 51]), (0.02, [1, 5, 11, 17, 25]),
                                            (0.04, [1, 3, 5, 9, 13])])  # fmt: skip
def test_median_filters_are_as_long_in_seconds_whatever_the_frame(shift, medians) -> None:
    assert sorted({rule.median for rule in first_rules(shift)}) == medians


def test_durations_are_tried_on_top_of_the_best_pair() -> None:
    rules = second_rules(Rule(0.4, 5))
    assert rules[0] == Rule(0.4, 5) and len(set(rules)) == 20
    assert {(rule.threshold, rule.median) for rule in rules} == {(0.4, 5)}


def test_the_choice_is_written(mixtures: Path, tmp_path: Path) -> None:
    cuts = mixtures / "cuts_test_max.jsonl.gz"
    shard = {name: posteriors_of(r) for name, r in reference_activity(cuts).items()}
    folder = tmp_path / "a hypothesis" / "posteriors"
    folder.mkdir(parents=True)
    save_file(shard, str(folder / "1.safetensors"), {"frame_shift": "0.02"})
    write_json(folder.parent / "meta" / "1.json", {"tasks": ["diarization"]})
    main(Config(str(folder.parent), str(cuts), str(tmp_path / "tuned.json")))
    tuned = read_json(tmp_path / "tuned.json")
    assert (tuned["threshold"], tuned["median"]) == (0.6, 1)
    assert (tuned["min_silence"], tuned["min_speech"], tuned["frame_shift"]) == (0, 0, 0.02)
    assert tuned["frame_der"] == 0 and tuned["recordings"] == 4

    shard.pop(min(shard))
    save_file(shard, str(folder / "1.safetensors"), {"frame_shift": "0.02"})
    with pytest.raises(UmeError, match="has no posteriors of .*; run steps/infer.sh again"):
        main(Config(str(folder.parent), str(cuts), str(tmp_path / "again.json")))
    assert not (tmp_path / "again.json").exists()


def test_missing_inputs_are_named(mixtures: Path, tmp_path: Path) -> None:
    cuts = mixtures / "cuts_test_max.jsonl.gz"
    out = str(tmp_path / "tuned.json")
    with pytest.raises(UmeError, match="1.json does not exist; steps/infer.sh makes it"):
        main(Config(str(tmp_path), str(cuts), out))
    write_json(tmp_path / "meta" / "1.json", {"tasks": ["diarization"]})
    with pytest.raises(UmeError, match="posteriors does not exist; steps/infer.sh makes it"):
        main(Config(str(tmp_path), str(cuts), out))
    (tmp_path / "posteriors").mkdir()
    with pytest.raises(UmeError, match="none.jsonl.gz does not exist; the stage of mixtures"):
        main(Config(str(tmp_path), str(tmp_path / "none.jsonl.gz"), out))


def test_without_a_diarization_head_there_is_nothing_to_choose(mixtures: Path, tmp_path) -> None:
    write_json(tmp_path / "meta" / "1.json", {"tasks": ["separation"]})
    cuts = str(mixtures / "cuts_test_max.jsonl.gz")
    main(Config(str(tmp_path), cuts, str(tmp_path / "tuned.json")))
    assert read_json(tmp_path / "tuned.json") == {"recordings": 0}
