"""Measures of rankings by trec_eval's rules, as pure functions, and readers of its two file formats.

A run gives each document of a query a score. It is sorted by score, highest first, and equal scores by document id,
highest first: trec_eval breaks ties so, and libraries that do otherwise print other numbers under the same names. Like
trec_eval, a score is a 32-bit float: two scores that differ by less are a tie.

    ndcg@k     DCG over the DCG of the best ranking of all judged documents; gain = relevance (linear), discount
               1 / log2(rank + 1); Järvelin & Kekäläinen 2002
    mrr        1 / rank of the first relevant document, 0 where there is none
    map        mean over all relevant documents of the precision at its rank, 0 where it is not retrieved
    recall@k   share of the relevant documents among the first k

Relevant: a relevance of 1 or more. A document without a judgement is not relevant. A query without a relevant
document scores 0 in all four. A query of the judgements that the run lacks counts as 0 in the means, and
`Evaluation.missing` names it: pytrec_eval leaves it out, which rewards a system for saying nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tunewright.errors import DataError

Value = TypeVar("Value")
Qrels = Mapping[str, int]
"""document -> relevance, for one query"""


def rank(scores: Mapping[str, float]) -> list[str]:
    """Return documents by score, then by id, both from the highest down.

    Raises:
        ValueError: a score is NaN.
    """
    if any(math.isnan(score) for score in scores.values()):
        raise ValueError("a score is NaN: it has no place in a ranking")
    return sorted(scores, key=lambda document: (_single(scores[document]), document), reverse=True)


def _single(score: float) -> float:
    """Return the nearest 32-bit float."""
    try:
        single: float = struct.unpack("f", struct.pack("f", score))[0]
    except OverflowError:
        return math.copysign(math.inf, score)
    return single


def ndcg(ranking: Sequence[str], qrels: Qrels, k: int | None = None) -> float:
    """Return nDCG at `k` (default: of the whole ranking), in [0, 1]."""
    best = _dcg(sorted(qrels.values(), reverse=True)[:k])
    return _dcg([qrels.get(document, 0) for document in ranking[:k]]) / best if best else 0.0


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains, 1) if gain > 0)


def reciprocal_rank(ranking: Sequence[str], qrels: Qrels) -> float:
    """Return 1 / rank of the first relevant document, 0 where there is none."""
    return next((1 / place for place, document in enumerate(ranking, 1) if qrels.get(document, 0) > 0), 0.0)


def average_precision(ranking: Sequence[str], qrels: Qrels) -> float:
    """Return the mean precision at the relevant documents, in [0, 1]."""
    places = [place for place, document in enumerate(ranking, 1) if qrels.get(document, 0) > 0]
    total = sum(number / place for number, place in enumerate(places, 1))
    return total / count if (count := num_relevant(qrels)) else 0.0


def recall(ranking: Sequence[str], qrels: Qrels, k: int | None = None) -> float:
    """Return the share of the relevant documents among the first `k`, in [0, 1]."""
    found = sum(qrels.get(document, 0) > 0 for document in ranking[:k])
    return found / count if (count := num_relevant(qrels)) else 0.0


def num_relevant(qrels: Qrels) -> int:
    """Return how many documents are relevant."""
    return sum(relevance > 0 for relevance in qrels.values())


def measure(ranking: Sequence[str], qrels: Qrels, k: int = 10) -> dict[str, float]:
    """Return the four measures of one query.

    Args:
        ranking: documents, best first, each once.
        qrels: the judgements of the query.
        k: where nDCG and recall stop.
    """
    return {
        f"ndcg@{k}": ndcg(ranking, qrels, k),
        "mrr": reciprocal_rank(ranking, qrels),
        "map": average_precision(ranking, qrels),
        f"recall@{k}": recall(ranking, qrels, k),
    }


@dataclass(frozen=True)
class Evaluation:
    """The measures of a run. `queries` holds every query with judgements; those the run lacks are `missing`, and 0."""

    queries: dict[str, dict[str, float]]
    missing: tuple[str, ...]
    without_relevant: tuple[str, ...]
    """queries that have judgements and no relevant document among them: 0 for every system"""
    not_judged: tuple[str, ...]
    """queries of the run that no judgement is about: left out"""

    @property
    def means(self) -> dict[str, float]:
        """The mean of each measure over all queries with judgements."""
        names = next(iter(self.queries.values()), {})
        return {name: sum(one[name] for one in self.queries.values()) / len(self.queries) for name in names}


def evaluate_run(run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Qrels], k: int = 10) -> Evaluation:
    """Measure a run: query -> document -> score.

    Raises:
        ValueError: a score is NaN.
    """
    return Evaluation(
        queries={query: measure(rank(run.get(query, {})), judged, k) for query, judged in qrels.items()},
        missing=tuple(query for query in qrels if not run.get(query)),
        without_relevant=tuple(query for query, judged in qrels.items() if not num_relevant(judged)),
        not_judged=tuple(query for query in run if query not in qrels),
    )


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read judgements, `query iteration document relevance` a line, split at white space.

    Raises:
        DataError: no such file, a line of another form, or a document judged twice for a query; names file and line.
    """
    found: dict[str, dict[str, int]] = {}
    for where, (query, _, document, relevance) in _lines(path, 4, "query iteration document relevance"):
        try:
            _add(found, query, document, int(relevance), where)
        except ValueError:
            raise DataError(f"the relevance is {relevance!r}", where=where, expected="a whole number") from None
    return found


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Read a run, `query Q0 document rank score tag` a line. The rank is not read: trec_eval sorts by score.

    Raises:
        DataError: no such file, a line of another form, or a document twice for a query; names file and line.
    """
    found: dict[str, dict[str, float]] = {}
    for where, (query, _, document, _, score, _) in _lines(path, 6, "query Q0 document rank score tag"):
        try:
            value = float(score)
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise DataError(f"the score is {score!r}", where=where, expected="a number")
        _add(found, query, document, value, where)
    return found


def _add(found: dict[str, dict[str, Value]], query: str, document: str, value: Value, where: str) -> None:
    documents = found.setdefault(query, {})
    if document in documents:
        raise DataError(f"document {document!r} stands twice for query {query!r}", where=where, expected="once each")
    documents[document] = value


def _lines(path: Path, count: int, form: str) -> Iterator[tuple[str, list[str]]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                parts = line.split()
                if parts and len(parts) != count:
                    raise DataError(f"{len(parts)} columns", where=f"{path}:{number}", expected=form)
                if parts:
                    yield f"{path}:{number}", parts
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except UnicodeDecodeError:
        raise DataError("not UTF-8", where=str(path)) from None
