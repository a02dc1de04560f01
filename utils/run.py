#!/usr/bin/env python3
"""Run a command, or an array of jobs, on this machine: Kaldi's job contract (as run.pl).

    utils/run.py [options] [JOB=1:n] LOG command args...

Every JOB in LOG and the arguments becomes the job's number; output goes to LOG. The exit code is
0 only if every job's was. The command is started as it stands, without a shell.
"""

import ctypes
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, NoReturn, Optional, TextIO, Tuple

USAGE = """usage: run.py [options] [JOB=1:n] LOG command args...
  --max-jobs-run N             jobs at a time (default: one per core)
  --pick all|failed|incomplete run all jobs (default), those that did not end well, or those that
                               did not end, judged by their logs
  --mem, --num-threads, --gpu, --config VALUE
                               for clusters; accepted and ignored here"""
IGNORED = ("mem", "num-threads", "gpu", "config")
GRACE = 5  # seconds from SIGTERM to SIGKILL
STOPS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """SIGINT or SIGTERM came."""


class Job:
    """One command with its log."""

    def __init__(self, log: str, command: List[str]) -> None:
        self.log = Path(log)
        self.command = command
        self.started = time.time()
        self.process: Optional["subprocess.Popen[bytes]"] = None

    def start(self) -> None:
        """Start the command at the head of a process group, its output going to the log."""
        self.started = time.time()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "w") as log:
            log.write(f"# {shlex.join(self.command)}\n# Started at {now()}\n#\n")
            log.flush()
            self.process = spawn(self.command, log)

    def end(self, code: int) -> None:
        """Write the log's closing line."""
        if self.process:
            self.process.returncode = code  # os.wait has reaped it
        seconds = round(time.time() - self.started)
        with open(self.log, "a") as log:
            log.write(f"# Ended (code {code}) at {now()}, elapsed time {seconds} seconds\n")

    def earlier_code(self) -> Optional[int]:
        """Exit code of an earlier run by its log; None if it did not end."""
        if not self.log.exists():
            return None
        with open(self.log, errors="replace") as log:
            codes = re.findall(r"^# Ended \(code (\d+)", log.read(), flags=re.MULTILINE)
        return int(codes[-1]) if codes else None

    def last_lines(self, count: int = 10) -> str:
        """The end of the log, indented."""
        with open(self.log, errors="replace") as log:
            return "".join(f"  {line.rstrip()}\n" for line in log.readlines()[-count:])


