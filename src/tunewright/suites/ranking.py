"""Suite `ranking`: does the model put the right passages first?

reads    `meta.passages`, the ids of the passages in the order the question shows them as [1], [2], …, and `meta.qrels`,
         id -> relevance, of all judged documents of the query, those that are not shown too

    ndcg@k, mrr, map, recall@k   by trec_eval's rules (`ir.py`); option `k`, default 10
    valid_ranking                1 if the answer ranks every passage exactly once, and nothing else

The answer is a list: `[3] > [1] > [2]`, or JSON, `[3, 1, 2]`, of numbers or ids. A passage counts where it first
stands; what is no passage is passed over. Passages that the answer leaves out are not retrieved: the model gets no
credit for the order it was shown (`missing: append` puts them behind in that order, as RankGPT does).

A query whose passages hold no relevant one scores 0 whatever the model says, as in trec_eval; the reason says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError
from tunewright.suites.answers import NoJSONError, json_of
from tunewright.suites.ir import measure, num_relevant, rank, read_qrels, read_run
from tunewright.suites.options import Options, read_options
from tunewright.suites.protocol import Metric, Scored, Suite

_ROWS: Final = "all rows; rows without a relevant document count 0"
_NUMBER: Final = re.compile(r"\[(\d{1,6})\]")


class RankingOptions(Options):
    """Options of the suite."""

    k: int = Field(default=10, ge=1, description="where nDCG and recall stop")
    missing: Literal["drop", "append"] = Field(
        default="drop", description="what becomes of passages that the answer leaves out"
    )


def read_ranking(answer: str, passages: Sequence[str]) -> list[str | None]:
    """Return the passages that an answer names, in its order; None where it names something else.

    Args:
        answer: `[3] > [1]`, or a JSON list of numbers from 1 or of ids. Text around bracketed numbers is passed over.
        passages: the ids, in the order shown.
    """
    try:
        said = json_of(answer)
    except NoJSONError:
        said = None
    # `[3]` alone is JSON and a ranking of one: both readings are the same.
    items = said if isinstance(said, list) else [int(number) for number in _NUMBER.findall(answer)]
    return [_passage(item, passages) for item in items]


def _passage(item: Any, passages: Sequence[str]) -> str | None:
    if isinstance(item, list) and len(item) == 1:  # [[3], [1]]
        item = item[0]
    if isinstance(item, str):
        return item if item in passages else None
    if isinstance(item, int) and not isinstance(item, bool):
        return passages[item - 1] if 1 <= item <= len(passages) else None
    return None


@dataclass(frozen=True)
class Ranking:
    """Scores a ranking in words."""

    options: RankingOptions

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        """Score the ranking in `answer` against the row's judgements."""
        try:
            passages, qrels = _judged(row)
        except DataError as error:
            return Scored({}, "unscored", error=str(error))
        named = read_ranking(answer, passages)
        ranking = list(dict.fromkeys(passage for passage in named if passage is not None))
        valid = len(named) == len(ranking) == len(passages)
        if self.options.missing == "append":
            ranking += [passage for passage in passages if passage not in ranking]
        scores = {**measure(ranking, qrels, self.options.k), "valid_ranking": float(valid)}
        failure = _failure(named, ranking, passages, qrels, valid, scores[f"ndcg@{self.options.k}"])
        shown = f"nDCG {scores[f'ndcg@{self.options.k}']:.3f}"
        return Scored(scores, f"{failure}: {shown}" if failure else shown, ranking, failure)


def _failure(
    named: Sequence[str | None], ranking: Sequence[str], passages: Sequence[str], qrels: Mapping[str, int],
    valid: bool, score: float,
) -> str:  # fmt: skip
    if not any(qrels.get(passage, 0) > 0 for passage in passages):
        return "no relevant passage shown" if num_relevant(qrels) else "no relevant document"
    if not named:
        return "no ranking"
    if not valid:
        left_out = set(passages) - set(named)
        return "passages left out" if left_out else "passages twice, or of its own"
    return "" if score == 1 else "other order"


def _judged(row: ChatRow) -> tuple[list[str], dict[str, int]]:
    where = f"row {row.id}"
    passages, qrels = row.meta.get("passages"), row.meta.get("qrels")
    if not (isinstance(passages, list) and passages and all(isinstance(passage, str) for passage in passages)):
        raise DataError("`meta.passages` is no list of passage ids", where=where)
    if len(set(passages)) != len(passages):
        raise DataError("`meta.passages` holds an id twice", where=where)
    if not (isinstance(qrels, dict) and all(type(relevance) is int for relevance in qrels.values())):
        raise DataError("`meta.qrels` is no mapping of id to relevance, a whole number", where=where)
    return passages, qrels


# ── rows from a run ─────────────────────────────────────────────────────────────────────────────────────────────────

ASK: Final = (
    "Rank the passages by how well they answer the query, best first. "
    "Answer with their numbers only, each once, as in [2] > [1] > [3].\n\nQuery: {query}\n\n{passages}"
)


def rows_from_run(
    queries: Mapping[str, str], texts: Mapping[str, str], run_file: Path, qrels_file: Path, depth: int = 20
) -> list[ChatRow]:
    """Return a row a query: its first `depth` documents of a TREC run, to be ranked again.

    Args:
        queries: query id -> text.
        texts: document id -> text.
        run_file: the run whose documents are shown, in its order.
        qrels_file: the judgements.
        depth: passages a question.

    Raises:
        DataError: a file is broken, or a document of the run has no text.
    """
    run, qrels = read_run(run_file), read_qrels(qrels_file)
    return [
        _row(query, text, rank(run.get(query, {}))[:depth], texts, qrels[query])
        for query, text in queries.items()
        if query in qrels and run.get(query)
    ]


def _row(query: str, text: str, shown: list[str], texts: Mapping[str, str], qrels: dict[str, int]) -> ChatRow:
    if lacking := [document for document in shown if document not in texts]:
        raise DataError(f"document {lacking[0]!r} of the run has no text", where=f"query {query}")
    passages = "\n".join(f"[{number}] {texts[document]}" for number, document in enumerate(shown, 1))
    places = {document: number for number, document in enumerate(shown, 1)}
    best = sorted(shown, key=lambda document: -qrels.get(document, 0))
    gold = " > ".join(f"[{places[document]}]" for document in best)
    return ChatRow(
        id=query,
        messages=[
            {"role": "user", "content": ASK.format(query=text, passages=passages)},
            {"role": "assistant", "content": gold},
        ],
        group=query,
        meta={"passages": shown, "qrels": qrels},
    )


def make_suite(name: str, options: Mapping[str, Any]) -> Suite:
    """Return the suite.

    Raises:
        SuiteError: an option is wrong.
    """
    told = read_options(RankingOptions, options, f"suite {name}")
    graded = (f"ndcg@{told.k}", "mrr", "map", f"recall@{told.k}")
    return Suite(
        name=name,
        metrics=(*(Metric(metric, _ROWS, binary=False) for metric in graded), Metric("valid_ranking", "all rows")),
        score=Ranking(told),
        main_metric=graded[0],
    )
