"""The command line: verbs, options, one-line errors."""

import errno
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import List

import pytest

from ume import __main__ as cli
from ume.errors import UmeError


@dataclass
class Config:
    """Options of a verb for tests."""

    num_jobs: int = 1
    """jobs to share the work among"""
    name: str = "x"
    """any text"""
    rate: float = 0.5
    """a number"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> List[Config]:
    """The configs that verb ``probe`` was called with."""
    calls: List[Config] = []
    module = ModuleType("probe", "A verb for tests.")
    module.Config = Config  # type: ignore[attr-defined]
    module.main = calls.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "probe", module)
    monkeypatch.setitem(cli.VERBS, "probe", ("probe", "for tests"))
    return calls


def test_options_in_shell_style_and_in_python_style(calls: List[Config]) -> None:
    assert cli.main(["probe", "--num-jobs", "4", "--name=a-b c"]) == 0
    assert cli.main(["probe", "--num_jobs=4"]) == 0
    assert calls == [Config(4, "a-b c"), Config(4)]


def test_config_file_and_command_line_wins(calls: List[Config], tmp_path: Path) -> None:
    path = tmp_path / "a b.yaml"
    path.write_text("num_jobs: 3\nname: from file\n")
    assert cli.main(["probe", "--config", str(path), "--num-jobs", "5"]) == 0
    assert calls == [Config(5, "from file")]


@pytest.mark.parametrize(
    "words",
    [
        ["--nmae", "x"],
        ["--num-jobs", "many"],
        ["--nam", "x"],
        ["--name"],
        ["--config", "nowhere.yaml"],
    ],
)
def test_wrong_options_are_one_line(
    calls: List[Config], words: List[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["probe", *words]) == 1
    assert calls == []
    error = capsys.readouterr().err
    assert error.startswith("ume probe: error: ") and error.count("\n") == 1
    assert words[-1].replace("--", "").replace("-", "_") in error
    assert error.endswith("; ume probe --help lists the options\n")


@pytest.mark.parametrize("text, message", [("nmae: x", "nmae"), ("name: [", "config")])
def test_a_config_file_that_is_wrong_is_one_line(
    calls: List[Config], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "a b.yaml"
    path.write_text(text)
    assert cli.main(["probe", "--config", str(path)]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and calls == []


def test_help_has_the_docstrings(calls: List[Config], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        cli.main(["probe", "--help"])
    assert error.value.code == 0
    out = capsys.readouterr().out
    assert "A verb for tests." in out and "jobs to share the work among" in out


def test_torchrun_s_help_names_the_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ume"])
    with pytest.raises(SystemExit):
        cli.main(["torchrun", "--help"])
    assert capsys.readouterr().out.startswith("usage: ume torchrun ")


def test_verbs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "check-env" in capsys.readouterr().out
    assert cli.main([]) == 2
    assert cli.main(["nonsense"]) == 2
    assert "unknown verb 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error, message",
    [
        (UmeError("x.json is missing; stage 1 makes it"), "x.json is missing; stage 1 makes it"),
        (OSError(errno.ENOSPC, "full", "a file"), "no space left while writing a file"),
        (PermissionError(errno.EACCES, "denied", "a file"), "no permission for a file"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "f/x"), "Not a directory (f/x)"),
    ],
)
def test_errors_are_one_line(
    calls: List[Config],
    error: Exception,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(config: Config) -> None:
        raise error

    monkeypatch.setattr(sys.modules["probe"], "main", fail)
    assert cli.main(["probe"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"ume probe: error: {message}")
    assert err.count("\n") == 1


def test_own_errors_of_a_program_keep_their_traceback(
    calls: List[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(config: Config) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["probe"], "main", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"])


def test_every_verb_names_a_module() -> None:
    for module, summary in cli.VERBS.values():
        assert module.startswith("ume.") and summary
