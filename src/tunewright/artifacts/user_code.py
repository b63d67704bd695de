"""Modules of the user's own, which recipes and graders name as `module:name`: importing them, and telling what fails.

Such a module may raise anything while it is imported, `SystemExit` too. That is a mistake in the user's file and no
bug of ours, so it is told with the line of that file.
"""

from __future__ import annotations

import contextlib
import importlib
import sysconfig
import traceback
from collections.abc import Iterator
from types import ModuleType

from tunewright.errors import TunewrightError, UserError


def import_user_module(module: str, where: str) -> ModuleType:
    """Import a module that the user names; its folder has to be on the path already.

    Raises:
        UserError: as `importing`.
    """
    with importing(module, where):
        return importlib.import_module(module)


@contextlib.contextmanager
def importing(module: str, where: str) -> Iterator[None]:
    """Tell what goes wrong while `module`, or a package around it, is imported; `where` is what names it.

    Raises:
        UserError: there is no such module, or it raised: names file, line and kind of the error.
    """
    if not module or module.startswith("."):
        raise UserError(f"{module!r} is no full name of a module", where=where, expected="`module:name`")
    try:
        yield
    except TunewrightError:
        raise
    except (Exception, SystemExit) as error:
        raise _told(error, module, where) from error


def _told(error: BaseException, module: str, where: str) -> UserError:
    if isinstance(error, ModuleNotFoundError) and error.name:
        if f"{module}.".startswith(f"{error.name}."):
            seen = f"there is no module {module!r} here or installed"
            return UserError(seen, where=where, expected="`module:name`, importable from here", fix="check both names")
        seen = f"module {module!r} needs {error.name!r}, which is not there"
        return UserError(seen, where=where, fix="install it, or mend the name")
    text = error.msg if isinstance(error, SyntaxError) else next(iter(str(error).splitlines()), "")
    kind = f"{type(error).__name__}: {text}" if text else type(error).__name__
    seen = f"module {module!r} cannot be imported: {_place(error)}{kind}"
    return UserError(seen, where=where, fix="mend the module")


def _place(error: BaseException) -> str:
    """Return `file:line: ` of the user's line that failed: where a library raised, the line that called it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    libraries = ("<", __file__, *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(libraries)]
    return f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
