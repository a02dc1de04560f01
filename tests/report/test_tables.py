"""Tables show what scores.json says, no more."""

import pytest

from ume.report.tables import bins_table, protocol, rows, table

SIZE = {"num_recordings": 3, "num_speakers": 4, "num_pairs": 2}


def entry(subset: str = "all", **keys: object) -> dict:
    base = {"name": "DER", "row": "hypothesis", "subset": subset, "value": 5.44, "unit": "%"}
    return {**base, "interval": [4.9, 5.96], **SIZE, **keys}


def scores(*metrics: dict, **protocol: object) -> dict:
    return {
        "set": "test_max",
        "subsets": {"all": SIZE, "opposite-sex": SIZE, "same-sex": {**SIZE, "num_recordings": 0}},
        "protocol": {"normaliser": "ume-en-1", "collar": [0.0, 0.25], "words": "", **protocol},
        "hypothesis": {"threshold": 0.4, "median": 11, "cpu_seconds": 5.0, "audio_seconds": 50.0},
        "metrics": list(metrics),
    }


def cells(text: str, *heads: str) -> list:
    (line,) = [ln for ln in text.splitlines() if ln.startswith(f"| {' | '.join(heads)} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][len(heads) :]


def test_value_interval_unit_and_subsets() -> None:
    parts = {"miss": 3.0, "false_alarm": 2.0, "confusion": 0.44}
    text = table(
        scores(
            entry(collar=0.0, parts=parts),
            entry("opposite-sex", collar=0.0, parts=parts, value=4.0, interval=None),
        )
    )
    assert "all<br>3 mixtures, 4 speakers, 2 pairs" in text
    shown = cells(text, "DER, collar 0 s", "hypothesis", "%")
    assert shown == ["5.4 [4.9, 6.0]", "4.0", "-"]
    lines = text.splitlines()
    assert "| 3.0 / 2.0 / 0.4 |" in lines[3] and lines[3].startswith("| miss / false alarm")


def test_what_was_not_run_is_said() -> None:
    text = table(scores())
    assert cells(text, "SI-SDRi, whole signal", "gate only", "dB") == ["not run", "not run", "-"]
    assert cells(text, "cpWER, 1best", "mixture", "%") == ["not run", "not run", "-"]


def test_methods_that_are_not_planned_are_shown_too() -> None:
    text = table(scores(entry(name="cpWER", row="separated", method="whisper-gated")))
    assert cells(text, "cpWER, whisper-gated", "separated", "%")[0] == "5.4 [4.9, 6.0]"


def test_no_words_in_min_mode() -> None:
    assert not [row for row in rows(scores(words="not scored: min")) if "WER" in row.figure]


def test_decibels_have_two_digits_and_no_negative_zero() -> None:
    metric = entry(name="SI-SDRi", row="gate only", region="overlap", unit="dB", value=-0.0001)
    shown = cells(table(scores(metric)), "SI-SDRi, overlapped samples", "gate only", "dB")
    assert shown[0] == "0.00 [4.90, 5.96]"


@pytest.mark.parametrize(
    "line",
    ["- normaliser: ume-en-1", "- collar: 0 and 0.25", "- threshold: 0.4",
     "- inference: 0.10 CPU seconds per second of audio"],
)  # fmt: skip
def test_protocol(line: str) -> None:
    assert line in protocol(scores()).splitlines()


def test_what_was_chosen_of_a_method_is_named() -> None:
    given = scores()
    assert "pretrained" not in protocol(given)
    given["hypothesis"]["pretrained_share"] = {"1best": 0.0, "attention": 0.5}
    given["hypothesis"]["blank_penalty"] = {"1best": 2.0, "attention": 0.0}
    lines = protocol(given).splitlines()
    assert "- share of pretrained weights: attention 0.5" in lines
    assert "- blank penalty (nats): 1best 2, attention 0" in lines


def test_references_are_not_mixed_up() -> None:
    text = table(
        scores(
            entry(collar=0.0, reference="utterance", value=9.0, interval=None, parts={}),
            entry(collar=0.0, value=5.0, interval=None, parts={}),
        )
    )
    assert cells(text, "DER, collar 0 s", "hypothesis", "%")[0] == "5.0"
    assert cells(text, "DER, collar 0 s, whole utterances", "hypothesis", "%")[0] == "9.0"


def test_quality_is_shown_where_it_was_asked_for() -> None:
    stoi = entry(name="STOI", row="separated", region="whole", unit="-", value=0.91234)
    text = table(scores({**stoi, "interval": None}))
    assert cells(text, "STOI", "separated", "-")[0] == "0.912"
    assert "PESQ" not in text and "tcpWER" not in text


def test_bins_are_a_table_of_their_own() -> None:
    metrics = [entry(collar=0.0), entry(name="cpWER", row="separated", method="1best")]
    made = scores()
    made["bins"] = [
        {"axis": "overlap", "bin": "0-20 %", **SIZE, "metrics": metrics},
        {"axis": "overlap", "bin": "20-40 %", **SIZE, "metrics": metrics[:1]},
    ]
    lines = bins_table(made).splitlines()
    assert lines[0] == "| mixtures by | | DER, collar 0 s, % | cpWER, 1best, % |"
    assert lines[3].startswith("| overlap | 20-40 %<br>3 mixtures, ")
    assert lines[3].endswith("| 5.4 [4.9, 6.0] | - |")
    assert bins_table(scores()) == ""


def test_a_figure_that_a_subset_has_not_was_run_all_the_same() -> None:
    rate = entry(name="permutation WER", row="separated", method="1best")
    text = table(scores(rate, words=""))
    assert cells(text, "permutation WER, 1best", "separated", "%") == ["5.4 [4.9, 6.0]", "-", "-"]
