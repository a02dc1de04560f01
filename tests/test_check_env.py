"""What check-env says of this machine, and of one where things are missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from ume import check_env
from ume.check_env import Finding, command_line


def test_this_environment_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "ready"
    names = [line.split()[0] for line in lines]
    for name in ("python", "torch", "k2", "lhotse", "Whisper", "cores", "memory", "GPU", "bats"):
        assert name in names


def test_missing_package_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(check_env.PACKAGES, "no-such-package", "none")
    assert command_line([]) == 1
    out = capsys.readouterr().out
    assert "no-such-package    not installed -- MISSING: run utils/setup.sh" in out
    assert out.endswith("1 required missing\n")


def test_package_that_does_not_load_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_env, "PACKAGES", {"numpy": "ume.no_such_module"})
    assert command_line([]) == 1
    assert "does not load (No module named 'ume.no_such_module')" in capsys.readouterr().out


def test_missing_program_and_whisper_are_no_hindrance(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_env, "PROGRAMS", {"no-such-program": "install it"})
    monkeypatch.setenv("UME_WHISPER", "/no/such/file")
    assert command_line([]) == 0
    out = capsys.readouterr().out
    assert "no-such-program    not found -- optional: install it" in out


def test_k2_is_optional_on_torch_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_env, "PACKAGES", {"k2": "k2"})
    monkeypatch.setattr(check_env, "has_torch2", lambda: True)

    def missing(name: str) -> str:
        raise check_env.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(check_env.metadata, "version", missing)
    (finding,) = check_env.packages()
    assert not finding.required and "--k2 SPEC" in finding.fix


def test_runs_without_any_package(tmp_path: Path) -> None:
    """In an isolated Python without site-packages it reports instead of breaking."""
    root = Path(__file__).parent.parent
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "from ume.__main__ import main\n"
        "sys.exit(main(['check-env']))"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 1
    assert "torch              not installed -- MISSING: run utils/setup.sh" in run.stdout
    assert run.stderr == ""


def test_takes_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["--help"]) == 0
    assert command_line(["--foo"]) == 2
    assert str(Finding("a", "b")) == "a                  b"
