"""Timing of callables and commands, interleaved, told as median and spread."""

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence


def interleaved(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each side over `rounds`; A B A B …, after one warm-up of each."""
    for call in sides.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def command_seconds(command: Sequence[str]) -> Callable[[], object]:
    """Return a callable that runs a command to its end, whatever its exit code."""
    return lambda: subprocess.run(command, capture_output=True, check=False)


def told(seconds: list[float]) -> str:
    """Return `median (min to max)` in milliseconds."""
    return f"{1e3 * statistics.median(seconds):8.1f} ms  ({1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f})"


def peak_mib(whose: int = resource.RUSAGE_SELF) -> float:
    """Return the peak resident memory of this process, or of its children, in MiB."""
    return resource.getrusage(whose).ru_maxrss / 1024
