"""What a suite is made of outside of this package: its file, the files that one names, the sources of modules.

Part of the fingerprint of an evaluation, so that an edited suite is scored again and an equal one is not. A module
counts by its own file: what that imports is not looked at.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tunewright.artifacts.fingerprint import sha256_file
from tunewright.artifacts.user_code import importing
from tunewright.errors import UserError
from tunewright.recipe import document
from tunewright.recipe.load import read_text

FUNCTION: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # as graders/callables.py has it
SCORES: Final = ("grader", "target", "suite")  # keys whose value may be `module:name`


def suite_identity(suite: str, options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return `suite` -> hash for a suite that is a file or a module, and `suite.NAME` -> hash for what else it is of.

    NAME is a file that the suite or its options name, or the `module:name` of a grader, which stands for the module's
    file. A built-in suite has no entry of its own: `CODE_VERSION` of the stage stands for it.

    Raises:
        UserError, RecipeError: there is no such file or module.
    """
    found = _marks(options or {}, Path())
    if suite.endswith((".yaml", ".yml")):
        path = Path(suite)
        told = document.parse(read_text(path), suite).value
        found["suite"] = sha256_file(path)
        found |= _marks(told, path.parent)
    elif ":" in suite:
        found["suite"] = sha256_file(_source_of(suite))
    return found


def _marks(value: Any, folder: Path) -> dict[str, str]:
    named = [*_files_in(value, folder), *_sources_in(value, folder)]
    return {f"suite.{name}": sha256_file(path) for name, path in named}


def _files_in(value: Any, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every text in `value` that is a file's path, with the file."""
    for _, text in _texts_in(value):
        if _is_file(folder, text):
            yield text, folder / text


def _sources_in(value: Any, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every `module:name` that scores, with its module's file. What is not there, whoever loads it tells."""
    for text in _functions_in(value, folder):
        with suppress(UserError):
            yield text, _source_of(text)


def _functions_in(value: Any, folder: Path) -> Iterator[str]:
    for key, text in _texts_in(value):
        if key == "grader" and _is_file(folder, text):
            yield from (told for name, told in _texts_in(_told_in(folder / text)) if name == "target" and _named(told))
        elif key in SCORES and _named(text):
            yield text


def _named(text: str) -> bool:
    return FUNCTION.fullmatch(text) is not None


def _told_in(path: Path) -> Any:
    """Return what a grader's file says; None of a broken one: its hash is known, and its mistakes the stage tells."""
    from tunewright.graders.load import read_file

    with suppress(UserError):
        return read_file(path)
    return None


def _texts_in(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in `value` with the key it stands under."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:  # no recursion: a file may be nested deep
        key, inner = waiting.pop()
        if isinstance(inner, str):
            yield key, inner
        elif isinstance(inner, Mapping):
            waiting += ((str(name), part) for name, part in inner.items())
        elif isinstance(inner, Sequence):
            waiting += ((key, part) for part in inner)


def _is_file(folder: Path, text: str) -> bool:
    if not 0 < len(text) < 1024 or "\0" in text or "\n" in text:
        return False
    try:
        return (folder / text).is_file()
    except OSError:  # longer than a file name can be
        return False


def _source_of(suite: str) -> Path:
    from tunewright.graders.callables import current_folder

    module = suite.partition(":")[0]
    with current_folder(), importing(module, suite):  # the packages around a module are imported to find it
        spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise UserError(f"there is no module {module!r}", where=suite, expected="module:name, importable from here")
    return Path(spec.origin)
