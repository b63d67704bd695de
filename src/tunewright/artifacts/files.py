"""Reading and writing the files of a run so that half-done is never taken for done.

Whole files are written beside their place and renamed into it. JSON lines are appended one whole line at a time, and a
last line that a kill cut short is dropped when the file is opened again. A full disk or a missing permission becomes
an error that names the path; it never becomes a short file.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import json
import os
import re
import secrets
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tunewright.errors import DataError, EnvironmentProblem, RunFolderError, TunewrightError

MAX_LINE_BYTES = 32 << 20  # far above any row (sources/dropped.py); it ends the reading of a file that is one line
MAX_TOLD_CHARS = 300  # of a path in an error

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_DISK_TOLD = re.compile(  # by safetensors and tokenizers, and by torch, which has no words for it
    rf"No space left|os error ({'|'.join(map(str, sorted(_DISK_FULL)))})\b"
    r"|PytorchStreamWriter failed|iostream error|inline_container\.cc.*unexpected pos"
)
_NOT_WRITABLE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG,
    errno.ELOOP,
}  # fmt: skip


def explain_os_error(error: OSError, path: Path | str) -> TunewrightError | None:
    """Return the clean error for a full disk or a place that cannot be written, or None if it is neither."""
    if error.errno in _DISK_FULL:
        return _no_room(str(error.strerror), path)
    if error.errno in _NOT_WRITABLE:
        return RunFolderError(
            f"cannot write there ({error.strerror})",
            where=str(path),
            expected="a folder this user may write",
            fix="change its permissions, or choose another place",
        )
    return None


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn the OS errors of a write to `path` into clean ones."""
    try:
        yield
    except OSError as error:
        clean = explain_os_error(error, error.filename or path)
        if clean is None:
            raise
        raise clean from error


@contextlib.contextmanager
def writing_weights(path: Path | str) -> Iterator[None]:
    """As `writing`, for what torch, safetensors and tokenizers write: a full disk is an error of their own there."""
    with writing(path):
        try:
            yield
        except Exception as error:
            told = next(filter(_FULL_DISK_TOLD.search, _texts(error)), None)
            if told is None or isinstance(error, OSError | TunewrightError):
                raise
            raise _no_room(told.partition("\n")[0], path) from error


def _texts(error: BaseException | None) -> Iterator[str]:
    """Yield what an error says, and what those say that it came after: torch closes a file that failed, and fails."""
    while error is not None:
        yield str(error)
        error = error.__context__


def _no_room(why: str, path: Path | str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"no room left to write ({why})",
        where=str(path),
        fix="free some space, then give the same command again: it goes on where it stopped",
    )


def make_folder(path: Path) -> Path:
    """Create `path` with its parents, if it is not there.

    Raises:
        RunFolderError: no permission. EnvironmentProblem: disk full.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as a whole, by rename.

    Half a surrogate pair, as Python makes of a file name that is not UTF-8, becomes a backslash escape: in JSON that is
    the same text again.

    Raises:
        RunFolderError: no permission. EnvironmentProblem: disk full. The old file is untouched in both cases.
    """
    with replacing(path, f".{secrets.token_hex(4)}") as file:  # two processes may write one file
        file.write(text.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def replacing(path: Path, mark: str = "") -> Iterator[IO[bytes]]:
    """Give the file to write the whole content of `path` into; it is renamed to `path` when it is whole.

    A link stays one: the file it points to is replaced. A device or a pipe is written to as it is.

    Args:
        path: what to write.
        mark: stands in the name of the half-done file.

    Raises:
        RunFolderError: no permission. EnvironmentProblem: disk full. The old file is untouched in both cases.
    """
    real = Path(os.path.realpath(path))
    part = real.with_name(f".{real.name}{mark}.part")
    with writing(path):
        if is_special(path):
            with path.open("wb") as file:
                yield file
            return
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, real)
        except BaseException as error:
            with contextlib.suppress(OSError):
                part.unlink()
            if isinstance(error, OSError) and error.filename == str(part):
                error.filename = str(path)  # nobody knows the hidden one
            raise


