"""Suite `perplexity`: how probable are texts?

reads    the reference's text, after its prompt; a row whose only message is the text is read without a prompt

    perplexity        exp of the mean negative log-probability of a token, over all tokens of all rows
    byte_perplexity   the same over all bytes of the texts: comparable between tokenizers
    bits_per_byte     log2 of byte_perplexity

All three weigh a row by its length: the sums are taken over all rows before they are divided. A row's own score is the
same formula over that row. Only the text's own tokens count, not the prompt's nor the end of turn. A text that is
longer than the model's context is cut into windows, and each of its tokens is scored once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.suites import MAIN_METRIC
from tunewright.suites.protocol import Candidate, Metric, Scored, Suite

if TYPE_CHECKING:
    from tunewright.artifacts.scores import ScoreRow


def candidates(row: ChatRow) -> list[Candidate]:
    """Return the text of a row."""
    text = str(row.answer.get("content") or "")
    return [Candidate("text", text, row.prompt or None)] if text else []


def score_perplexity(answer: str, row: ChatRow) -> Scored:
    """Score what a model said of a row's text: the JSON of `log_probs_answer`."""
    try:
        sums = _sums(answer)
    except (ValueError, KeyError, TypeError) as error:
        return Scored({}, "unscored", error=f"no log-probabilities: {error!r}")
    if not sums["num_tokens"] or not sums["num_bytes"]:
        return Scored({}, "no text")
    if not math.isfinite(sums["log_prob"]):
        return Scored({}, "unscored", error=f"the log-probability of the text is {sums['log_prob']}")
    return Scored(_metrics(sums), f"{sums['num_tokens']} tokens, {sums['num_bytes']} bytes", sums)


def total(rows: Sequence[ScoreRow]) -> dict[str, float]:
    """Return the three metrics over all tokens of `rows`; rows without scores are left out."""
    scored = [row.parsed for row in rows if row.scores]
    sums = {key: sum(one[key] for one in scored) for key in ("log_prob", "num_tokens", "num_bytes")}
    return _metrics(sums) if scored else {}


def _sums(answer: str) -> dict[str, Any]:
    said = json.loads(answer)
    return {key: sum(one[key] for one in said) for key in ("log_prob", "num_tokens", "num_bytes")}


def _metrics(sums: Mapping[str, float]) -> dict[str, float]:
    per_byte = -sums["log_prob"] / sums["num_bytes"]
    return {
        "perplexity": _exp(-sums["log_prob"] / sums["num_tokens"]),
        "byte_perplexity": _exp(per_byte),
        "bits_per_byte": per_byte / math.log(2),
    }


def _exp(nats: float) -> float:
    return math.exp(min(nats, 700.0))  # e^700 is near the largest float; no model is so bad by other than a fault


SUITE = Suite(
    name="perplexity",
    metrics=tuple(
        Metric(name, "all tokens of all rows", binary=False, higher_is_better=False)
        for name in ("perplexity", "byte_perplexity", "bits_per_byte")
    ),
    score=score_perplexity,
    main_metric=MAIN_METRIC["perplexity"],
    mode="log_probs",
    aggregate=total,
    candidates=candidates,
)
