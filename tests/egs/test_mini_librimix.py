"""The recipe end to end in a smoke size: files, figures, skipping, repeating, kills, bad input."""

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List

import numpy as np
import pytest

from tests.egs.recipe import NUM_TEST, RECIPE, SETS, STEPS, Recipe, files
from ume.files import read_json, write_json
from ume.stage import LOCKED, lock_folder

METHODS = ("ctc-greedy-search", "ctc-decoding", "1best")
REAL = ["--librispeech", str(RECIPE), "--stop-stage", "1"]  # a folder, if no corpus
KILLS = int(os.environ.get("UME_KILLS", "3"))


@dataclass
class Results:
    """Finished runs of the recipe."""

    whole: Recipe  # in one go, two jobs
    both: Recipe  # the same of two and three speakers
    staged: Recipe  # stage by stage, one job
    killed: Recipe  # killed and started again, one job
    stamps: Dict[str, int]  # when the scores of ``whole`` were written
    again: str  # what a second run of ``whole`` said


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """All runs that take long, two at a time."""
    folder = tmp_path_factory.mktemp("mini librimix")
    whole, both = Recipe(folder / "one go"), Recipe(folder / "one go", num_speakers="2,3")
    staged = Recipe(folder / "by stages", ["--nj", "1"])
    killed = Recipe(folder / "killed", ["--nj", "1"])

    def undisturbed() -> Results:
        whole.succeed()
        stamps = {name: (whole.exp / name / "scores.json").stat().st_mtime_ns for name in SETS}
        again = whole.succeed()
        both.succeed()
        return Results(whole, both, staged, killed, stamps, again)

    def disturbed() -> None:
        for stage in range(1, 10):
            staged.succeed("--stage", str(stage), "--stop-stage", str(stage))
        for seconds in np.random.default_rng(KILLS).uniform(1, 30, KILLS):
            killed.be_killed(seconds)
        killed.succeed()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(undisturbed), pool.submit(disturbed)
        second.result()
        return first.result()


@pytest.fixture(params=["whole", "both"])
def recipe(results: Results, request: pytest.FixtureRequest) -> Recipe:
    """A finished run of two speakers, and one of two and three."""
    return getattr(results, request.param)


@pytest.mark.slow
def test_every_file_of_the_contract_is_there(recipe: Recipe) -> None:
    parts = ("train", "dev", "test")
    made = files(recipe.data / "corpus")
    assert made >= {
        f"{kind}_{p}.jsonl.gz" for kind in ("recordings", "supervisions") for p in parts
    }
    assert made >= {f"text_{part}" for part in parts} | {"about.json"}
    assert len([path for path in made if path.endswith(".flac")]) == 3 * 4 * 4
    made = files(recipe.mix)
    numbers = [""] if recipe.num_speakers == "2" else ["_2mix", "_3mix"]
    tables = {f"metadata/{part}{number}.csv" for part in parts for number in numbers}
    assert made == {"about.json"} | tables | {
        name
        for part in parts
        for mode in ("max", "min", "part")
        for name in (f"cuts_{part}_{mode}.jsonl.gz", f"ref_{part}_{mode}.rttm")
    }
    made = files(recipe.exp)
    assert made >= {"config.yaml", "command.sh", "env.json", "train.json", "tuned.json"}
    assert made >= {"model.safetensors", "model.yaml", "bpe.model", "metrics.jsonl"}
    assert made >= {f"checkpoint-{STEPS}.pt", "best-valid-loss.pt", "RESULTS.md"}
    assert [path for path in made if path.startswith("tensorboard/")]
    plots = {"timeline", "spectrograms", "layer-weights", "learning-curves"}
    assert {path for path in made if path.startswith("plots/")} == {f"plots/{p}.png" for p in plots}
    assert not [path for path in made | files(recipe.data) if ".part-" in path]
    assert read_json(recipe.exp / "train.json")["steps"] == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_hypotheses_and_scores_of_every_set(recipe: Recipe, name: str) -> None:
    made = files(recipe.exp / name)
    recordings = read_json(recipe.exp / name / "separated" / "meta.json")["recordings"]
    assert len(recordings) == NUM_TEST
    streams = {f"{r}_{k}" for r in recordings for k in range(1, recipe.num_streams + 1)}
    assert made >= {f"separated/audio/{stream}.flac" for stream in streams}
    assert made >= {f"separated/{file}" for file in ("hyp.rttm", "segments.json", "meta.json")}
    assert "separated/posteriors/1.safetensors" in made
    assert ("separated/ctc/1.safetensors" in made) == (name != "test_min")
    assert made >= {"scores.json", "per_utterance.csv"}
    if name == "test_min":
        assert not [path for path in made if "words/" in path]
        return
    assert made >= {f"separated/words/{method}.json" for method in METHODS}
    assert made >= {
        f"{k}/{f}" for k in ("sources", "mixture") for f in ("meta.json", "words/1best.json")
    }
    words = {path for path in made if path.startswith("words/") and path.endswith(".txt")}
    kinds = {Path(path).name.split(f"-{name}")[0] for path in words}
    assert kinds == {"recogs", "errs", "wer-summary"}
    assert len(words) == 3 * 5  # three methods on the system's streams, one on each control's
    stm = {Path(path).stem for path in made if path.startswith("words/") and path not in words}
    assert stm == {"ref", *METHODS, "sources-1best", "mixture-1best"}


