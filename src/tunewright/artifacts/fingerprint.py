"""Identity of what a stage makes: a hash over what changes the result, never over where or when it ran."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def canonical(value: Any, where: str = "$") -> Any:
    """Return `value` in a form whose JSON is the same on every machine.

    Raises:
        TypeError: the value has no stable form (a function, a set, NaN); names the path. There is no fallback to
            `str`: an identity that changes by itself is worse than none.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{where}: {value} has no stable identity")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        return {str(key): canonical(value[key], f"{where}.{key}") for key in sorted(value, key=str)}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [canonical(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{where}: a {type(value).__name__} has no stable identity")


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, hex."""
    text = json.dumps(canonical(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hex. Reads in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differing_fields(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the paths at which two JSON values differ, as `path: old -> new`, in order."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: list[str] = []
        for key in sorted({*old, *new}, key=str):
            inner = f"{path}.{key}" if path else str(key)
            found += differing_fields(old.get(key), new.get(key), inner)
        return found
    if canonical(old) == canonical(new):
        return []
    return [f"{path}: {_short(old)} -> {_short(new)}"]


def _short(value: Any, width: int = 48) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else text[: width - 1] + "…"
