"""What a suite is made of outside of this package: its file, the files that one names, the source of a module.

Part of the fingerprint of an evaluation, so that an edited suite is scored again and an equal one is not.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunewright.artifacts.fingerprint import sha256_file
from tunewright.errors import UserError
from tunewright.recipe import document
from tunewright.recipe.load import read_text


def suite_identity(suite: str, options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return `suite` -> hash for a suite that is a file or a module, and `suite.FILE` -> hash for each file it names.

    A built-in suite has no entry of its own: `CODE_VERSION` of the stage stands for it.

    Raises:
        UserError, RecipeError: there is no such file or module.
    """
    found = {f"suite.{name}": sha256_file(path) for name, path in _files_in(options or {}, Path())}
    if suite.endswith((".yaml", ".yml")):
        path = Path(suite)
        told = document.parse(read_text(path), suite).value
        found["suite"] = sha256_file(path)
        found |= {f"suite.{name}": sha256_file(file) for name, file in _files_in(told, path.parent)}
    elif ":" in suite:
        found["suite"] = sha256_file(_source_of(suite))
    return found


def _files_in(value: Any, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every text in `value` that is a file's path, with the file."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, str):
        if 0 < len(value) < 1024 and "\0" not in value and "\n" not in value and _is_file(folder / value):
            yield value, folder / value
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _files_in(inner, folder)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # longer than a file name can be
        return False


def _source_of(suite: str) -> Path:
    module = suite.partition(":")[0]
    if (here := str(Path.cwd())) not in sys.path:  # as `python -m` does; a console script does not
        sys.path.insert(0, here)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise UserError(f"there is no module {module!r}", where=suite, expected="module:name, importable from here")
    return Path(spec.origin)
