"""Run a command unless it ran to its end before on the same inputs: the stages of a recipe.

    ume stage --dir exp/ume --name infer --input exp/ume/model.safetensors \\
      --output exp/ume/test_max/separated/meta.json -- run.py JOB=1:4 LOG ume infer --option value

The record of a finished stage, ``DIR/.done/NAME.json``, holds a hash of its inputs' content, the
command and the state of its outputs. It is removed before the command starts and written after
it ended well, so a killed stage is never taken as done. A command that goes on where it was stopped
(``--goes-on-from``) does so on the same inputs only, which ``DIR/.done/NAME.begun.json`` holds.
``DIR/.lock`` keeps a second run out.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, NoReturn, Tuple

from ume.errors import UmeError
from ume.files import PART, PathLike, existing, write_json

LOCKED = "UME_LOCKED"  # environment: folders locked for this process by one above it
PATIENCE = 2.0  # seconds that a killed run's children are given to be gone


class Parser(argparse.ArgumentParser):
    """Wrong options are one line."""

    def error(self, message: str) -> NoReturn:
        raise UmeError(f"{message}; ume stage --help lists the options")


def make_parser() -> Parser:
    parser = Parser(
        prog="ume stage",
        usage="ume stage --dir DIR --name NAME [options] -- command args...",
        description="Run a command unless it ran to its end before on the same inputs.",
        epilog="The command counts from the word 'ume' on, without --num-jobs: a stage is not "
        "redone for another launcher or number of jobs.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--dir", required=True, type=Path, help="folder to lock; its .done keeps the record")
    add("--name", required=True, help="name of the stage")
    add("--input", nargs="+", action="extend", default=[], help="files, folders: by content")
    add("--audio", nargs="+", action="extend", default=[], help="folders: by names, sizes, times")
    add("--made-by", default="", help="what makes the inputs, for the message where one is missing")
    add("--output", nargs="+", action="extend", default=[], help="what must be there afterwards")
    add("--goes-on-from", nargs="+", action="extend", default=[],
        help="files left by a run that was stopped; refused if its inputs were others, removed by "
        "--force true")  # fmt: skip
    add("--force", choices=["true", "false"], default="false", help="run in any case")
    return parser


def command_line(arguments: List[str]) -> int:
    """``ume stage``: run the command where needed; return its exit code, or 0."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = make_parser().parse_args(arguments[:end])
    command = arguments[end + 1 :]
    if not command:
        raise UmeError("there is no command; write it after --")
    for path in options.input + options.audio:
        existing(path, options.made_by)
    with lock_folder(options.dir):
        return run_stage(options, command)


def run_stage(options: argparse.Namespace, command: List[str]) -> int:
    """Run ``command`` in a locked folder, unless the record says that it need not."""
    record_path = options.dir / ".done" / f"{options.name}.json"
    wanted: Dict[str, Any] = {
        "command": what_counts(command),
        "inputs": {path: content_hash(Path(path)) for path in options.input},
        "audio": {path: listing_hash(Path(path)) for path in options.audio},
    }
    reason = "--force" if options.force == "true" else why(record_path, wanted, options.output)
    if not reason:
        print(f"{options.name}: done already, inputs unchanged; --force true redoes it")
        return 0
    went_on = bool(options.goes_on_from) and begin(options, {**wanted["inputs"], **wanted["audio"]})
    print(f"{options.name}: {reason}", flush=True)
    record_path.unlink(missing_ok=True)
    started, cpu = time.monotonic(), sum(os.times()[2:4])
    code = run_command(command)
    if code != 0:
        print(f"{options.name}: failed with exit code {code}", file=sys.stderr)
        return code
    for path in options.output:
        if not Path(path).exists():
            raise UmeError(f"{options.name} ended well but did not make {path}; see its log")
    outputs = {path: listing_hash(Path(path)) for path in options.output}
    record = {
        "name": options.name,
        **wanted,
        "outputs": outputs,
        "went_on": went_on,  # then what follows is of the last run alone
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(sum(os.times()[2:4]) - cpu, 1),  # of children that were awaited
    }
    write_json(record_path, record)
    return 0


def begin(options: argparse.Namespace, inputs: Dict[str, str]) -> bool:
    """Note what the run begins with; refuse to go on with one that began with something else.

    Returns whether it goes on.
    """
    path = options.dir / ".done" / f"{options.name}.begun.json"
    left = [name for name in options.goes_on_from if Path(name).exists()]
    if options.force == "true":
        for name in left:
            Path(name).unlink()
        left = []
    elif left and path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        for name, value in inputs.items():
            if begun.get(name, value) != value:
                raise UmeError(
                    f"{left[-1]} is of a run with another {name}; give another folder, or "
                    "--force true to start again"
                )
    write_json(path, inputs)
    return bool(left)


def what_counts(command: List[str]) -> List[str]:
    """The words of ``command`` that its result depends on: no launcher, no number of jobs.

    >>> what_counts("run.py --mem 4G JOB=1:8 x.JOB.log ume infer --num-jobs 8 --job JOB".split())
    ['ume', 'infer', '--job', 'JOB']
    """
    from ume.__main__ import VERBS

    pairs = list(zip(command, command[1:] + [""]))
    start = next((i for i, (word, verb) in enumerate(pairs) if word == "ume" and verb in VERBS), 0)
    words = command[start:]
    return [
        word
        for before, word in zip([""] + words, words)
        if before != "--num-jobs" and word.split("=")[0] != "--num-jobs"
    ]


