"""What scores are told by; it imports nothing, for those who only read ``scores.json``."""

from typing import Any, Mapping

DIGITS = {"%": 1, "dB": 2, "MOS": 2, "-": 3}  # after the point in tables, by unit
SUBSETS = ("all", "opposite-sex", "same-sex")
VARIANTS = ("collar", "reference", "region", "method")
PLACES = {"whole": "whole signal", "overlap": "overlapped samples"}


def column(metric: Mapping[str, Any]) -> str:
    """The column of ``per_utterance.csv`` of a figure: its name, row and VARIANTS.

    >>> column({"name": "DER", "row": "one speaker", "collar": 0.25})
    'DER_one-speaker_0.25'
    """
    keys = ("name", "row", *VARIANTS)
    return "_".join(str(metric[k]) for k in keys if metric.get(k) is not None).replace(" ", "-")


def label(metric: Mapping[str, Any]) -> str:
    """A figure as tables call it, without its row.

    >>> label({"name": "DER", "row": "hypothesis", "collar": 0.0, "reference": "utterance"})
    'DER, collar 0 s, whole utterances'
    """
    parts = [str(metric["name"])]
    if metric.get("collar") is not None:
        parts.append(f"collar {metric['collar']:g} s")
    if metric.get("reference") is not None:
        parts.append("whole utterances")
    if metric.get("region") is not None:
        parts.append(PLACES[metric["region"]])
    if metric.get("method") is not None:
        parts.append(str(metric["method"]))
    return ", ".join(parts)
