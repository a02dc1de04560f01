"""Paired comparison of experiments."""

import json
from pathlib import Path

import numpy as np
import pytest

from ume.errors import UmeError
from ume.report.compare import Config, main
from ume.report.making import named
from ume.scoring.bootstrap import RESAMPLES, difference, interval

NAMES = [f"mix{i}" for i in range(60)]
PAIRS = [f"pair{i % 15}" for i in range(60)]
SEXES = ["same-sex" if i % 15 < 6 else "opposite-sex" for i in range(60)]


def scored(folder: Path, errors: list, names: list = NAMES) -> str:
    """An experiment whose recording i has ``errors[i]`` of 10 words wrong."""
    columns = {"unit": "%", "numerators": [100.0 * e for e in errors], "denominators": [10] * 60}
    ratios = dict(
        recordings=names, pairs=PAIRS, sexes=SEXES, figures={"cpWER_separated_1best": columns}
    )
    (folder / "test_max").mkdir(parents=True)
    (folder / "test_max/ratios.json").write_text(json.dumps(ratios))
    made = dict(model=str(folder), parameters=7_060_000, cpu_seconds=sum(errors), audio_seconds=600)
    metric = dict(name="cpWER", row="separated", method="1best", unit="%")
    protocol = dict(reference="by hand", normaliser="none")
    scores = dict(hypothesis=made, protocol=protocol, metrics=[metric])
    (folder / "test_max/scores.json").write_text(json.dumps(scores))
    return str(folder)


def compare(*exps: str, **options: str) -> list:
    out = Path(exps[0]).parent / "table.md"
    main(Config(list(exps), "test_max", "cpWER_separated_1best", str(out), **options))
    return out.read_text().splitlines()


def test_differences_of_what_is_hard_for_both_are_narrow():
    rng = np.random.default_rng(0)
    hard = rng.integers(0, 8, size=60)
    better = ([*map(float, hard)], [10.0] * 60)
    worse = ([*map(float, hard + (rng.uniform(size=60) < 0.5))], [10.0] * 60)
    low, high = difference(better, worse, PAIRS)
    assert 0 < low < 0.05 < high < 0.1
    wide = interval(*better, PAIRS)
    assert high - low < 0.5 * (wide[1] - wide[0])
    swapped = difference(worse, better, PAIRS)
    assert swapped == pytest.approx((-high, -low))
    assert difference(better, better, PAIRS) == (0, 0)


def test_difference_is_resampling_of_whole_pairs():
    first, second = ([1, 4, 2], [10, 10, 5]), ([2, 4, 1], [10, 10, 5])
    groups = ["a", "b", "b"]
    rng = np.random.default_rng([0, 2])
    values = []
    for draw in rng.integers(2, size=(RESAMPLES, 2)):
        chosen = [i for g in draw for i in range(3) if groups[i] == "ab"[g]]
        rates = [sum(t[i] for i in chosen) / sum(b[i] for i in chosen) for t, b in (first, second)]
        values.append(rates[1] - rates[0])
    assert difference(first, second, groups) == pytest.approx(np.percentile(values, [2.5, 97.5]))


def test_the_table_has_values_differences_and_subsets(tmp_path):
    base = scored(tmp_path / "base", [2] * 60)
    lines = compare(base, scored(tmp_path / "other", [3] * 60))
    assert "| base | 20.0 |" in lines
    assert "| other | 30.0 (+10.0 [10.0, 10.0]) |" in lines
    sizes = [line for line in lines if line.endswith("pairs")]
    assert sizes == [
        "all, 60 mixtures, 15 speakers, 15 pairs",
        "opposite-sex, 36 mixtures, 9 speakers, 9 pairs",
        "same-sex, 24 mixtures, 6 speakers, 6 pairs",
    ]
    costs = lines.index("| base | 7.1 | 12.0 |")
    assert lines[costs + 1] == "| other | 7.1 | 18.0 |"


