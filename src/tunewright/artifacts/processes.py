"""Processes that must not outlive the one that started them, forks, and how many to start."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_LOOK_SECONDS = 1.0


def end_with_parent() -> None:
    """Let this process end when its parent does, however that ends: Linux kills it, elsewhere it looks every second."""
    parent = os.getppid()
    if sys.platform != "linux":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended in between
        os._exit(1)


def num_cores() -> int:
    """Return how many cores this process may use, or where the system does not say it (macOS) how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def forks_can_compute() -> bool:
    """True where a fork may compute: a CUDA device, and macOS's libraries, are lost by it."""
    return sys.platform == "linux" and not Path("/dev/nvidiactl").exists()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)
