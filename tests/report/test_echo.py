"""Echo's record: with and without a part, and the time of all stages."""

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ume.errors import UmeError
from ume.report.echo import Measures, pair_table, times


def measures(values: List[int]) -> Measures:
    """The share of 10 trials that succeed, of each of some speakers; and one that has no sums."""
    sums = {f"s{k}": [100.0 * value, 10] for k, value in enumerate(values)}
    mean = 10 * sum(values) / len(values)
    common = {"unit": "%", "low": None, "high": None, "chance": None, "rows": {}}
    return {
        "probe": {**common, "value": mean, "sums": sums},
        "rank": {**common, "value": 3.0, "sums": {}},
    }


def test_with_and_without_a_part() -> None:
    models = {"content": measures([9, 8, 9, 7]), "no-anchor": measures([5, 4, 6, 4])}
    lines = pair_table(models, "content", "no-anchor").splitlines()
    assert lines[0] == "| measure | unit | content | no-anchor | difference |"
    (probe,) = lines[2:]  # what cannot be paired is left out
    assert probe.startswith("| probe | % | 82.5 | 47.5 | 35.0 [")
    low, high = map(float, probe.split("[")[1].split("]")[0].split(","))
    assert 25 < low < 35 < high <= 45
    with pytest.raises(UmeError, match="--pairs: --models has no nothing"):
        pair_table(models, "content", "nothing")


def test_the_time_of_all_stages(tmp_path: Path) -> None:
    def stage(folder: str, name: str, **record: Any) -> None:
        path = tmp_path / folder / ".done" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name, **record}))

    first: Dict[str, Any] = {"seconds": 10.4, "cpu_seconds": 20.0}
    stage("data", "simulate", **first)
    stage("data", "validate", **first)
    stage("exp/jepa", "train", seconds=100.0, cpu_seconds=190.0, went_on=True)
    stage("exp/jepa", "measure", **first, went_on=False)
    (tmp_path / "exp/jepa/.done/train.begun.json").write_text("{}")
    folders = [str(tmp_path / name) for name in ("data", "exp", "exp/jepa")]
    assert times(folders, tmp_path).splitlines()[2:] == [
        "| data | 2 | 21 | 40 |",
        "| exp/jepa | 2 (train: after a stop only) | 110 | 210 |",
        "| together | | 131 | 250 |",
    ]
