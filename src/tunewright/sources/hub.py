"""Rows from a data set on the Hugging Face hub, streamed, or from a local folder in the same layout.

A branch or tag is resolved to the commit that it is, once a process: this commit is read, and stands in the record. A
token is taken from HF_TOKEN by the client itself. `datasets` is imported only here and only when a recipe asks for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.artifacts.provenance import redact
from tunewright.errors import DataError, MissingExtra
from tunewright.recipe.sections import HubSource
from tunewright.sources.dropped import Dropped, unless_too_large
from tunewright.sources.formats import to_row

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def read_hub(source: HubSource) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of a data set, in its order, and what stands for a row that is too large to be rendered.

    Rows are streamed: what was read is not kept, in memory or on disk.

    Raises:
        DataError: not found, no network, no such configuration or split, two rows with one id.
        MissingExtra: `datasets` is not installed.
    """
    seen: dict[str, int] = {}
    stem = f"{Path(source.name).name}-{source.part}"
    for number, record in enumerate(_records(source), 1):
        where = f"{source.name} [{source.part}] row {number}"
        row = to_row(
            record, where=where, fallback_id=f"{stem}-{number}", source=source.name, columns=source.columns,
            format=source.format,
        )  # fmt: skip
        if row.id in seen:
            raise DataError(f"id {row.id!r} stands in row {seen[row.id]} too", where=where, expected="unique ids")
        seen[row.id] = number
        yield unless_too_large(row, where)
    if not seen:
        raise DataError("the data set is empty", where=f"{source.name} [{source.part}]")


def _records(source: HubSource) -> Iterator[Mapping[str, Any]]:
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's
        from pyarrow import ArrowException
    except ImportError:
        raise MissingExtra("datasets, which reads from the hub,", "train") from None
    revision = None if Path(source.name).is_dir() else commit_of(source.name, source.revision)
    try:
        # OSError: not found, no network; ValueError: no such split; the others: files that are not what they say
        yield from load_dataset(source.name, name=source.config, split=source.part, revision=revision, streaming=True)
    except (OSError, ValueError, DatasetsError, HTTPError, ArrowException) as error:
        raise _unreadable(source.name, error) from error


def _unreadable(name: str, error: Exception) -> DataError:
    detail = str(error).strip().splitlines()
    return DataError(
        f"cannot load it: {redact(detail[0]) if detail else type(error).__name__}", where=name,
        expected="`owner/name` of a data set on the hub, or a local folder with its files",
        fix="check name, config, part and revision, and HF_TOKEN where it is gated; without network, download it and "
        "name the folder",
    )  # fmt: skip


@lru_cache(maxsize=64)
def commit_of(name: str, revision: str | None) -> str:
    """Return the commit that a branch or tag of a data set is now; asked once a process. A commit is itself.

    Raises:
        DataError: no such data set or revision, or no network.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's or httpx2's

    try:
        found = HfApi().dataset_info(name, revision=revision, timeout=60).sha
    except (OSError, ValueError, HTTPError) as error:
        raise _unreadable(name, error) from error
    if not found:
        raise DataError("the hub names no commit", where=name, fix="give the commit as `revision`")
    return found


def hub_identity(source: HubSource) -> str:
    """Return `name@commit`, or for a local folder the hash of its files' names and contents.

    Raises:
        DataError: see `commit_of`.
    """
    folder = Path(source.name)
    if not folder.is_dir():
        return f"{source.name}@{commit_of(source.name, source.revision)}"
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256_file(path)}\n".encode())
    return digest.hexdigest()
