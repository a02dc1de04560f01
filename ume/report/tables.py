"""The tables of one set as Markdown, made from its ``scores.json`` alone."""

from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ume.scoring.conventions import DIGITS, PLACES, label

NOT_RUN = "not run"
PARTS = ("miss", "false_alarm", "confusion")
METHODS = ("ctc-greedy-search", "ctc-decoding", "1best")
WORD_RATES = ("cpWER", "ORC-WER", "tcpWER", "permutation WER")
ALWAYS = WORD_RATES[:2]  # the others need segments, or as many streams as speakers
QUALITY = {  # shown where --separation-metrics asked for it
    "SDRi": "dB", "SDR": "dB", "SIR": "dB", "SAR": "dB", "STOI": "-", "STOIi": "-",
    "ESTOI": "-", "ESTOIi": "-", "PESQ": "MOS", "PESQi": "MOS",
}  # fmt: skip

Metric = Dict[str, Any]


class Row(NamedTuple):
    """A line of the table: what it is called, and which metrics it shows."""

    figure: str
    system: str
    unit: str
    keys: Tuple[Tuple[str, Any], ...]  # of the metrics' entries
    parts: bool = False  # show the parts instead of the value


def rows(scores: Dict[str, Any]) -> List[Row]:
    """Every figure that a set should have, and whatever else it has."""
    planned = [*_diarization_rows(), *_separation_rows(), *_quality_rows(scores)]
    if not _words_left_out(scores):
        planned += _word_rows(scores)
    return planned


def _diarization_rows() -> Iterator[Row]:
    for collar in (0.0, 0.25):
        where = f"collar {collar:g} s"
        yield from _trivial_and_own(f"DER, {where}", name="DER", collar=collar)
        for name in ("confusion-only DER", "overlap-only DER", "JER"):
            keys = _keys(name=name, row="hypothesis", collar=collar)
            yield Row(f"{name}, {where}", "hypothesis", "%", keys)
    for collar in (0.0, 0.25):
        where = f"collar {collar:g} s, whole utterances"
        variant = {"collar": collar, "reference": "utterance"}
        yield from _trivial_and_own(f"DER, {where}", name="DER", **variant)
        yield Row(
            f"JER, {where}", "hypothesis", "%", _keys(name="JER", row="hypothesis", **variant)
        )
    counted = _keys(name="speakers counted right", row="hypothesis")
    yield Row("speakers counted right", "hypothesis", "%", counted)


def _trivial_and_own(figure: str, **variant: Any) -> Iterator[Row]:
    for row in ("hypothesis", "all-speak", "one speaker", "all-silent"):
        keys = _keys(row=row, **variant)
        yield Row(figure, row, "%", keys)
        if row == "hypothesis":
            yield Row("miss / false alarm / confusion", row, "%", keys, parts=True)


def _quality_rows(scores: Dict[str, Any]) -> List[Row]:
    found = {metric["name"] for metric in scores["metrics"]}
    return [
        Row(name, "separated", unit, _keys(name=name, row="separated"))
        for name, unit in QUALITY.items()
        if name in found
    ]


def _separation_rows() -> Iterator[Row]:
    for name in ("SI-SDRi", "SI-SDR"):
        for region, place in PLACES.items():
            for row in ("separated", "gate only"):
                keys = (("name", name), ("row", row), ("region", region))
                yield Row(f"{name}, {place}", row, "dB", keys)
    agreement = (("name", "label agreement"), ("row", "separated"))
    yield Row("voice and activity have one label", "separated", "%", agreement)


def _word_rows(scores: Dict[str, Any]) -> List[Row]:
    planned = [("separated", method) for method in METHODS]
    planned += [("sources", "1best"), ("mixture", "1best")]
    told = [(m["name"], m["row"], m["method"]) for m in scores["metrics"] if "method" in m]
    found = [cell[1:] for cell in told]
    cells = list(dict.fromkeys(planned + found))
    systems = {"separated": 0, "sources": 1, "mixture": 2}
    cells.sort(key=lambda cell: systems.get(cell[0], len(systems)))
    return [
        Row(f"{name}, {method}", system, "%", _keys(name=name, row=system, method=method))
        for name in WORD_RATES
        for system, method in cells
        if name in ALWAYS or (name, system, method) in told
    ]


def _keys(**keys: Any) -> Tuple[Tuple[str, Any], ...]:
    return tuple(keys.items())


def _words_left_out(scores: Dict[str, Any]) -> bool:
    return scores["protocol"]["words"].startswith("not scored")


