"""Worker processes that do not outlive the one that started them."""

import ctypes
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def die_with_parent(*_: Any) -> None:
    """Ask Linux to kill this process when its parent is gone, even by SIGKILL.

    To be the initialiser of worker processes: left alone they would wait for work for ever, and
    keep the lock of the experiment folder, which they have inherited.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG


def workers(count: int) -> ProcessPoolExecutor:
    """A pool of ``count`` processes, forked, that :func:`die_with_parent`."""
    return ProcessPoolExecutor(count, get_context("fork"), die_with_parent)