def figures(results: Path) -> Dict[str, Dict[str, List[str]]]:
    """RESULTS.md as set -> ``figure | system`` -> cells of all, opposite-sex, same-sex, ..."""
    found: Dict[str, Dict[str, List[str]]] = {}
    for line in results.read_text().splitlines():
        if line.startswith("### "):
            rows = found.setdefault(line[4:], {})
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) in (6, 8):  # 8: by the number of speakers, too
            rows[" | ".join(cells[:2])] = cells[3:]
    return found


@pytest.mark.slow
def test_results_has_every_figure(recipe: Recipe) -> None:
    text = (recipe.exp / "RESULTS.md").read_text()
    assert "not run" not in text and "95 % intervals" in text
    tables = figures(recipe.exp / "RESULTS.md")
    by_number = recipe.num_speakers == "2,3"
    assert ("2 speakers<br>3 mixtures" in text and "3 speakers<br>3 mixtures" in text) == by_number
    planned = [
        f"DER, collar {collar} s | {row}"
        for collar in ("0", "0.25")
        for row in ("hypothesis", "all-speak", "one speaker", "all-silent")
    ] + [
        f"SI-SDRi, {place} | {row}"
        for place in ("whole signal", "overlapped samples")
        for row in ("separated", "gate only")
    ]
    rates = [
        f"{rate}, {method} | {row}"
        for rate in ("cpWER", "ORC-WER")
        for method, row in [(m, "separated") for m in METHODS]
        + [("1best", "sources"), ("1best", "mixture")]
    ]
    for name in SETS:
        for row in planned + (rates if name != "test_min" else []):
            assert re.match(r"-?\d+\.\d+ \[-?\d", tables[name][row][0]), (name, row)
    for plot in ("timeline", "spectrograms", "layer-weights", "learning-curves"):
        assert f"(plots/{plot}.png)" in text


@pytest.mark.slow
def test_a_second_run_skips_everything(results: Results) -> None:
    stages = re.findall(r"^([\w-]+): (.*)", results.again, flags=re.MULTILINE)
    assert len(stages) > 30
    assert {what for _, what in stages} == {
        "done already, inputs unchanged; --force true redoes it"
    }
    for name, stamp in results.stamps.items():
        assert (results.whole.exp / name / "scores.json").stat().st_mtime_ns == stamp


