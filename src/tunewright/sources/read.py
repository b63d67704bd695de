"""One door to all sources: their rows, their name and their identity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.errors import DataError
from tunewright.recipe.sections import BfclSource, HubSource, JsonlSource
from tunewright.sources.bfcl import PACKAGE, installed_version, read_bfcl
from tunewright.sources.dropped import Dropped
from tunewright.sources.hub import hub_identity, read_hub
from tunewright.sources.jsonl import read_file

AnySource = BfclSource | JsonlSource | HubSource


def read_source(source: AnySource) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of a source in its own order, and what it left out with the reason.

    Raises:
        DataError: the file or the rows are not right. EnvironmentProblem: the package with the data is not installed.
    """
    match source:
        case BfclSource():
            return read_bfcl(source.categories)
        case JsonlSource():
            return read_file(Path(source.path), source.columns)
        case HubSource():
            return read_hub(source)


def source_name(source: AnySource) -> str:
    """Return what people call the source: `bfcl`, the file, the data set. It is the `source` of its rows."""
    match source:
        case BfclSource():
            return "bfcl"
        case JsonlSource():
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
        case JsonlSource():
            return _file_identity(Path(source.path))
        case HubSource():
            return hub_identity(source)


def _file_identity(path: Path) -> str:
    if not path.is_file():
        raise DataError("no such file", where=str(path), fix="check `path:` of the source")
    return sha256_file(path)
