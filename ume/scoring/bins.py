"""The main figures by what makes a mixture hard: a small table beside that of the subsets."""

from typing import Any, Callable, Dict, List, Optional

from ume.scoring.conditions import AXES, Axis
from ume.scoring.pool import figures, metric, sizes
from ume.scoring.recording import Figure, RecordingScore

MAIN = (
    Figure("DER", "hypothesis", collar=0.0),
    Figure("SI-SDRi", "separated", unit="dB", region="whole"),
    Figure("SDRi", "separated", unit="dB", region="whole"),
    Figure("STOI", "separated", unit="-", region="whole"),
    Figure("PESQ", "separated", unit="MOS", region="whole"),
)
WORDS = ("cpWER", "separated")  # of one method: 1best, or else the first there is
SEX_PAIR = "sex pair"

Groups = Dict[str, List[RecordingScore]]


def bins(recordings: List[RecordingScore]) -> List[Dict[str, Any]]:
    """Entries of ``scores.json``'s ``bins``: by sex pair, and by bin of each condition.

    Bins without recordings are left out, and conditions of a single bin.
    """
    main = main_figures(recordings)
    groups = {SEX_PAIR: _grouped(recordings, lambda r: r.reference.sex_pair)}
    groups.update((axis.name, _binned(recordings, axis)) for axis in AXES)
    return [
        {"axis": axis, "bin": name, **sizes(chosen), "metrics": _metrics(chosen, main, name)}
        for axis, found in groups.items()
        if len(found) > 1
        for name, chosen in found.items()
    ]


def main_figures(recordings: List[RecordingScore]) -> List[Figure]:
    """Those of ``MAIN`` that there are, and cpWER."""
    found = figures(recordings)
    words = [figure for figure in found if (figure.name, figure.row) == WORDS]
    words.sort(key=lambda figure: figure.method != "1best")
    return [figure for figure in MAIN if figure in found] + words[:1]


def _metrics(chosen: List[RecordingScore], main: List[Figure], name: str) -> List[Dict[str, Any]]:
    scored = {figure: [r for r in chosen if figure in r.results] for figure in main}
    return [metric(those, figure, name) for figure, those in scored.items() if those]


def _binned(recordings: List[RecordingScore], axis: Axis) -> Groups:
    applies = [r for r in recordings if axis.name in r.conditions]
    found = _grouped(applies, lambda r: axis.bin(r.conditions[axis.name]))
    return {name: found[name] for name in axis.bins if name in found}


def _grouped(
    recordings: List[RecordingScore], name_of: Callable[[RecordingScore], Optional[str]]
) -> Groups:
    groups: Groups = {}
    for recording in recordings:
        name = name_of(recording)
        if name is not None:
            groups.setdefault(name, []).append(recording)
    return dict(sorted(groups.items()))
