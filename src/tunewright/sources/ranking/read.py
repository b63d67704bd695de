"""Ranking sets from files.

    BEIR        a folder: corpus.jsonl (_id, title, text), queries.jsonl (_id, text), qrels/SPLIT.tsv
    TREC        documents and topics in tags (<doc>, <docno>; <top>, <num>, <title>), and a qrels file of four columns
    MS MARCO    one file of records: query, query_id, passages with is_selected and passage_text

Judgements that name a query or document that is not there are an error: they would be lost without a word. Some sets,
as Cranfield's, number the topics one way and judge them by their position; `by_position` reads them so.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tunewright.artifacts.files import read_jsonl
from tunewright.errors import DataError
from tunewright.sources.ranking.rows import Qrels, RankingSet
from tunewright.sources.records import read_records
from tunewright.suites.ir import read_qrels

MAX_FILE_BYTES: Final = 1 << 30
"""A file of tags is read as a whole."""

FORMS: Final = (
    "a BEIR folder (corpus.jsonl, queries.jsonl, qrels/), MS MARCO's records in .jsonl or .parquet, or TREC's three "
    "files: DOCUMENTS TOPICS QRELS"
)


def read_ranking_set(paths: Sequence[Path], part: str = "test", *, by_position: bool = False) -> RankingSet:
    """Read a set, its form found by looking.

    Args:
        paths: a BEIR folder, a file of MS MARCO's records, or TREC's documents, topics and judgements in this order.
        part: BEIR: the file of judgements under qrels/.
        by_position: judgements name queries by their position, from 1, and not by their id.

    Raises:
        DataError: none of these forms, a broken file, or judgements of what is not there.
    """
    if len(paths) == 1 and paths[0].is_dir():
        found = _read_beir(paths[0], part)
    elif len(paths) == 1:
        found = read_ms_marco(paths[0])
    elif len(paths) == 3:
        found = _read_trec(*paths)
    else:
        raise DataError(f"{len(paths)} paths", where=", ".join(map(str, paths)), expected=FORMS)
    if by_position:
        found = _by_position(found)
    _check_judged(found, ", ".join(map(str, paths)))
    return found


def _by_position(found: RankingSet) -> RankingSet:
    queries = {str(place): text for place, text in enumerate(found.queries.values(), 1)}
    return RankingSet(queries, found.documents, found.qrels)


def _check_judged(found: RankingSet, where: str) -> None:
    strange = [query for query in found.qrels if query not in found.queries]
    if strange:
        numbered = set(found.qrels) <= {str(place) for place in range(1, len(found.queries) + 1)}
        raise DataError(
            f"{len(strange)} judged queries are not there: {', '.join(strange[:5])}", where=where,
            expected="judgements of the queries that are there",
            fix="they count positions: add --by-position" if numbered else "give the files that belong together",
        )  # fmt: skip
    lost = next(((q, d) for q, judged in found.qrels.items() for d in judged if d not in found.documents), None)
    if lost is not None:
        raise DataError(
            f"document {lost[1]!r}, judged for query {lost[0]!r}, is not there", where=where,
            expected="judgements of the documents that are there",
        )  # fmt: skip


# ── BEIR ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read_beir(folder: Path, part: str) -> RankingSet:
    documents = {key: _titled(record) for key, record in _texts(folder / "corpus.jsonl")}
    queries = {key: str(record["text"]) for key, record in _texts(folder / "queries.jsonl")}
    return RankingSet(queries, documents, _beir_qrels(folder / "qrels" / f"{part}.tsv"))


def _texts(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    seen = set()
    for line, record in read_jsonl(path):
        key = record.get("_id")
        if not isinstance(key, str | int) or not isinstance(record.get("text"), str):
            raise DataError("a record without _id or text", where=f"{path}:{line}", expected='{"_id": …, "text": …}')
        if str(key) in seen:
            raise DataError(f"_id {key!r} stands in an earlier line too", where=f"{path}:{line}", expected="unique ids")
        seen.add(str(key))
        yield str(key), record


def _titled(record: Mapping[str, Any]) -> str:
    title = record.get("title")
    return f"{title}\n{record['text']}" if isinstance(title, str) and title.strip() else str(record["text"])


def _beir_qrels(path: Path) -> Qrels:
    found: Qrels = {}
    if not path.is_file():
        raise DataError("no such file", where=str(path), expected="qrels/SPLIT.tsv", fix="name the split there is")
    for place, _, record in read_records(path, "csv"):
        fields = list(record.values())
        try:
            query, document, score = str(fields[0]), str(fields[1]), int(fields[2])
        except (IndexError, ValueError):
            raise DataError(f"{fields}", where=place, expected="query-id, corpus-id, score") from None
        found.setdefault(query, {})[document] = score
    return found


# ── TREC ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_RECORD_TAGS: Final = {name: re.compile(rf"<(/?){name}>", re.IGNORECASE) for name in ("doc", "top")}
_TAG: Final = re.compile(r"<[^<>]{1,80}>")
_NEXT_TAG: Final = re.compile(r"<[a-z/]", re.IGNORECASE)


def _read_trec(documents: Path, topics: Path, qrels: Path) -> RankingSet:
    return RankingSet(
        dict(_tagged(topics, "top", "num", ("title", "desc"))),
        dict(_tagged(documents, "doc", "docno", ("title", "text"))),
        read_qrels(qrels),
    )


def _tagged(path: Path, record: str, key: str, texts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of the records; a title that the text opens with, as Cranfield's does, is not said twice."""
    if not path.is_file():
        raise DataError("no such file", where=str(path))
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"more than {MAX_FILE_BYTES >> 30} GiB", where=str(path), fix="make BEIR's corpus.jsonl of it")
    found = _bodies(path.read_text(encoding="utf-8", errors="replace"), record)
    if not found:
        raise DataError(f"no <{record}> in it", where=str(path), expected=FORMS)
    for number, body in enumerate(found, 1):
        name = _inside(body, key).removeprefix("Number:").strip()
        if not name:
            raise DataError(f"<{record}> {number} has no <{key}>", where=str(path), expected=f"<{key}>…</{key}>")
        parts = [part for part in (_inside(body, text) for text in texts) if part]
        if len(parts) > 1 and _same_opening(parts):
            parts = parts[1:]
        yield name, "\n".join(parts)