def why(record_path: Path, wanted: Dict[str, Any], outputs: List[str]) -> str:
    """Why the stage must run; empty where it need not."""
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "starting"
    except ValueError:
        return "its record is damaged; starting"
    if record["command"] != wanted["command"]:
        return "the command is another one; starting again"
    before, now = ({**told["inputs"], **told["audio"]} for told in (record, wanted))
    for path in {**now, **before}:
        if before.get(path) != now.get(path):
            return f"{path} has changed; starting again"
    for path in outputs:
        if not Path(path).exists() or record["outputs"].get(path) != listing_hash(Path(path)):
            return f"{path} is not as it was made; starting again"
    return ""


def files_below(path: Path) -> Iterator[Tuple[str, Path]]:
    """(relative name, path) of every file of a folder, sorted, or of a file itself.

    What a killed run had begun to write does not count, nor what git keeps for itself.
    """
    if not path.is_dir():
        yield "", path
        return
    seen = set()  # links may lead round in a circle
    for folder, folders, names in os.walk(path, followlinks=True):
        place = os.stat(folder)
        if (place.st_dev, place.st_ino) in seen:
            folders.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        folders[:] = sorted(
            name for name in folders if name != ".git" and not name.startswith(PART)
        )
        for name in sorted(names):
            file = Path(folder) / name
            yield str(file.relative_to(path)), file


def content_hash(path: Path) -> str:
    """SHA-256 of the names and contents of the files at ``path``."""
    digest = hashlib.sha256()
    for name, file in files_below(path):
        inner = hashlib.sha256()
        if file.exists():  # a link may lead nowhere
            with open(file, "rb") as stream:
                while block := stream.read(1 << 20):
                    inner.update(block)
        digest.update(f"{name}\0{inner.hexdigest()}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def listing_hash(path: Path) -> str:
    """SHA-256 of the names, sizes and modification times of the files at ``path``."""
    digest = hashlib.sha256()
    for name, file in files_below(path):
        state = file.stat() if file.exists() else file.lstat()
        text = f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n"
        digest.update(text.encode(errors="surrogateescape"))
    return digest.hexdigest()


def run_command(command: List[str]) -> int:
    """Run ``command``, hand signals on to it, and return its exit code as a shell counts it.

    It inherits the descriptor of the lock, which so lives until its last process has ended.
    """
    try:
        process = subprocess.Popen(command, close_fds=False)
    except OSError as error:
        raise UmeError(f"cannot run {command[0]}: {error.strerror}; check the path") from None
    earlier = {
        number: signal.signal(number, lambda number, _: forward(process, number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        code = process.wait()
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def forward(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal on, except Ctrl-C, which the terminal sends to all of its processes."""
    if number != signal.SIGINT or not in_foreground():
        process.send_signal(number)


def in_foreground() -> bool:
    try:
        with open("/dev/tty") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


@contextmanager
def lock_folder(folder: PathLike) -> Iterator[None]:
    """Keep other runs out of ``folder`` (made if missing) until the end of the ``with`` block.

    Processes started inside share the lock: they may lock the folder again, and the kernel holds
    it until the last of them is gone. A file left by a run that is gone is no obstacle.

    Raises:
        UmeError: another run is using the folder; names its host, process, command and start.
    """
    folder = Path(folder).resolve()
    locked = os.environ.get(LOCKED, "")
    if str(folder) in locked.split("\n"):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+", encoding="utf-8") as lock:
        take(lock, folder)
        os.set_inheritable(lock.fileno(), True)
        os.environ[LOCKED] = f"{locked}\n{folder}"
        try:
            yield
        finally:
            os.environ[LOCKED] = locked
            lock.truncate(0)


def take(lock: Any, folder: Path) -> None:
    """Lock the open file and write who holds it into it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UmeError(
                    f"{folder} is in use by {holder(lock)}; wait for it to end, or stop it"
                ) from None
            time.sleep(0.1)
    left = holder(lock, "")
    if left:
        print(f"{folder / '.lock'} is stale, its run is gone ({left}); taken over", flush=True)
        sweep(folder)
    lock.truncate(0)
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    command = shlex.join(["ume", *sys.argv[1:]])
    lock.write(f"process {os.getpid()} on {socket.gethostname()} since {started}: {command}")
    lock.flush()


def sweep(folder: Path) -> None:
    """Remove what a killed run had begun to write; folders below with locks of their own stay."""
    for path, folders, names in os.walk(folder):
        if path != str(folder) and ".lock" in names:
            folders.clear()
        for name in [name for name in folders if name.startswith(PART)]:
            shutil.rmtree(Path(path) / name, ignore_errors=True)
            folders.remove(name)


def holder(lock: Any, unknown: str = "a process that an earlier run left behind") -> str:
    """Who wrote the lock file."""
    lock.seek(0)
    return lock.read().strip() or unknown