def is_special(path: Path) -> bool:
    """True for what is there and neither a file nor a folder: a device, a pipe, a socket."""
    return path.exists() and not (path.is_file() or path.is_dir())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, by rename. Non-finite numbers are refused: JSON has none."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON file.

    Raises:
        DataError: not there, or broken; names line and column.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file", where=str(path)) from None
    except json.JSONDecodeError as error:
        raise DataError(f"broken JSON: {error.msg}", where=f"{path}:{error.lineno}:{error.colno}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8; a number of thousands of digits; nested too deep
        raise DataError(f"broken JSON: {error}", where=str(path)) from None


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write `rows` as JSON lines, by rename, in constant memory; the folder is made. Returns how many."""
    count = 0
    make_folder(path.parent)
    with replacing(path) as file:
        for row in rows:
            text = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
            file.write(text.encode("utf-8", "backslashreplace"))  # as `write_text`
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield `(line number, object)` for every non-blank line, line numbers from 1.

    Raises:
        DataError: the file is missing or a folder, or a line is not a JSON object, not UTF-8, or longer than
            MAX_LINE_BYTES; names the line.
    """
    require_file(path)
    for number, raw in enumerate(_raw_lines(path), 1):
        line = _decode_line(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw, path, number)
        if line.strip():
            yield number, _parse_line(line, path, number)


def is_file(path: Path) -> bool:
    """True for a file; False also for a name that is longer than one can be."""
    try:
        return path.is_file()
    except OSError:
        return False


def require_file(path: Path) -> None:
    """Raise DataError unless `path` is a file."""
    if not is_file(path):
        where = str(path)[:MAX_TOLD_CHARS]
        raise DataError("no such file", where=where, fix="check the path; it is taken from the current folder")


def _raw_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while raw := file.readline(MAX_LINE_BYTES + 1):
                yield raw
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path)) from None


def _decode_line(raw: bytes, path: Path, number: int) -> str:
    if len(raw) > MAX_LINE_BYTES:
        raise DataError(
            f"a line of more than {MAX_LINE_BYTES >> 20} MiB", where=f"{path}:{number}",
            expected="one JSON object a line", fix=f"if it is one JSON list: {_as_lines(path)}",
        )  # fmt: skip
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8: byte {raw[error.start]:#04x}", where=f"{path}:{number}", fix="save it as UTF-8"
        ) from None


def _json_list(path: Path) -> DataError:
    return DataError("a JSON list", where=f"{path}:1", expected="one JSON object a line", fix=_as_lines(path))


def _as_lines(path: Path) -> str:
    lines = path.with_suffix(".rows.jsonl" if path.suffix == ".jsonl" else ".jsonl")
    return f"make lines of it: jq -c '.[]' {shlex.quote(str(path))} > {shlex.quote(str(lines))}"


def _parse_line(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        if number == 1 and line.strip() == "[":
            raise _json_list(path) from None
        raise DataError(
            f"broken JSON: {_why_broken(error)}: {line.strip()[:80]!r}",
            where=f"{path}:{number}",
            expected="one JSON object a line",
            fix="mend or remove that line",
        ) from None
    if isinstance(value, list) and number == 1:
        raise _json_list(path)
    if not isinstance(value, dict):
        raise DataError(f"a JSON {type(value).__name__}", where=f"{path}:{number}", expected="one JSON object a line")
    return value


def _why_broken(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deep" if isinstance(error, RecursionError) else "a number with too many digits"


class JsonlAppender:
    """Appends whole JSON lines to a file; on opening drops a last line that a kill cut short.

    `existing` holds the rows that were there. `keep` says which of them stay (default all).
    """

    def __init__(self, path: Path):
        self.path = path
        self.existing: list[dict[str, Any]] = []
        good = 0
        if path.is_file():  # a device, as /dev/full, may be read without end
            with path.open("rb") as file:
                for raw in file:
                    if not raw.endswith(b"\n"):
                        break
                    try:
                        row = json.loads(raw)
                    except (ValueError, RecursionError):
                        break
                    if not isinstance(row, dict):
                        break
                    self.existing.append(row)
                    good += len(raw)
        with writing(path):
            self._file = path.open("ab")
            if path.is_file():
                self._file.truncate(good)

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append `rows` in one write, so that a batch is there as a whole or cut at a line."""
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        data = text.encode("utf-8", "backslashreplace")  # as `write_text`
        with writing(self.path):
            self._file.write(data)
            self._file.flush()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with writing(self.path):
            self._file.close()

    def __enter__(self) -> JsonlAppender:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