def now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def die(message: str) -> NoReturn:
    print(f"run.py: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def spawn(command: List[str], log: TextIO) -> Optional["subprocess.Popen[bytes]"]:
    """Start ``command``; None where it cannot be started, which is logged.

    Descriptors are inherited, as a lock that must live until the last job ends is one of them.
    """
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            close_fds=False,
            start_new_session=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    except OSError as error:
        log.write(f"cannot run {command[0]}: {error.strerror}\n")
        return None


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent is gone (even by SIGKILL)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG


def run(jobs: List[Job], max_jobs_run: int) -> List[Job]:
    """Run ``jobs``, at most ``max_jobs_run`` at a time; return those that failed."""
    failed: List[Job] = []
    running: Dict[int, Job] = {}
    waiting = list(reversed(jobs))
    try:
        while waiting or running:
            while waiting and len(running) < max_jobs_run:
                job = waiting.pop()
                job.start()
                if job.process:
                    running[job.process.pid] = job
                else:
                    job.end(127)
                    failed.append(job)
            if running:
                job, code = wait_for_one(running)
                if code != 0:
                    failed.append(job)
    except Stopped:
        stop(running)
        raise
    return sorted(failed, key=jobs.index)


def wait_for_one(running: Dict[int, Job]) -> Tuple[Job, int]:
    """Wait until a job ends, close its log, and take it off ``running``."""
    pid, status = os.wait()
    job = running.pop(pid)
    code = os.waitstatus_to_exitcode(status)
    code = code if code >= 0 else 128 - code  # as a shell counts signals
    job.end(code)
    return job, code


def stop(running: Dict[int, Job]) -> None:
    """End the jobs' process groups: SIGTERM, then SIGKILL for those that stay."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: kill(running, signal.SIGKILL))
    signal.alarm(GRACE)
    kill(running, signal.SIGTERM)
    try:
        while running:
            wait_for_one(running)
    except ChildProcessError:
        pass  # the signal came between the end of the last job and its being noted


def kill(running: Dict[int, Job], number: int) -> None:
    for pid in running:
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            pass  # ended meanwhile, and not yet waited for


def parse(words: List[str]) -> Tuple[Dict[str, str], List[Job]]:
    """Options, and the jobs to run."""
    options = {"pick": "all", "max-jobs-run": str(len(os.sched_getaffinity(0)))}
    array: Optional[Tuple[str, int, int]] = None
    while words and (words[0].startswith("-") or (array is None and array_of(words[0]))):
        word, words = words[0], words[1:]
        if word in ("-h", "--help"):
            print(USAGE)
            raise SystemExit(0)
        if not word.startswith("-"):
            array = array_of(word)
            continue
        name = word[2:].replace("_", "-")
        if not word.startswith("--") or (name not in options and name not in IGNORED):
            die(f"unknown option {word}; --help lists the options")
        if not words:
            die(f"option {word} needs a value")
        options[name], words = words[0], words[1:]
    if len(words) < 2:
        die("a log file and a command are needed; --help shows how")
    if options["pick"] not in ("all", "failed", "incomplete"):
        die(f"option --pick takes all, failed or incomplete, not {options['pick']!r}")
    if not re.fullmatch("[1-9][0-9]*", options["max-jobs-run"]):
        die(f"option --max-jobs-run takes a number from 1, not {options['max-jobs-run']!r}")
    return options, make_jobs(array, words[0], words[1:])


def array_of(word: str) -> Optional[Tuple[str, int, int]]:
    """``JOB=1:4`` or ``JOB=3`` as (name, first, last); None for other words."""
    match = re.fullmatch(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?", word)
    if not match:
        if re.match(r"[A-Za-z_]\w*=[^/]*:", word):
            die(f"{word} is no range of jobs, such as JOB=1:4")
        return None
    name, first, last = match[1], int(match[2]), int(match[3] or match[2])
    if not 1 <= first <= last:
        die(f"{word} is no range of jobs; the first is 1 or more, the last not before the first")
    return name, first, last


def make_jobs(array: Optional[Tuple[str, int, int]], log: str, command: List[str]) -> List[Job]:
    if array is None:
        return [Job(log, command)]
    name, first, last = array
    if first < last and name not in log:
        die(f"{last - first + 1} jobs cannot share the log {log}; put {name} into its name")
    return [
        Job(log.replace(name, str(number)), [word.replace(name, str(number)) for word in command])
        for number in range(first, last + 1)
    ]


def pick(jobs: List[Job], which: str) -> Tuple[List[Job], List[Job]]:
    """The jobs to run, and those left alone although they failed earlier."""
    if which == "all":
        return jobs, []
    codes = {job: job.earlier_code() for job in jobs}
    unfinished = [job for job in jobs if codes[job] is None]
    failed = [job for job in jobs if codes[job]]
    if which == "failed":
        return sorted(unfinished + failed, key=jobs.index), []
    return unfinished, failed


def stopped(number: int, frame: object) -> None:
    raise Stopped(number)


def main() -> int:
    options, jobs = parse(sys.argv[1:])
    for number in STOPS:
        signal.signal(number, stopped)
    try:
        chosen, left = pick(jobs, options["pick"])
        failed = left + run(chosen, int(options["max-jobs-run"]))
    except Stopped as signal_number:
        print("run.py: stopped, and the jobs with it", file=sys.stderr)
        return 128 + int(signal_number.args[0])
    except OSError as error:
        die(f"cannot write the log {error.filename or jobs[0].log}: {error.strerror}")
    if failed:
        first = failed[0]
        print(
            f"run.py: {len(failed)} of {len(jobs)} jobs failed; {first.log} ends:\n"
            f"{first.last_lines()}",
            end="",
            file=sys.stderr,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
