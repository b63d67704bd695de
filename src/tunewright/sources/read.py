"""One door to all sources: their rows, their name and their identity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.errors import DataError
from tunewright.recipe.data_sections import CsvSource, ParquetSource
from tunewright.recipe.sections import BfclSource, HubSource, JsonlSource
from tunewright.sources.bfcl import PACKAGE, installed_version, read_bfcl
from tunewright.sources.dropped import Dropped
from tunewright.sources.files import read_file
from tunewright.sources.hub import hub_identity, read_hub

AnySource = BfclSource | JsonlSource | ParquetSource | CsvSource | HubSource


def read_source(source: AnySource) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of a source in its own order, and what it left out with the reason.

    Raises:
        DataError: the file or the rows are not right. EnvironmentProblem: the package with the data is not installed.
    """
    match source:
        case BfclSource():
            return read_bfcl(source.categories)
        case JsonlSource():
            return read_file(Path(source.path), source.columns, form="jsonl")
        case ParquetSource() | CsvSource():
            return read_file(Path(source.path), source.columns, form=source.type, format=source.format)
        case HubSource():
            return read_hub(source)


def source_name(source: AnySource) -> str:
    """Return what people call the source: `bfcl`, the file, the data set. It is the `source` of its rows."""
    match source:
        case BfclSource():
            return "bfcl"
        case JsonlSource() | ParquetSource() | CsvSource():
            return str(Path(source.path))
        case HubSource():
            return source.name


def source_identity(source: AnySource) -> str:
    """Return what the content of a source is known by, for fingerprints.

    A file by its SHA-256, a package by its version, a data set by name and revision, a folder by its content.

    Raises:
        DataError: no such file. EnvironmentProblem: the package is not installed.
    """
    match source:
        case BfclSource():
            return f"{PACKAGE}=={installed_version()}"
        case JsonlSource() | ParquetSource() | CsvSource():
            return file_identity(Path(source.path))
        case HubSource():
            return hub_identity(source)


def file_identity(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        DataError: no such file.
    """
    if not path.is_file():
        raise DataError("no such file", where=str(path), fix="check `path:` of the source")
    return sha256_file(path)
