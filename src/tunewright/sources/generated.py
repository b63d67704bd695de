"""Rows that a function makes: the user's own, or the puzzles of reasoning-gym.

The function is called as `function(seed=…, **options)` and gives records one after the other, in any of the formats of
`formats.py`. It may go on for ever: `rows` says how many are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from itertools import islice
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError, TunewrightError, UserError
from tunewright.recipe.data_sections import GeneratedSource
from tunewright.sources.dropped import Dropped, unless_too_large
from tunewright.sources.filters.custom import function_identity, load_function
from tunewright.sources.formats import to_row

GYM: Final = "reasoning-gym"


def read_generated(source: GeneratedSource) -> Iterator[ChatRow | Dropped]:
    """Yield the rows, in the order in which the function makes them.

    Raises:
        UserError: no such function, or one that does not take these options. DataError: it raised, gave no record, or
        two rows with one id.
    """
    if source.function == GYM:
        yield from _puzzles(source)
        return
    numbers: dict[str, int] = {}
    stem = source.function.partition(":")[2]
    for number, record in enumerate(islice(_records(source), source.rows), 1):
        where = f"{source.function} row {number}"
        if not isinstance(record, Mapping):
            raise DataError(f"it gave a {type(record).__name__}", where=where, expected="records: dictionaries")
        row = to_row(
            record, where=where, fallback_id=f"{stem}-{source.seed}-{number}", source=source.function,
            columns=source.columns, format=source.format,
        )  # fmt: skip
        if row.id in numbers:
            raise DataError(f"id {row.id!r} stands in row {numbers[row.id]} too", where=where, expected="unique ids")
        numbers[row.id] = number
        yield unless_too_large(row, where)
    if not numbers:
        raise DataError("it gave no record", where=source.function)


def _records(source: GeneratedSource) -> Iterator[Any]:
    function: Callable[..., Iterable[Any]] = load_function(source.function)
    try:
        yield from function(seed=source.seed, **source.options)
    except TunewrightError:
        raise
    except Exception as error:  # the user's code may fail in any way
        raise DataError(
            f"{type(error).__name__}: {error}", where=source.function,
            expected="a function called as name(seed=…, **options) that gives records", fix="mend the function",
        ) from error  # fmt: skip


def _puzzles(source: GeneratedSource) -> Iterator[ChatRow]:
    from tunewright.suites.reasoning_gym import GymOptions, make_rows

    if "rows" in source.options:
        raise UserError(
            "`rows` stands beside `options`, not in it", where=f"a generated source, {GYM}", fix="move it up"
        )
    from tunewright.suites.options import read_options

    options = read_options(GymOptions, {**source.options, "rows": source.rows}, where=GYM)
    yield from make_rows(options, source.seed, source.rows)


def generated_identity(source: GeneratedSource) -> str:
    """Return the SHA-256 of the file that holds the function; of reasoning-gym its version.

    Raises:
        UserError: not there.
    """
    if source.function != GYM:
        return function_identity(source.function)
    try:
        return f"{GYM}=={metadata.version(GYM)}"
    except metadata.PackageNotFoundError:
        return GYM  # reading says which extra brings it
