"""Where converted models and file hashes are kept between runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from tunewright.artifacts.files import make_folder, write_json, writing
from tunewright.artifacts.fingerprint import sha256_file


def cache_folder() -> Path:
    """Return `$TUNEWRIGHT_CACHE`, else `tunewright` under the user's cache folder. Created when missing."""
    home = os.environ.get("TUNEWRIGHT_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tunewright"
    return make_folder(Path(home) if home else base)


@contextlib.contextmanager
def cache_lock(name: str) -> Iterator[None]:
    """Let one process at a time make the cache entry `name`; the others wait for it."""
    path = cache_folder() / f".{name}.lock"
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def cached_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read again only when its size or time of change differs."""
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    table = cache_folder() / "hashes.json"
    known = _read(table)
    if key not in known:
        digest = sha256_file(path)
        with cache_lock("hashes"):
            known = {**_read(table), key: digest}
            write_json(table, known)
    return known[key]


def _read(path: Path) -> dict[str, str]:
    """Return the table, or an empty one when it is not there or damaged: it only saves time."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
