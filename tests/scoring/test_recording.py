"""Words of one recording, where figures meet."""

from typing import Any, Dict, Tuple

import pytest

from ume.metrics.results import WordErrors
from ume.scoring.recording import Figure, RecordingScore, Task, _add_words
from ume.scoring.reference import Reference, Spoken

SPOKEN = (
    Spoken("bob", 0.0, 2.0, "x y"),
    Spoken("ann", 1.0, 3.0, "a b"),
    Spoken("ann", 6.0, 8.0, "c d"),
)
REFERENCE = Reference(
    id="m",
    duration=10.0,
    rate=16000,
    num_samples=160000,
    speakers=("ann", "bob"),
    genders=("F", "M"),
    speech={"ann": [(1.0, 3.0), (6.0, 8.0)], "bob": [(0.0, 2.0)]},
    utterances={"ann": [(1.0, 3.0), (6.0, 8.0)], "bob": [(0.0, 2.0)]},
    texts={"ann": "a b c d", "bob": "x y"},
    spoken=SPOKEN,
)


def word_errors(speech: Any, streams: Dict[str, str]) -> Tuple[Dict[str, WordErrors], Any]:
    """Figure -> errors of these streams, and the utterances that are written."""
    score = RecordingScore(REFERENCE, {}, {})
    task: Any = Task(None, None, speech, {"separated": {"1best": streams}})  # type: ignore[arg-type]
    _add_words(score, task)
    return {
        figure.name: result
        for figure, result in score.results.items()
        if isinstance(figure, Figure)
    }, score.utterances  # type: ignore[return-value]


@pytest.mark.parametrize("speech", [{}, {"1": []}])
def test_who_is_not_found_has_no_words_in_any_rate(speech: Any) -> None:
    errors, _ = word_errors(speech, {"1": "a b c d", "2": "x y"})
    assert {errors[name].deletions for name in ("cpWER", "ORC-WER", "tcpWER")} == {6}


def test_utterances_keep_their_own_words_and_the_order_of_time() -> None:
    speech = {"1": [(0.0, 3.0)], "2": [(6.0, 8.0)]}
    errors, utterances = word_errors(speech, {"1": "x y a b", "2": "c d"})
    assert errors["ORC-WER"] == WordErrors(length=6) and errors["cpWER"].numerator > 0
    told = [(own["speaker"], own["start_time"], own["words"]) for own in utterances["ref"]]
    assert told == [("bob", 0.0, "X Y"), ("ann", 1.0, "A B"), ("ann", 6.0, "C D")]
