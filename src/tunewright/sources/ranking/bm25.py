"""BM25 over a set's documents, by bm25s: for hard negatives, and as the baseline that a reranker has to beat.

Lucene's form (Robertson & Zaragoza 2009, with its idf): score = Σ ln(1 + (N − n + 0.5) / (n + 0.5)) · tf / (tf + k1 ·
(1 − b + b · length / mean length)). Words are runs of letters and digits in lower case, neither stemmed nor stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from tunewright.errors import DataError, MissingExtra
from tunewright.sources.text import words

K1: Final = 1.2
B: Final = 0.75
"""Lucene's defaults."""


class Bm25:
    """An index of documents.

    Raises:
        MissingExtra: bm25s is not installed. DataError: no document has a word.
    """

    def __init__(self, documents: Mapping[str, str], k1: float = K1, b: float = B):
        try:
            import bm25s
        except ImportError as error:
            raise MissingExtra.of(error, "data") from None
        self.ids = list(documents)
        tokens = [words(text) for text in documents.values()]
        if not any(tokens):
            raise DataError("no document with a word in it", where="corpus")
        self._index: Any = bm25s.BM25(method="lucene", k1=k1, b=b)
        self._index.index(tokens, show_progress=False)
        self._known = self._index.vocab_dict

    def search(self, query: str, k: int) -> Iterator[tuple[str, float]]:
        """Yield the `k` best documents with a score above 0, best first; equal scores by id."""
        tokens = [word for word in words(query) if word in self._known]
        if not tokens:
            return
        scores = np.asarray(self._index.get_scores(tokens), dtype=np.float64)
        best = np.argpartition(-scores, min(k, len(scores) - 1))[: k + 1] if k < len(scores) else np.arange(len(scores))
        bound = np.sort(scores[best])[::-1][:k][-1]
        tied = np.flatnonzero(
            (scores >= bound) & (scores > 0)
        )  # all that are equal to the last, or its id would be chance
        for place in sorted(tied.tolist(), key=lambda n: (-scores[n], self.ids[n]))[:k]:
            yield self.ids[place], float(scores[place])

    def run(self, queries: Mapping[str, str], k: int = 100) -> dict[str, dict[str, float]]:
        """Return query -> document -> score, as `suites/ir.py` evaluates it."""
        return {key: dict(self.search(text, k)) for key, text in queries.items()}