def table(scores: Dict[str, Any]) -> str:
    """The main table of a set: a figure per line, a subset per column."""
    subsets = scores["subsets"]
    heads = [f"{subset}<br>{_size(size)}" for subset, size in subsets.items()]
    lines = [
        "| figure | system | unit | " + " | ".join(heads) + " |",
        "| --- | --- | --- |" + " --- |" * len(subsets),
    ]
    for row in rows(scores):
        cells = [cell(scores, row, subset) for subset in subsets]
        lines.append(f"| {row.figure} | {row.system} | {row.unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bins_table(scores: Dict[str, Any]) -> str:
    """The main figures by what makes a mixture hard, a bin per line; empty without any bins."""
    bins = scores.get("bins", [])
    heads = list(dict.fromkeys(_head(m) for entry in bins for m in entry["metrics"]))
    if not heads:
        return ""
    lines = ["| mixtures by | | " + " | ".join(heads) + " |"]
    lines.append("| --- | --- |" + " --- |" * len(heads))
    for entry in bins:
        found = {_head(metric): value(metric) for metric in entry["metrics"]}
        cells = " | ".join(found.get(head, "-") for head in heads)
        lines.append(f"| {entry['axis']} | {entry['bin']}<br>{_size(entry)} | {cells} |")
    return "\n".join(lines)


def _head(metric: Metric) -> str:
    return f"{label(metric)}, {metric['unit']}"


def cell(scores: Dict[str, Any], row: Row, subset: str) -> str:
    """Value and interval; "not run" where a figure is missing, "-" where the subset has none."""
    if not scores["subsets"][subset]["num_recordings"]:
        return "-"
    entry = _find(scores["metrics"], row, subset)
    if entry is None:
        return "-" if _find(scores["metrics"], row, "all") else NOT_RUN
    if row.parts:
        return " / ".join(f"{entry['parts'].get(part, 0):.1f}" for part in PARTS)
    return value(entry)


def value(entry: Metric) -> str:
    """Such as ``5.4 [4.9, 5.9]``.

    >>> value({"value": 5.41, "interval": [4.9, 5.9], "unit": "%"})
    '5.4 [4.9, 5.9]'
    >>> value({"value": None, "interval": None, "unit": "dB"})
    'undefined'
    """
    digits = DIGITS[entry["unit"]]
    if entry["value"] is None:
        return "undefined"
    text = _number(entry["value"], digits)
    if entry["interval"]:
        text += " [" + ", ".join(_number(limit, digits) for limit in entry["interval"]) + "]"
    return text


def _number(number: float, digits: int) -> str:
    return f"{round(number, digits) + 0.0:.{digits}f}"  # -0.0 + 0.0 is 0.0


def _find(metrics: List[Metric], row: Row, subset: str) -> Optional[Metric]:
    wanted = {"reference": None, **dict(row.keys), "subset": subset}
    return next((m for m in metrics if all(m.get(k) == v for k, v in wanted.items())), None)


def _size(size: Dict[str, int]) -> str:
    return (
        f"{size['num_recordings']} mixtures, {size['num_speakers']} speakers, "
        f"{size['num_pairs']} pairs"
    )


def protocol(scores: Dict[str, Any]) -> str:
    """How a set was scored, and the decisions behind its hypothesis, as a list."""
    made = scores["hypothesis"]
    stated = {
        **{name: _text(value) for name, value in scores["protocol"].items()},
        "threshold": _text(made.get("threshold", "-")),
        "median filter (frames)": _text(made.get("median", "-")),
        "frame of activity (s)": _text(made.get("frame_shift", "-")),
        "pauses filled up to, speech from (s)": " and ".join(
            _text(made.get(name, "-")) for name in ("min_silence", "min_speech")
        ),
        "blank penalty (nats)": _by_method(made.get("blank_penalty", {})) or "-",
        "alignment of the heads": _text(made.get("alignment_rule", "-")),
    }
    shares = {method: share for method, share in made.get("pretrained_share", {}).items() if share}
    if shares:
        stated["share of pretrained weights"] = _by_method(shares)
    if made.get("audio_seconds"):
        factor = made["cpu_seconds"] / made["audio_seconds"]
        stated["inference"] = f"{factor:.2f} CPU seconds per second of audio"
    return "\n".join(f"- {name}: {text}" for name, text in stated.items())


def _by_method(settings: Dict[str, float]) -> str:
    return ", ".join(f"{method} {value:g}" for method, value in settings.items())


def _text(value: Any) -> str:
    return " and ".join(f"{item:g}" for item in value) if isinstance(value, list) else str(value)
