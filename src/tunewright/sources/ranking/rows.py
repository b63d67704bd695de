"""What a ranking set is, and the row that a reranker trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

Qrels = dict[str, dict[str, int]]
"""query id -> document id -> relevance; 0 is judged and not relevant"""


class RankingRow(BaseModel):
    """One query and one passage. Rows of one `group` ask the same, and stay on one side of a split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    qid: str
    query: str
    docid: str
    passage: str
    label: int
    """relevance: 0 for a passage that does not answer, judged so or not judged"""
    group: str
    meta: dict[str, Any] = {}
    """`kind`: judged, hard or random; `rank`: of a hard negative in the BM25 ranking, from 1"""


@dataclass(frozen=True)
class RankingSet:
    """Queries and documents by id, and what was judged of them."""

    queries: dict[str, str]
    documents: dict[str, str]
    qrels: Qrels
