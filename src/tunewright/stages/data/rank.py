"""A ranking set as rows for a reranker: train.jsonl and test.jsonl, no query on both sides.

Queries of the same words are one group. Beyond that, queries that nearly say the same are looked for over the two
sides, as chat rows are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import make_folder, write_jsonl
from tunewright.artifacts.verdict import Verdict
from tunewright.errors import DataError
from tunewright.gates.data import decontaminated
from tunewright.gates.rows import groups_disjoint
from tunewright.progress import task
from tunewright.sources.overlap import EvaluationIndex
from tunewright.sources.ranking.bm25 import Bm25
from tunewright.sources.ranking.build import RankingOptions, build_rows, group_of
from tunewright.sources.ranking.read import read_ranking_set
from tunewright.sources.ranking.rows import RankingRow, RankingSet
from tunewright.stages.data.split import two_sides


def rank(
    paths: Sequence[Path], out: Path, options: RankingOptions, test: float
) -> tuple[dict[str, int], list[Verdict]]:
    """Read a set, make its rows, and write them into `out`; return the counts and the verdicts on the split.

    Args:
        paths: see `read_ranking_set`.
        out: a folder.
        options: how rows are made; its seed decides the split too.
        test: queries to hold out, or a share below 1.

    Raises:
        DataError: see `read_ranking_set`; no query has a relevant passage; not fewer test queries than queries.
    """
    found = read_ranking_set(paths, options.part, by_position=options.by_position)
    asked = {qid: text for qid, text in found.queries.items() if any(n > 0 for n in found.qrels.get(qid, {}).values())}
    if not asked:
        raise DataError(
            "no query has a relevant passage", where=", ".join(map(str, paths)), expected="a relevance above 0"
        )
    held_out = two_sides([group_of(qid, text) for qid, text in asked.items()], test, options.seed, "--test")
    make_folder(out)
    counts = {"queries": len(asked), "relevant": 0, "hard": 0, "random": 0}
    sides = {name: [q for q, text in asked.items() if (group_of(q, text) in held_out) is is_test]
             for name, is_test in (("train", False), ("test", True))}  # fmt: skip
    index = Bm25(found.documents) if options.hard else None
    with task("ranking rows", total=len(asked)) as progress:
        for name, queries in sides.items():
            part = RankingSet({q: found.queries[q] for q in queries}, found.documents, found.qrels)
            rows = (_counted(row, counts) for row in build_rows(part, options, index))
            counts[name] = write_jsonl(out / f"{name}.jsonl", rows)
            progress.advance(len(queries))
    return counts, _verdicts(found, sides)


def _counted(row: RankingRow, counts: dict[str, int]) -> dict[str, Any]:
    counts["relevant"] += row.label > 0
    if row.meta["kind"] in counts:
        counts[row.meta["kind"]] += 1
    return row.model_dump(mode="json")


def _verdicts(found: RankingSet, sides: dict[str, list[str]]) -> list[Verdict]:
    groups = {name: {group_of(q, found.queries[q]) for q in queries} for name, queries in sides.items()}
    index = EvaluationIndex({"test": _as_chats(found, sides["test"])})
    index.leave_out_templates_of(_as_chats(found, sides["train"]))
    pairs = [pair for row in _as_chats(found, sides["train"]) for pair in index.overlaps(row)]
    return [groups_disjoint(groups["train"], groups["test"]), decontaminated(pairs, len(index))]


def _as_chats(found: RankingSet, queries: Sequence[str]) -> Iterator[ChatRow]:
    for qid in queries:
        asked = {"role": "user", "content": found.queries[qid]}
        yield ChatRow(id=qid, messages=[asked, {"role": "assistant", "content": ""}])
