"""Rows for rerankers: each judged passage with its grade, and beside it passages that look right and are not.

Hard negatives are the best of BM25 that nobody judged relevant. Two guards against calling a right passage wrong: one
that says the same as a relevant one is left out, and `skip` leaves out the very best, which are the likeliest to be
right and not judged. Queries of the same words are one group; the split keeps groups whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from tunewright.sources.ranking.bm25 import Bm25
from tunewright.sources.ranking.rows import RankingRow, RankingSet
from tunewright.sources.text import words


@dataclass(frozen=True)
class RankingOptions:
    """How rows are made: negatives for each relevant passage, and how many of BM25's best are not taken (`skip`)."""

    hard: int = 4
    random: int = 1
    skip: int = 0
    depth: int = 100
    seed: int = 7
    part: str = "test"
    by_position: bool = False


def build_rows(found: RankingSet, options: RankingOptions, index: Bm25 | None = None) -> Iterator[RankingRow]:
    """Yield the rows of every query that has a relevant passage, in the order of the queries.

    Args:
        found: queries, documents and judgements.
        options: how many negatives, and which.
        index: over the documents; default: one is made where hard negatives are asked for.

    Raises:
        MissingExtra: hard negatives are asked for, and bm25s is not installed.
    """
    index = index or (Bm25(found.documents) if options.hard else None)
    plain = {key: " ".join(words(text)) for key, text in found.documents.items()}
    for qid, query in found.queries.items():
        judged = found.qrels.get(qid, {})
        relevant = [document for document, label in judged.items() if label > 0]
        if not relevant:
            continue
        group = group_of(qid, query)
        for document, label in judged.items():
            yield _row(found, qid, document, label, group, {"kind": "judged"})
        out = {*judged}
        same = {plain[document] for document in relevant}
        hard = _hard(index, query, out, same, plain, options, len(relevant)) if index is not None else []
        for document, place in hard:
            yield _row(found, qid, document, 0, group, {"kind": "hard", "rank": place})
        out |= {document for document, _ in hard}
        for document in _random(plain, qid, out, same, options, len(relevant)):
            yield _row(found, qid, document, 0, group, {"kind": "random"})


def group_of(qid: str, query: str) -> str:
    """Return what queries of the same words have in common."""
    return " ".join(words(query)) or qid


def _row(found: RankingSet, qid: str, document: str, label: int, group: str, meta: dict[str, object]) -> RankingRow:
    return RankingRow(
        id=f"{qid}-{document}", qid=qid, query=found.queries[qid], docid=document, passage=found.documents[document],
        label=max(0, label), group=group, meta=meta,
    )  # fmt: skip


def _hard(
    index: Bm25,
    query: str,
    out: set[str],
    same: set[str],
    plain: dict[str, str],
    options: RankingOptions,
    relevant: int,
) -> list[tuple[str, int]]:
    ranked = enumerate(index.search(query, options.depth + options.skip), 1)
    free = [(document, place) for place, (document, _) in ranked if place > options.skip and document not in out]
    return [(document, place) for document, place in free if plain[document] not in same][: options.hard * relevant]


def _random(
    plain: dict[str, str], qid: str, out: set[str], same: set[str], options: RankingOptions, relevant: int
) -> list[str]:
    """Return documents by a hash of seed, query and place: the same on every machine."""
    names = list(plain)
    wanted, chosen = options.random * relevant, []
    for turn in range(20 * wanted):
        mark = hashlib.blake2b(f"{options.seed}:{qid}:{turn}".encode(), digest_size=8).digest()
        document = names[int.from_bytes(mark) % len(names)]
        if document not in out and plain[document] not in same and document not in chosen:
            chosen.append(document)
        if len(chosen) == wanted:
            break
    return chosen