@pytest.mark.slow
@pytest.mark.parametrize("other", ["staged", "killed"])
def test_manifests_and_scores_depend_on_the_seed_alone(results: Results, other: str) -> None:
    """Not on jobs, nor on being called stage by stage, nor on SIGKILL at any moment."""
    ours, theirs = getattr(results, other), results.whole
    expected = theirs.manifests()
    found = ours.manifests()
    for path in set(expected) - set(found):
        assert path.startswith("mix2+3/")
    for path, content in found.items():
        assert content == expected[path], path
    model = "model.safetensors"
    assert (ours.exp / model).read_bytes() == (theirs.exp / model).read_bytes()
    tuned = [read_json(each.exp / "tuned.json") for each in (ours, theirs)]
    assert tuned[0]["threshold"] == tuned[1]["threshold"]
    assert all(own["cuts"].endswith("/mix2/cuts_dev_max.jsonl.gz") for own in tuned)
    assert ours.scores() == theirs.scores()
    assert ours.tables() == theirs.tables()
    left = [path for path in files(ours.folder) if ".part-" in path]
    assert not left, "a killed run's half-written files"
    curves = [(recipe.exp / "metrics.jsonl").read_text() for recipe in (ours, theirs)]
    assert curves[0] == curves[1] and json.loads(curves[0].splitlines()[-1])["step"] == STEPS


def one_error(run: "subprocess.CompletedProcess[str]") -> str:
    """The one line in which a run says why it failed."""
    assert run.returncode != 0
    lines = run.stderr.splitlines()
    assert len(lines) == 1 and ": error: " in lines[0], run.stderr
    return lines[0]


