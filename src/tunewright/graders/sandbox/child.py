"""Run hostile code, in a process that has given up everything, and write down what it returned.

Nothing here is relied on: the code can change this module, write to the same pipe or end the process. All it can gain
is to have returned another value, which the caller compares with one that was never here.

A job is `{source, entry, calls}`: one line of JSON a call, `{"value"}` or `{"error", "kind"}`, with `"stop"` if the
source itself does not run; or `{source, stdin}`: the source is run as a script, and what it prints is the answer.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any, NoReturn

FILE = "<answer>"
MAX_ERROR_CHARS = 500
_REFUSED = {errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOSYS, errno.ENETUNREACH, errno.EADDRNOTAVAIL}


def run(task: dict[str, Any], answer: int) -> NoReturn:
    """Run `task` and write to the file `answer`; ends the process without its exit handlers."""
    if "stdin" in task:
        os._exit(_script(task["source"], task["stdin"], answer))
    _calls(task["source"], task["entry"], task["calls"], answer)
    os._exit(0)


def _calls(source: str, entry: str, calls: list[list[Any]], answer: int) -> None:
    try:
        function = find(entry, _execute(source, "answer").__dict__)
    except BaseException as error:
        _write(answer, {"stop": True, **described(error)})
        return
    for arguments in calls:
        _write(answer, _one_call(function, arguments))


def _one_call(function: Callable[..., Any], arguments: list[Any]) -> dict[str, Any] | str:
    try:
        value = function(*arguments)
    except BaseException as error:
        return described(error)
    try:
        return '{"value": ' + json.dumps(value, allow_nan=False, default=_plain) + "}"
    except BaseException as error:
        return {"kind": "protocol", "error": f"returned no JSON value: {described(error)['error']}"}
    finally:
        _flush()


def _execute(source: str, name: str) -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, FILE, "exec"), module.__dict__)
    return module


def find(entry: str, names: dict[str, Any]) -> Callable[..., Any]:
    """Return the function `entry`; `Class.method` is a method of a new object."""
    first, *rest = entry.split(".")
    if first not in names:
        raise NameError(f"the code defines no {first!r}")
    found = names[first]
    for name in rest:
        found = getattr(found() if isinstance(found, type) else found, name)
    if not callable(found):
        raise TypeError(f"{entry!r} is no function")
    return found  # type: ignore[no-any-return]  # hostile: it returns anything


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy as JSON has them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__}")


def described(error: BaseException) -> dict[str, str]:
    """Return the kind of an exception and one line about it, however it was made."""
    try:
        kind = "exception"
        if isinstance(error, MemoryError):
            kind = "memory"
        elif isinstance(error, OSError) and error.errno in _REFUSED:
            kind = "forbidden"
        text = f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]
        return {"kind": kind, "error": text + _line(error.__traceback__)}
    except BaseException:
        return {"kind": "exception", "error": "an exception that cannot be shown"}


def _line(trace: TracebackType | None) -> str:
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""


def _script(source: str, stdin: str, answer: int) -> int:
    _stdin_from(stdin)
    os.dup2(answer, 1)
    os.close(answer)
    status = 0
    try:
        _execute(source, "__main__")
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        status = 1
        traceback.print_exc(limit=-5)
        os.write(2, f"\n{json.dumps(described(error))}".encode())
    _flush()
    return status & 0xFF


def _stdin_from(text: str) -> None:
    with open("stdin", "w", encoding="utf-8", newline="") as file:
        file.write(text)
    fd = os.open("stdin", os.O_RDONLY)
    os.unlink("stdin")
    os.dup2(fd, 0)
    os.close(fd)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):  # replaced or closed by the code: then nothing is printed
            stream.flush()


def _write(answer: int, line: dict[str, Any] | str) -> None:
    data = (line if isinstance(line, str) else json.dumps(line)).encode() + b"\n"
    while data:
        data = data[os.write(answer, data) :]
