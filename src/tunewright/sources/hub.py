"""Rows from a data set on the Hugging Face hub, or from a local folder in the same layout.

`datasets` is imported only here and only when a recipe asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.errors import DataError, MissingExtra
from tunewright.recipe.sections import HubSource
from tunewright.sources.dropped import Dropped, unless_too_large
from tunewright.sources.formats import to_row


def read_hub(source: HubSource) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of a data set, in its order, and what stands for a row that is too large to be rendered.

    Raises:
        DataError: not found, no network, no such configuration or split, two rows with one id.
        MissingExtra: `datasets` is not installed.
    """
    seen: dict[str, int] = {}
    stem = f"{Path(source.name).name}-{source.part}"
    for number, record in enumerate(_load(source), 1):
        where = f"{source.name} [{source.part}] row {number}"
        row = to_row(
            record, where=where, fallback_id=f"{stem}-{number}", source=source.name, columns=source.columns
        )  # fmt: skip
        if row.id in seen:
            raise DataError(f"id {row.id!r} stands in row {seen[row.id]} too", where=where, expected="unique ids")
        seen[row.id] = number
        yield unless_too_large(row, where)
    if not seen:
        raise DataError("the data set is empty", where=f"{source.name} [{source.part}]")


def _load(source: HubSource) -> Iterator[Mapping[str, Any]]:
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError:
        raise MissingExtra("datasets, which reads from the hub,", "train") from None
    try:
        loaded = load_dataset(source.name, name=source.config, split=source.part, revision=source.revision)
    except (OSError, ValueError, DatasetsError) as error:  # OSError: not found, no network; ValueError: no such split
        detail = str(error).strip().splitlines()
        raise DataError(
            f"cannot load it: {detail[0] if detail else type(error).__name__}", where=source.name,
            expected="`owner/name` of a data set on the hub, or a local folder with its files",
            fix="check name, config, part and revision; without network, download it and name the folder",
        ) from error  # fmt: skip
    rows: Iterator[Mapping[str, Any]] = iter(loaded)
    return rows


def hub_identity(source: HubSource) -> str:
    """Return `name@revision`, or for a local folder the hash of its files' names and contents."""
    folder = Path(source.name)
    if not folder.is_dir():
        return f"{source.name}@{source.revision or 'main'}"
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256_file(path)}\n".encode())
    return digest.hexdigest()