def test_seeds_of_one_system_are_pooled(tmp_path):
    base = scored(tmp_path / "base", [2] * 60)
    seeds = [scored(tmp_path / f"seed{e}", [e] * 60) for e in (1, 2, 6)]
    lines = compare(base, "joint=" + ",".join(seeds))
    assert "| joint | 30.0 (+10.0 [10.0, 10.0]) |" in lines
    assert "| joint | 7.1 | 18.0 |" in lines
    made = [line.rpartition("/")[2] for line in lines if line.startswith("#### joint: ")]
    assert made == ["seed1", "seed2", "seed6"]
    assert "base: 1; joint: 3. Reference: by hand; normaliser of words: none." in "".join(lines)


def test_tables_are_published_as_a_section_and_say_how_each_model_was_made(tmp_path):
    base, other = (scored(tmp_path / name, [2] * 60) for name in ("a", "b"))
    (Path(base) / "config.yaml").write_text("seed: 3\n")
    published = tmp_path / "RESULTS.md"
    published.write_text("# R\n\n## Kept\n\n1\n\n## Two\n\nold\n")
    compare(base, other, title="Two", publish=str(published))
    lines = published.read_text().splitlines()
    assert (
        lines[2] == "## Kept" and "old" not in lines and "| b | 20.0 (+0.0 [0.0, 0.0]) |" in lines
    )
    where = lines.index(f"#### a: {tmp_path.name}/a")
    assert lines.index("- seed: 3") > where and str(tmp_path) not in published.read_text()


def test_a_folder_may_have_an_equals_sign_in_its_name(tmp_path):
    base, other = (scored(tmp_path / name, [2] * 60) for name in ("base", "lr=1e-3"))
    lines = compare(base, other)
    assert "| lr=1e-3 | 20.0 (+0.0 [0.0, 0.0]) |" in lines
    assert named(f"a={other}") == ("a", other) and named(other) == ("", other)
    assert named(f"lr=1={base},{other}") == ("lr=1", f"{base},{other}")
    assert named(f"{base},{other}") == ("", f"{base},{other}")
    assert named("a=none/x=1") == ("a", "none/x=1")  # there is no such folder: said by who reads it


def test_each_system_gives_the_first_figure_that_it_has(tmp_path):
    base, other = (scored(tmp_path / name, [errors] * 60) for name, errors in (("a", 2), ("b", 4)))
    path = Path(other) / "test_max" / "ratios.json"
    ratios = json.loads(path.read_text())
    ratios["figures"]["own"] = ratios["figures"].pop("cpWER_separated_1best")
    path.write_text(json.dumps(ratios))
    out = tmp_path / "table.md"
    main(Config([base, other], "test_max", "own|cpWER_separated_1best", str(out)))
    lines = out.read_text().splitlines()
    assert "| system | own or cpWER, 1best, % |" in lines
    assert "| a | 20.0 |" in lines and "| b | 40.0 (+20.0 [20.0, 20.0]) |" in lines


def test_what_cannot_be_compared(tmp_path):
    base = scored(tmp_path / "base", [2] * 60)
    other = scored(tmp_path / "other", [2] * 60, names=NAMES[::-1])
    with pytest.raises(UmeError, match="not of the same recordings"):
        compare(base, other)
    for name, change in (
        ("reference", lambda path: path.replace("by hand", "by a VAD")),
        ("normaliser", lambda path: path.replace("none", "ume-en-1")),
        ("references .cpWER_separated_1best.", lambda path: path.replace(" 10,", " 11,")),
    ):
        other = scored(tmp_path / name, [2] * 60)
        for path in (Path(other) / "test_max").iterdir():
            path.write_text(change(path.read_text()))
        for exps in ([base, other], [base, f"both={base},{other}"]):
            with pytest.raises(UmeError, match=f"not of the same {name}; score both again"):
                compare(*exps)
    with pytest.raises(UmeError, match="at least two"):
        compare(base)
    with pytest.raises(UmeError, match="steps/score.sh"):
        compare(base, str(tmp_path / "none"))
    with pytest.raises(UmeError, match="has none of the figures DER; it has cpWER_separated_1best"):
        main(Config([base, base], "test_max", "DER"))
    with pytest.raises(UmeError, match="--sets is empty"):
        main(Config([base, base], " "))
