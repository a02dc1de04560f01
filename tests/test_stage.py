"""Stages: skipped when done, redone when anything they depend on changes, one run at a time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from ume.errors import UmeError
from ume.stage import LOCKED, command_line, content_hash, listing_hash, lock_folder, what_counts

APPEND = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write('x')"]
HOLD = [sys.executable, "-c", "import time; open('held', 'w').close(); time.sleep(60)"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(LOCKED, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    return tmp_path


def stage(*options: str, command: List[str]) -> int:
    return command_line(["--dir", "exp", "--name", "one", *options, "--", *command])


def runs() -> int:
    """How often ``APPEND out`` has run."""
    return len(Path("out").read_text()) if Path("out").exists() else 0


def record() -> Dict[str, Any]:
    """What is noted of the stage."""
    noted: Dict[str, Any] = json.loads(Path("exp/.done/one.json").read_text())
    return noted


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_done_stage_is_skipped_with_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    Path("in").write_text("1")
    assert stage("--input", "in", command=[*APPEND, "out"]) == 0
    capfd.readouterr()
    assert stage("--input", "in", command=[*APPEND, "out"]) == 0
    assert capfd.readouterr().out == (
        "one: done already, inputs unchanged; --force true redoes it\n"
    )
    assert runs() == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("in").write_text("2"),
        lambda: Path("folder/inner").write_text("2"),
        lambda: Path("folder/other").write_text(""),
        lambda: Path("folder/inner").rename("folder/renamed"),
        lambda: Path("audio/a.flac").write_text("longer"),
        lambda: os.utime("audio/a.flac", (0, 0)),
        lambda: Path("made").unlink(),
        lambda: Path("made").write_text(""),
        lambda: Path("exp/.done/one.json").unlink(),
        lambda: Path("exp/.done/one.json").write_text("{"),
    ],
)
def test_any_change_makes_it_run_again(change: Callable[[], None]) -> None:
    Path("folder").mkdir()
    Path("audio").mkdir()
    for path in ("in", "folder/inner", "audio/a.flac", "made"):
        Path(path).write_text("1")
    options = ["--input", "in", "folder", "--audio", "audio", "--output", "made"]
    command = [sys.executable, "-c", "open('made', 'w').write('1'); open('out', 'a').write('x')"]
    assert stage(*options, command=command) == 0
    assert stage(*options, command=command) == 0
    assert runs() == 1
    change()
    assert stage(*options, command=command) == 0
    assert runs() == 2


def test_an_input_that_is_gone_counts() -> None:
    Path("in").write_text("1")
    Path("more").write_text("1")
    stage("--input", "in", "more", command=[*APPEND, "out"])
    Path("more").unlink()
    stage("--input", "in", command=[*APPEND, "out"])
    assert runs() == 2


def test_what_links_lead_to_counts_and_names_may_be_any_bytes() -> None:
    for folder in ("real", "other", "audio"):
        Path(folder).mkdir()
    Path("real/a.flac").write_text("1")
    Path("audio/sub").symlink_to("../real")
    Path("audio/round").symlink_to("../audio")
    Path("audio/nowhere").symlink_to("gone")
    Path(os.fsdecode(b"audio/gr\xf6sse")).touch()
    for option in ("--audio", "--input"):
        before = runs() if Path("out").exists() else 0
        for _ in range(2):
            assert stage(option, "audio", command=[*APPEND, "out"]) == 0
        assert runs() == before + 1
        Path("real/a.flac").write_text(f"longer {option}")
        stage(option, "audio", command=[*APPEND, "out"])
        assert runs() == before + 2


def test_what_git_keeps_for_itself_does_not_count() -> None:
    Path("checkout", ".git").mkdir(parents=True)
    Path("checkout", "table.csv").write_text("a")
    before = content_hash(Path("checkout")), listing_hash(Path("checkout"))
    Path("checkout", ".git", "FETCH_HEAD").write_text("fetched")
    assert (content_hash(Path("checkout")), listing_hash(Path("checkout"))) == before


def test_content_of_inputs_counts_and_not_their_time() -> None:
    Path("in").write_text("1")
    stage("--input", "in", command=[*APPEND, "out"])
    os.utime("in", (0, 0))
    stage("--input", "in", command=[*APPEND, "out"])
    assert runs() == 1


def test_other_options_of_the_command_and_force_make_it_run_again() -> None:
    stage(command=[*APPEND, "out"])
    stage(command=[*APPEND, "out", "--beam", "8"])
    assert runs() == 2
    stage("--force", "true", command=[*APPEND, "out", "--beam", "8"])
    assert runs() == 3


def test_launcher_and_number_of_jobs_do_not_count() -> None:
    four = "run.py JOB=1:4 exp/log/a.JOB.log ume infer --job JOB --num-jobs 4 --model m".split()
    nine = "slurm.pl --mem 4G JOB=1:9 b.JOB.log ume infer --job JOB --num-jobs=9 --model m".split()
    assert what_counts(four) == what_counts(nine) == "ume infer --job JOB --model m".split()
    assert what_counts(["steps/x.sh", "--exp", "ume", "--y", "1"])[0] == "steps/x.sh"
    assert what_counts(four[:-1] + ["other"]) != what_counts(four)


def test_what_was_begun_with_other_inputs_is_not_gone_on_with() -> None:
    """As a training that has checkpoints, of a model before it that is another one by now."""
    options = ["--input", "in", "--goes-on-from", "checkpoint-1", "checkpoint-2"]
    fails = [sys.executable, "-c", "open('checkpoint-2', 'w'); raise SystemExit(1)"]
    Path("in").write_text("1")
    assert stage(*options, command=fails) == 1
    assert stage(*options, command=[*APPEND, "out"]) == 0  # the same: it may go on
    assert record()["went_on"]
    Path("in").write_text("2")
    with pytest.raises(UmeError, match="^checkpoint-2 is of a run with another in; .*--force true"):
        stage(*options, command=[*APPEND, "out"])
    assert runs() == 1
    assert stage("--force", "true", *options, command=[*APPEND, "out"]) == 0 and runs() == 2
    assert not Path("checkpoint-2").exists() and not record()["went_on"]
    Path("checkpoint-2").touch()  # of a run that has ended, and would be taken to have ended
    Path("in").write_text("3")
    with pytest.raises(UmeError, match="another in"):
        stage(*options, command=[*APPEND, "out"])


def test_failed_stage_returns_the_code_and_is_not_done(capfd: pytest.CaptureFixture[str]) -> None:
    assert stage(command=[*APPEND, "out"]) == 0
    assert stage("--force", "true", command=["sh", "-c", "exit 3"]) == 3
    assert "one: failed with exit code 3" in capfd.readouterr().err
    assert stage(command=[*APPEND, "out"]) == 0
    assert runs() == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--name", "x", "--", "true"], "--dir"),
        (["--dir", "exp", "--name", "x"], "there is no command"),
        (["--dir", "exp", "--name", "x", "--foo", "1", "--", "true"], "--foo"),
        (["--dir", "exp", "--name", "x", "--force", "yes", "--", "true"], "--force"),
        (["--dir", "exp", "--name", "x", "--", "./none"], "cannot run ./none"),
        (["--dir", "exp", "--name", "x", "--output", "none", "--", "true"], "did not make none"),
        (
            ["--dir", "exp", "--name", "x", "--input", "in put", "--made-by", "stage 1"]
            + ["--", "true"],
            "in put does not exist; stage 1 makes it",
        ),
    ],
)
def test_wrong_use_is_one_line(arguments: List[str], message: str) -> None:
    with pytest.raises(UmeError) as error:
        command_line(arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not Path("exp/.done/x.json").exists()


def test_unwritable_folder_is_one_line() -> None:
    Path("file").touch()
    run = ume_stage("--dir", "file/exp", "--name", "x", "--", "true")
    _, error = run.communicate()
    assert run.returncode == 1
    assert error.startswith("ume stage: error: ") and "file/exp" in error
    assert error.count("\n") == 1


def ume_stage(*arguments: str) -> "subprocess.Popen[str]":
    """Start it as a terminal does: what a shell runs in the background ignores SIGINT."""
    return subprocess.Popen(
        [sys.executable, "-m", "ume", "stage", *arguments],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def holding() -> Iterator["subprocess.Popen[str]"]:
    """A stage that runs in ``exp`` for a minute, unless it is stopped."""
    run = ume_stage("--dir", "exp", "--name", "held", "--", *HOLD)
    eventually(Path("held").exists)
    yield run
    run.kill()
    run.communicate()


def test_second_run_names_the_first(
    holding: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ume.stage.PATIENCE", 0.0)
    with pytest.raises(UmeError) as error:
        stage(command=["true"])
    message = str(error.value)
    assert f"process {holding.pid} on {os.uname().nodename} since 20" in message
    assert "ume stage --dir exp --name held" in message
    holding.terminate()
    holding.wait()
    assert stage(command=["true"]) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_command(holding: "subprocess.Popen[str]", number: int) -> None:
    holding.send_signal(number)
    assert holding.wait(timeout=20) in (128 + number, 1)  # Python ends SIGINT with a traceback
    assert not Path("exp/.done/held.json").exists()
    with lock_folder("exp"):
        pass


def test_killed_run_holds_the_lock_by_its_child_and_leaves_it_stale(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ume.stage.PATIENCE", 0.0)
    pid = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    run = ume_stage("--dir", "exp", "--name", "held", "--", sys.executable, "-c", pid)
    eventually(lambda: Path("pid").exists() and Path("pid").read_text() != "")
    run.kill()
    run.wait()
    with pytest.raises(UmeError, match=f"in use by process {run.pid}"):
        stage(command=["true"])
    os.kill(int(Path("pid").read_text()), signal.SIGKILL)
    monkeypatch.setattr("ume.stage.PATIENCE", 20.0)
    assert stage(command=["true"]) == 0
    assert f"is stale, its run is gone (process {run.pid}" in capfd.readouterr().out


def test_lock_is_shared_with_the_processes_started_inside() -> None:
    inner = ["--dir", "exp", "--name", "inner", "--", *APPEND, "out"]
    assert stage(command=[sys.executable, "-m", "ume", "stage", *inner]) == 0
    with lock_folder("exp"), lock_folder(Path("exp").resolve()):
        assert stage(command=["true"]) == 0
    assert runs() == 1
    assert Path("exp/.lock").read_text() == ""


def test_locks_of_two_folders_are_apart() -> None:
    with lock_folder("a b"):
        with lock_folder("c"):
            assert os.environ[LOCKED].split("\n")[-1] == str(Path("c").resolve())
        assert str(Path("c").resolve()) not in os.environ[LOCKED]
    assert os.environ[LOCKED] == ""


def test_hashes_tell_contents_and_names_apart() -> None:
    for name in ("a", "b"):
        Path(name, "x").mkdir(parents=True)
        Path(name, "x", "1").write_text("text")
    os.utime("a/x/1", (1, 1))
    assert content_hash(Path("a")) == content_hash(Path("b"))
    assert listing_hash(Path("a")) != listing_hash(Path("b")), "times differ"
    Path("b/x/1").rename("b/x/2")
    assert content_hash(Path("a")) != content_hash(Path("b"))


def test_starts_fast_and_without_heavy_imports() -> None:
    code = (
        "import sys; from ume.__main__ import main\n"
        "try: main(['stage', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'jsonargparse', 'numpy', 'torch', 'lhotse'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_what_a_killed_run_had_begun_to_write_is_swept_away() -> None:
    for path in ("exp/.part-1", "exp/a/.part-2", "exp/kept", "exp/other run/.part-3"):
        Path(path).mkdir(parents=True)
        Path(path, "half").touch()
    Path("exp/other run/.lock").write_text("process 1")
    assert stage(command=["true"]) == 0
    assert Path("exp/.part-1").exists(), "a run that ended leaves none; these may be anybody's"
    Path("exp/.lock").write_text("process 1 of a run that is gone")
    assert stage("--force", "true", command=["true"]) == 0
    left = {str(path.parent) for path in Path("exp").rglob("half")}
    assert left == {"exp/kept", "exp/other run/.part-3"}
