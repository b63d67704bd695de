"""A filter of the user's own: `module:name`, a function from a row (a dictionary) to a decision.

True or None     the row stays
False            the row goes
a text           the row goes, for this reason
a dictionary     the row stays, changed so
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.artifacts.user_code import import_user_module
from tunewright.chat.messages import check_messages
from tunewright.errors import DataError, UserError
from tunewright.recipe.data_sections import CustomFilter
from tunewright.sources.filters.protocol import Check, Removed

_EXPECTED = "True, False, a text that says why the row goes, or the changed row as a dictionary"


def custom_check(section: CustomFilter) -> Check:
    """Return the check.

    Raises:
        UserError: no such module or function. By the check, DataError: the function raised, or gave something else.
    """
    function = load_function(section.function)

    def check(row: ChatRow) -> ChatRow | Removed:
        where = f"{section.function}, row {row.id}"
        try:
            answer = function(copy.deepcopy(row.model_dump()))
        except Exception as error:
            raise DataError(f"{type(error).__name__}: {error}", where=where, fix="mend the function") from error
        return _decided(row, answer, section.function, where)

    return check


def _decided(row: ChatRow, answer: Any, function: str, where: str) -> ChatRow | Removed:
    if answer is None or answer is True:
        return row
    if answer is False:
        return Removed(row, function)
    if isinstance(answer, str):
        return Removed(row, answer[:80] or function)
    if not isinstance(answer, dict):
        raise DataError(f"it gave a {type(answer).__name__}", where=where, expected=_EXPECTED)
    try:
        changed = ChatRow(**answer)
    except (ValidationError, TypeError) as error:
        raise DataError(f"it gave no row: {str(error).splitlines()[0]}", where=where, expected=_EXPECTED) from None
    check_messages(changed.messages, where=where)
    try:
        json.dumps(changed.model_dump(), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise DataError(f"JSON cannot hold its row: {error}", where=where, expected="plain JSON values") from None
    return changed


def load_function(spec: str) -> Callable[[dict[str, Any]], Any]:
    """Import `module:name`; modules in the current folder are found too.

    Raises:
        UserError: not there, not to be called, or its module fails as it is imported.
    """
    module, _, name = spec.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    found: Any = import_user_module(module, spec)
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise UserError(
            str(error), where=spec, expected="`module:name` of a function", fix="check both names"
        ) from None
    if not callable(found):
        raise UserError(f"it is a {type(found).__name__}", where=spec, expected="a function")
    return found  # type: ignore[no-any-return]  # callable says no more


def function_identity(spec: str) -> str:
    """Return the SHA-256 of the file that holds the function; of a built-in one its name.

    Raises:
        UserError: not there.
    """
    load_function(spec)
    file = getattr(sys.modules[spec.partition(":")[0]], "__file__", None)
    return sha256_file(Path(file)) if file else spec
