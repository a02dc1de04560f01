"""Files and folders appear whole or not at all."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ume.errors import UmeError
from ume.files import (
    atomic_folder,
    atomic_path,
    existing,
    read_json,
    read_text,
    recorded,
    write_json,
    write_text,
)
from ume.stage import content_hash, listing_hash


def test_path_keeps_its_suffixes_and_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a b" / "cuts.jsonl.gz"
    with atomic_path(path) as temporary:
        assert temporary.name == path.name
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == [path.name]


def test_path_is_readable_as_the_umask_says(tmp_path: Path) -> None:
    earlier = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "")
        with atomic_folder(tmp_path / "y"):
            pass
    finally:
        os.umask(earlier)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "y").stat().st_mode) == 0o750


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_what_was_there(tmp_path: Path, error: type) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    with pytest.raises(error), atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise error
    with pytest.raises(error), atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "half").touch()
        raise error
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path / "folder") == ["old"]
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_folder_that_cannot_take_its_place_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type
) -> None:
    write_text(tmp_path / "folder" / "old", "")
    replace, moved = os.replace, []

    def fail_at_the_second(source: Path, target: Path) -> None:
        moved.append(target)
        if len(moved) == 2:
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_second)
    with pytest.raises(error), atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "new").touch()
    assert os.listdir(tmp_path / "folder") == ["old"] and os.listdir(tmp_path) == ["folder"]


def test_folder_replaces_an_earlier_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / name).touch()
    assert os.listdir(tmp_path / "folder") == ["new"]
    assert os.listdir(tmp_path) == ["folder"]


def test_folders_of_others_are_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for mark in ("tokens.txt", "tokens.txt"):  # an empty folder, and one of an earlier run
        with atomic_folder(folder, mark) as temporary:
            (temporary / mark).touch()
    with pytest.raises(UmeError, match="folder holds files of somebody else, for it has no x"):
        with atomic_folder(folder, "x"):
            pass
    for inside in (folder, folder / "tokens.txt"):
        with pytest.raises(UmeError, match=f"folder is to be written and holds {inside}"):
            with atomic_folder(folder, "tokens.txt", ["", None, inside]):
                pass
    with pytest.raises(UmeError, match="tokens.txt is a file; give a folder"):
        with atomic_folder(folder / "tokens.txt", "x"):
            pass
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(folder) == ["tokens.txt"]


def test_json_round_trip_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"ä": [1, 2.5, None]})
    assert read_json(path) == {"ä": [1, 2.5, None]}
    path.write_text('{"a": ')
    with pytest.raises(UmeError, match="x.json is not valid JSON"):
        read_json(path)


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("Ren\xe9e\n".encode("latin1"))
    for read in (read_text, read_json):
        with pytest.raises(
            UmeError, match=r"/a is not UTF-8 \(byte 0xe9 at 3\); convert it"
        ) as caught:
            read(tmp_path / "a")
        assert "\n" not in str(caught.value)
    with pytest.raises(UmeError, match="/b does not exist; ume stage makes it"):
        read_text(tmp_path / "b", "ume stage")


def test_paths_of_records_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "recipe" / "exp" / "a" / "config.yaml"
    (tmp_path / "recipe" / "data").mkdir(parents=True)
    record.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert recorded("data", record) == tmp_path / "recipe" / "data"
    assert recorded(tmp_path, record) == tmp_path
    assert recorded("none", record) == Path("none")
    (tmp_path / "data").mkdir()
    assert recorded("data", record) == Path("data")  # where one is goes first


def test_missing_file_names_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UmeError, match="none does not exist; stage 2 makes it"):
        existing(tmp_path / "none", "stage 2")
    with pytest.raises(UmeError, match="none does not exist; check the path"):
        existing(tmp_path / "none")
    assert existing(tmp_path) == tmp_path


KILLED = """
import os, signal, sys
from ume.files import atomic_folder, atomic_path
with atomic_path("words/1best.json") as path, atomic_folder("words/lang") as folder:
    path.write_text("half")
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_leaves_is_found_by_nobody(tmp_path: Path, root: Path) -> None:
    write_text(tmp_path / "words" / "1best.json", "old")
    write_text(tmp_path / "words" / "lang" / "old", "")
    before = content_hash(tmp_path), listing_hash(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    run = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment)
    assert run.returncode == -signal.SIGKILL
    assert sorted(path.name for path in (tmp_path / "words").glob("*.json")) == ["1best.json"]
    assert (tmp_path / "words" / "1best.json").read_text() == "old"
    assert [path.name for path in (tmp_path / "words").glob("l*")] == ["lang"]
    assert os.listdir(tmp_path / "words" / "lang") == ["old"]
    assert (content_hash(tmp_path), listing_hash(tmp_path)) == before


def test_a_full_disk_names_the_file_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_text(tmp_path / "file", "old")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError) as error:
        write_text(tmp_path / "file", "new")
    assert error.value.filename == str(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"
