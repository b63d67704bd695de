"""One door to all sources: their rows, their name and their identity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.errors import DataError
from tunewright.recipe.data_sections import CsvSource, GeneratedSource, PackageSource, ParquetSource
from tunewright.recipe.sections import BfclSource, DataSection, HubSource, JsonlSource
from tunewright.sources.bfcl import PACKAGE, installed_version, read_bfcl
from tunewright.sources.dropped import Dropped
from tunewright.sources.files import read_file
from tunewright.sources.filters.build import filter_identities
from tunewright.sources.generated import generated_identity, read_generated
from tunewright.sources.hub import hub_identity, read_hub
from tunewright.sources.package import file_of, package_identity

FileSource = JsonlSource | ParquetSource | CsvSource
AnySource = BfclSource | FileSource | HubSource | PackageSource | GeneratedSource


def read_source(source: AnySource) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of a source in its own order, and what it left out with the reason.

    Raises:
        DataError: the file or the rows are not right. EnvironmentProblem: the package with the data is not installed.
    """
    match source:
        case BfclSource():
            return read_bfcl(source.categories)
        case JsonlSource() | ParquetSource() | CsvSource():
            return read_file(Path(source.path), source.columns, form=source.type, format=source.format)
        case HubSource():
            return read_hub(source)
        case PackageSource():
            return read_file(file_of(source), source.columns, format=source.format, name=source_name(source))
        case GeneratedSource():
            return read_generated(source)


def source_name(source: AnySource) -> str:
    """Return what people call the source: `bfcl`, the file, the data set. It is the `source` of its rows."""
    match source:
        case BfclSource():
            return "bfcl"
        case JsonlSource() | ParquetSource() | CsvSource():
            return str(Path(source.path))
        case HubSource():
            return source.name
        case PackageSource():
            return f"{source.package}/{source.file}"
        case GeneratedSource():
            return source.function


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
        case PackageSource():
            return package_identity(source)
        case GeneratedSource():
            return generated_identity(source)


def data_identities(section: DataSection) -> dict[str, str]:
    """Return what a `data` section is known by beside its settings: its sources, code of filters, evaluation files.

    Raises:
        DataError: a file is not there. UserError: a function is not. EnvironmentProblem: a package is not installed.
    """
    sources = {f"sources.{number}": source_identity(source) for number, source in enumerate(section.sources)}
    files = {
        f"against.{number}": file_identity(Path(path)) for number, path in enumerate(section.decontaminate.against)
    }
    return sources | filter_identities(section.filters) | files


def file_identity(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        DataError: no such file.
    """
    if not path.is_file():
        raise DataError("no such file", where=str(path), fix="check the path in the recipe")
    return sha256_file(path)
