"""Suite `exact-match`: does the model say what the row says?

exact_match   1 if the answer equals the reference after runs of white space are made one blank
token_f1      F1 of the words, as multisets, lower-cased (the measure of SQuAD, Rajpurkar et al. 2016)
"""

from __future__ import annotations

from collections import Counter

from tunewright.artifacts.dataset import ChatRow
from tunewright.suites import MAIN_METRIC
from tunewright.suites.protocol import Metric, Scored, Suite


def score_exact_match(answer: str, row: ChatRow) -> Scored:
    """Score `answer` against the text of the row's reference message."""
    said, wanted = answer.split(), str(row.answer.get("content") or "").split()
    exact = said == wanted
    f1 = _f1(Counter(word.lower() for word in said), Counter(word.lower() for word in wanted))
    failure = "" if exact else "empty answer" if not said else "other words" if f1 < 1 else "other order or case"
    return Scored({"exact_match": float(exact), "token_f1": f1}, failure or "exact", failure=failure)


def _f1(said: Counter[str], wanted: Counter[str]) -> float:
    total = sum(said.values()) + sum(wanted.values())
    return 2 * sum((said & wanted).values()) / total if total else 1.0


SUITE = Suite(
    name="exact-match",
    metrics=(Metric("exact_match", "all rows"), Metric("token_f1", "all rows", binary=False)),
    score=score_exact_match,
    main_metric=MAIN_METRIC["exact-match"],
)