def _bodies(text: str, record: str) -> list[str]:
    """Return what stands between the tags of each record; of a tag that is never closed nothing."""
    found, begin = [], -1
    for tag in _RECORD_TAGS[record].finditer(text):
        if not tag[1]:
            begin = tag.end() if begin < 0 else begin
        elif begin >= 0:
            found.append(text[begin : tag.start()])
            begin = -1
    return found


def _same_opening(parts: list[str]) -> bool:
    return parts[1].startswith(parts[0])


def _inside(body: str, tag: str) -> str:
    """Return the text of a tag, without the tags in it; where topics leave it open, the next tag ends it."""
    opening = re.search(f"<{tag}>", body, re.IGNORECASE)
    if opening is None:
        return ""
    rest = body[opening.end() :]
    end = re.search(f"</{tag}>", rest, re.IGNORECASE) or _NEXT_TAG.search(rest)
    text = rest[: end.start()] if end else rest
    return " ".join(_unescaped(_TAG.sub(" ", text)).split())


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # the number of a character with thousands of digits: none
        return text


# ── MS MARCO ────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_ms_marco(path: Path) -> RankingSet:
    """Read records of a query and its passages; a passage of several queries is one document.

    Raises:
        DataError: a record without query and passages; names it.
    """
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    known: dict[str, str] = {}
    qrels: Qrels = {}
    for where, number, record in read_records(path):
        key = str(record.get("query_id") or f"{path.stem}-{number}")
        query = record.get("query")
        if not isinstance(query, str):
            raise DataError("no query", where=where, expected="query, passages", fix=FORMS)
        if key in queries:
            raise DataError(f"query_id {key!r} stands twice", where=where, expected="unique ids")
        queries[key] = query
        judged = qrels.setdefault(key, {})
        for text, selected in _passages(record.get("passages"), where):
            document = known.setdefault(text, f"p{len(known)}")
            documents[document] = text
            judged[document] = max(judged.get(document, 0), selected)
    if not queries:
        raise DataError("the file is empty", where=str(path))
    return RankingSet(queries, documents, qrels)


def _passages(value: Any, where: str) -> list[tuple[str, int]]:
    """Return (text, selected); columnar files have one object of lists, others a list of objects."""
    texts: Any = None
    selected: Any = None
    if isinstance(value, Mapping):
        texts, selected = value.get("passage_text"), value.get("is_selected")
    elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        texts, selected = ([item.get(name) for item in value] for name in ("passage_text", "is_selected"))
    lists = isinstance(texts, list) and isinstance(selected, list) and len(texts) == len(selected)
    if not lists or not all(isinstance(text, str) for text in texts) or any(flag not in (0, 1) for flag in selected):
        raise DataError(
            f"passages is {str(value)[:80]}", where=where,
            expected='{"passage_text": [text, …], "is_selected": [0 or 1, …]}, or a list of such objects',
        )  # fmt: skip
    return [(text, int(chosen)) for text, chosen in zip(texts, selected, strict=True)]
