"""Files written aside and renamed, so that a killed run leaves nothing half-written."""

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterable, Iterator, Optional, Union

from ume.errors import UmeError

PathLike = Union[str, Path]
PART = ".part-"
"""How the folders begin in which files are written aside; a killed run leaves them behind."""


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """Yield a hidden folder beside ``path`` (whose parent is made), removed in the end.

    Errors of the file system that name no file name ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=PART, dir=path.parent))
    try:
        yield folder
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a path to write to; on success that file replaces ``path``, whose name it has.

    The parent folder is created. On any exception nothing is left.
    """
    path = Path(path)
    with _aside(path) as folder:
        yield folder / path.name
        os.replace(folder / path.name, path)


@contextmanager
def atomic_folder(
    path: PathLike, mark: str = "", inputs: Iterable[Optional[PathLike]] = ()
) -> Iterator[Path]:
    """Yield a folder to fill; on success it replaces ``path`` (if any).

    Where users name ``path``, give ``mark``, a file that such a folder has, and the ``inputs`` of
    what is written (empty ones do not count): a folder without the one or with one of the others
    inside is not ours to replace, and is refused.
    """
    path = Path(path)
    if mark:
        check_replaceable(path, mark, inputs)
    with _aside(path) as folder:
        new, old = folder / path.name, folder / f"{path.name}.old"
        new.mkdir()
        yield new
        try:
            if path.exists():
                os.replace(path, old)
            os.replace(new, path)
        except BaseException:
            if old.exists() and not path.exists():
                os.replace(old, path)
            raise


def check_replaceable(path: Path, mark: str, inputs: Iterable[Optional[PathLike]]) -> None:
    """Raise :class:`UmeError` where ``path`` is anything but free, empty or of an earlier run."""
    place = path.resolve()
    for given in inputs:
        own = Path(given or "/").resolve()
        if given and place in (own, *own.parents):
            raise UmeError(f"{path} is to be written and holds {given}; give another folder")
    if path.exists() and not path.is_dir():
        raise UmeError(f"{path} is a file; give a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / mark).exists():
        raise UmeError(
            f"{path} holds files of somebody else, for it has no {mark}; give a folder that is "
            "empty or not there yet"
        )


def write_bytes(path: PathLike, data: Union[bytes, memoryview]) -> None:
    """Write ``data`` to ``path`` at once.

    What libraries make of a full disk is anything from a riddle to an abort: so let them write
    into memory, and their bytes by this, which raises :class:`OSError`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: PathLike, text: str) -> None:
    """Write ``text`` to ``path`` at once (UTF-8)."""
    write_bytes(path, text.encode())


def write_json(path: PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON to ``path`` at once."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_text(path: PathLike, made_by: str = "") -> str:
    """Read text; :class:`UmeError` names a file that is missing or not UTF-8."""
    try:
        return existing(path, made_by).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        raise UmeError(
            f"{path} is not UTF-8 (byte {wrong:#x} at {error.start}); convert it, such as by "
            "'iconv -f latin1 -t utf8'"
        ) from None


def read_json(path: PathLike) -> Any:
    """Read JSON; :class:`UmeError` names a file that is missing or not JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UmeError(f"{path} is not valid JSON ({error}); remove it and make it again") from None


def existing(path: PathLike, made_by: str = "") -> Path:
    """Return ``path`` as a :class:`Path`, or say that it is missing and which step makes it."""
    path = Path(path)
    if not path.exists():
        fix = f"; {made_by} makes it" if made_by else "; check the path"
        raise UmeError(f"{path} does not exist{fix}")
    return path


def recorded(path: PathLike, record: PathLike) -> Path:
    """``path`` as the file ``record`` holds it, from wherever it is read.

    Recipes work in their own folder, and their paths begin there: what is not below the working
    directory is looked for below the folders above the record.
    """
    places = [Path(), *Path(record).resolve().parents]
    return next((place / path for place in places if (place / path).exists()), Path(path))


def sha256(path: PathLike) -> str:
    """Hash of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