@pytest.mark.parametrize(
    "stage, message",
    [
        (2, r"corpus/about.json does not exist; local/prepare_embedded.sh or .* makes it"),
        (3, r"corpus/text_train does not exist; the recipe's stage of the corpus or of mixtures"),
        (4, r"cuts_\*.jsonl.gz does not exist; the stage of mixtures or steps/prepare_lang.sh"),
        (5, r"mix2 holds no cuts_test_\*.jsonl.gz; stage 2 makes them"),
        (6, r"mix2 holds no cuts_test_\*.jsonl.gz; stage 2 makes them"),
        (7, r"mix2 holds no cuts_test_\*.jsonl.gz; stage 2 makes them"),
        (8, r"mix2 holds no cuts_test_\*.jsonl.gz; stage 2 makes them"),
        (9, r"mix2 holds no cuts_test_\*.jsonl.gz; stage 2 makes them"),
    ],
)
def test_a_stage_before_its_inputs_exist(tmp_path: Path, stage: int, message: str) -> None:
    recipe = Recipe(tmp_path / "empty folder")
    run = recipe.run("--stage", str(stage), "--stop-stage", str(stage))
    assert re.search(message, one_error(run))
    assert not recipe.folder.exists()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A recipe that has its corpus, mixtures and lang folder and is not trained."""
    recipe = Recipe(tmp_path_factory.mktemp("mixed only"))
    recipe.succeed("--stop-stage", "3", "--mixtures", "train=2 dev=2 test=2", "--utterances", "2")
    return recipe


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage, message",
    [
        (5, r"model.safetensors does not exist; steps/train.sh or the stage of mixtures makes it"),
        (6, r"separated/ctc does not exist; steps/infer.sh or steps/prepare_lang.sh makes it"),
        (8, r"separated/meta.json does not exist; steps/infer.sh makes it"),
        (9, r"has no scores and no training to report; run steps/score.sh"),
    ],
)
def test_a_stage_before_there_is_a_model(mixed: Recipe, stage: int, message: str) -> None:
    run = mixed.run("--stage", str(stage), "--stop-stage", str(stage))
    assert re.search(message, one_error(run))
    assert not mixed.exp.exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--num-speaker", "2"], "unknown option --num-speaker; --help lists the options"),
        (["--nj"], "option --nj needs a value"),
        (["--force", "yes"], "option --force takes true or false, not 'yes'"),
        (["--stage", "10"], "there is no stage '10'; stages are 0 to 9"),
        (["--stop-stage", "last"], "there is no stage 'last'; stages are 0 to 9"),
        (["--encoder", "wav2vec"], "option --encoder takes auto, whisper or e-branchformer, not"),
        (["--librispeech", "no where", "--stop-stage", "1"], "no where is not a folder; give"),
        ([*REAL, "--alignments", "no where"], "no where does not exist; check the path"),
        ([*REAL, "--split", "no where.yaml"], "no where.yaml does not exist; check the path"),
        (["stray"], "unexpected argument 'stray'"),
    ],
)
def test_wrong_options(tmp_path: Path, options: List[str], message: str) -> None:
    recipe = Recipe(tmp_path / "empty folder")
    assert message in one_error(recipe.run(*options))
    assert not recipe.folder.exists()


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    run = Recipe(tmp_path / "x").run("--stage", "4", "--stop-stage", "4", "--conf", "no conf")
    assert "option --conf: there is no file" in one_error(run)


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recipe]:
    """A recipe whose data folder another run is using."""
    monkeypatch.delenv(LOCKED, raising=False)
    recipe = Recipe(tmp_path / "used folder")
    with lock_folder(recipe.data):
        yield recipe


def test_a_second_run_on_the_same_folder(used: Recipe) -> None:
    error = one_error(used.run("--stop-stage", "1"))
    assert f"{used.data} is in use by process {os.getpid()} on {os.uname().nodename}" in error
    assert error.endswith("wait for it to end, or stop it")
    assert not (used.data / "corpus").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = one_error(Recipe(tmp_path / "file").run("--stop-stage", "1"))
    assert f"{tmp_path / 'file'}/data of this" in error


def test_a_failing_job_ends_the_recipe_with_its_message(tmp_path: Path) -> None:
    recipe = Recipe(tmp_path / "too few")
    run = recipe.run("--stop-stage", "1", "--speakers", "4,3,4")
    assert run.returncode != 0
    assert "--dev-speakers 3: give an even number from 2 to" in run.stderr
    assert not (recipe.data / "corpus").exists()
    assert not list((recipe.data / ".done").glob("*"))


@pytest.mark.slow
def test_real_speech_in_the_same_stages(corpus: Path, tmp_path: Path) -> None:
    recipe = Recipe(tmp_path / "real speech", ["--librispeech", str(corpus)])
    recipe.succeed("--stop-stage", "4", "--mixtures", "train=12 dev=4 test=4")
    assert read_json(recipe.data / "corpus" / "about.json")["corpus"] == "LibriSpeech layout"
    assert files(recipe.exp) >= {"model.safetensors", "model.yaml", "bpe.model"}
    rows = (recipe.mix / "metadata" / "test.csv").read_text().splitlines()
    assert len(rows) == 5 and all(row.count("dev-clean/") == 2 for row in rows[1:])


@pytest.mark.slow
def test_what_has_changed_is_scored_again_and_nothing_else(results: Results) -> None:
    recipe = results.staged
    words = recipe.exp / "test_max" / "separated" / "words" / "1best.json"
    write_json(words, [{**entry, "words": "Q"} for entry in read_json(words)])
    rttm = recipe.exp / "test_min" / "separated" / "hyp.rttm"
    rttm.write_text("")
    said = recipe.succeed("--stage", "8", "--stop-stage", "8")
    assert f"score-test_max: {words} has changed; starting again" in said
    assert f"score-test_min: {rttm} has changed; starting again" in said
    assert "score-test_part: done already" in said
    metrics = read_json(recipe.exp / "test_max" / "scores.json")["metrics"]
    own = {"name": "cpWER", "row": "separated", "method": "1best", "subset": "all"}
    assert [m["value"] for m in metrics if own.items() <= m.items()] == [100]
    said = recipe.succeed("--stage", "6", "--stop-stage", "6")  # which also makes them again
    assert "words-test_max-separated-1best: " in said and f"{words} is not as it was made" in said
