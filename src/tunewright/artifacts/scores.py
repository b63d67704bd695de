"""Scores of one model on one set of rows: the result of `evaluate`.

`scores.jsonl` has a line an answer. `summary` has a value and its interval for every metric of the suite. An answer
that could not be had, or not be scored, has an `error` and no scores: it counts in no metric and is never a zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.files import read_jsonl
from tunewright.errors import DataError

MOST_SCORE: Final = 1e100  # far above any score, and its square is still a number


class ScoreRow(BaseModel):
    """One answered and scored row; with `repeats` above 1, one answer of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """of the answer: the row's id, and `ROW#2` for its third answer"""
    group: str
    """the cluster; answers to one row are of one cluster"""
    source: str
    question: str
    """the last user message, for people"""
    reference: str
    """the right answer as text, for people"""
    answer: str
    """raw text of the model, end-of-turn removed; of a suite that asks for log-probabilities, these as JSON"""
    parsed: Any = None
    """what the suite read out of the answer"""
    scores: dict[str, float]
    """metric -> score, mostly in [0, 1]; a row outside a metric's denominator lacks that metric, and so does one with
    an error"""
    reason: str
    """why it scored so, one line: the failure class first"""
    failure: str = ""
    """the failure class, of the suite's closed list; empty where the answer is right"""
    error: str | None = None
    """why there is no score: the backend gave no answer, or the scorer failed"""
    prompt_sha256: str
    """hash of the row's prompt token ids, without the worked examples, system text and template settings of the stage:
    what pairs rows"""
    row_sha256: str = ""
    """hash of messages, tools and reference as they stand in the data: what pairs rows where two templates rendered"""
    template_sha256: str = ""
    """the chat template that rendered the prompt; empty where only a server knows it"""
    answer_sha256: str = ""
    """hash of the answer's token ids, or of its text where the backend gave no ids"""
    repeat: int = 0
    """which answer to the row it is, from 0"""
    prompt_tokens: int
    answer_tokens: int
    finish: str
    """stop, length when max_new_tokens cut it, or error"""
    seconds: float
    """of a served answer its request's; else the batch's wall time shared over its rows by tokens"""
    cost_usd: float = 0.0

    @property
    def row_id(self) -> str:
        """The id of the row in the data."""
        return self.id.removesuffix(f"#{self.repeat}") if self.repeat else self.id


def read_score_row(row: dict[str, Any], where: str) -> ScoreRow:
    """Return a line of scores.jsonl. `where` is its place.

    Raises:
        DataError: it is no scored row.
    """
    try:
        found = ScoreRow(**row)
    except (ValidationError, TypeError) as error:
        raise DataError(
            f"not a scored row: {' '.join(str(error).splitlines()[:3])}", where=where,
            expected="a line as an evaluate stage writes it",
        ) from None  # fmt: skip
    strange = next((name for name, score in found.scores.items() if not abs(score) < MOST_SCORE), None)
    if strange is not None:  # NaN is not less either
        raise DataError(
            f"the score {strange!r} is {found.scores[strange]}", where=where, expected="a finite number",
            fix="take the score out of the line, and say why in `error`",
        ) from None  # fmt: skip
    return found


def answer_id(row_id: str, repeat: int) -> str:
    """Return the id of the answer number `repeat`, from 0, to a row."""
    return f"{row_id}#{repeat}" if repeat else row_id


def asked_alike(one: ScoreRow, other: ScoreRow) -> bool:
    """True if two answers are to the same prompt: in tokens, or where two templates rendered it, in messages."""
    if one.template_sha256 == other.template_sha256:
        return one.prompt_sha256 == other.prompt_sha256
    return one.row_sha256 == other.row_sha256


class MetricSummary(BaseModel):
    """A metric over all rows of its denominator."""

    model_config = ConfigDict(frozen=True)

    metric: str
    value: float
    low: float
    high: float
    """95% interval; `Scores.intervals` says by what method"""
    num_rows: int
    denominator: str
    """which rows count, in words"""
    binary: bool
    higher_is_better: bool = True


class Inference(BaseModel):
    """How answers were made: all that may change one beside the model and the rows."""

    model_config = ConfigDict(frozen=True)

    backend: str = "hf"
    endpoint: str = ""
    """of a server: its URL and the model's name there"""
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 0
    stop: tuple[str, ...] = ()
    repeats: int = 1
    seed: int = 0
    system: str | None = None
    template_kwargs: dict[str, Any] = {}
    shots: int = 0
    precision: str = ""
    suite: str = ""
    options: dict[str, Any] = {}
    calls_read_as: str = ""
    """how tool calls were read from the answers: a format, or `response_template`"""


class Scores(Artifact):
    """What a model scored, with intervals."""

    kind: ClassVar[str] = "evaluate"

    model: str
    suite: str
    shots: int
    num_rows: int
    """rows; `repeats` answers to each"""
    summary: list[MetricSummary]
    pass_k: tuple[MetricSummary, ...] = ()
    """with repeats: pass@k, that one of k answers is right, and pass^k, that all are, of the main metric"""
    intervals: str = ""
    """how the intervals of `summary` were made, in words"""
    main_metric: str = ""
    unscored: int = 0
    """answers with an error"""
    detectable: str = ""
    """what a comparison on these rows could show, said before it ran"""
    prompt_parity: str = ""
    """of a server that renders by itself: in how many requests it was sent what the rows say"""
    inference: Inference = Inference()
    isolation: dict[str, Any] | None = None
    """where the suite's graders ran code: level, layers, and why there are not more; None where none ran code"""
    seconds: float
    prompt_tokens: int
    answer_tokens: int
    cut_answers: int
    """answers that max_new_tokens cut"""
    cost_usd: float = 0.0

    @property
    def lower_is_better(self) -> frozenset[str]:
        """The metrics in which less is better."""
        return frozenset(metric.metric for metric in self.summary if not metric.higher_is_better)

    def rows(self) -> Iterator[ScoreRow]:
        """Yield the scored rows, in the order of the data."""
        path = self.folder / "scores.jsonl"
        for number, row in read_jsonl(path):
            yield read_score_row(row, f"{path}:{number}")
