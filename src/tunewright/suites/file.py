"""The form of a suite's YAML file. docs/suites.md shows one; `load.py` makes a suite of it."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from tunewright.suites.options import Options
from tunewright.suites.rows import Prompt

CLUSTERS: Final = "group, source or meta.KEY"


class RowsPart(Options):
    """Where rows come from: one of `path` and `suite`."""

    path: str | None = Field(default=None, description="a JSON-lines file, relative to this file")
    columns: dict[str, str] = Field(default={}, description="where a chat row's field has another name in the file")
    suite: str | None = Field(default=None, description="a built-in suite that brings its own rows: reasoning-gym")
    options: dict[str, Any] = Field(default={}, description="options of that suite")


class SamplingPart(Options):
    """How answers are generated. What is not said here, the evaluation decides."""

    max_new_tokens: int | None = Field(default=None, ge=1, description="tokens of an answer at most")
    temperature: float | None = Field(default=None, ge=0, description="0: the most probable token, always")
    top_p: float | None = Field(default=None, gt=0, le=1, description="only the most probable tokens up to this mass")
    seed: int | None = Field(default=None, description="of the sampling")
    stop: tuple[str, ...] | None = Field(default=None, description="texts that end an answer")


class ScorerPart(Options):
    """What scores an answer: one of `grader` and `suite`."""

    grader: dict[str, Any] | str | None = Field(
        default=None, description="a grader, the path of its file, or `module:name`"
    )
    sub_scores: tuple[str, ...] = Field(default=(), description="parts of the grader's score that are metrics too")
    suite: str | None = Field(default=None, description="a built-in suite")
    options: dict[str, Any] = Field(default={}, description="options of that suite")


class MetricPart(Options):
    """What a metric is called and counts; what is not said here, the scorer decides."""

    name: str = Field(description="as the scorer calls it: the scorer's own name for a grader's score")
    denominator: str | None = Field(default=None, description="which rows count, in words")
    binary: bool | None = Field(default=None, description="true: every score is 0 or 1")
    higher_is_better: bool = Field(default=True, description="false for errors and costs")


class SuiteFile(Options):
    """A suite's file."""

    suite: str = Field(min_length=1, description="its name")
    rows: RowsPart | None = Field(default=None, description="where rows come from; default: the evaluation brings them")
    prompt: Prompt = Field(default=Prompt(), description="how a row becomes a question")
    sampling: SamplingPart = Field(default=SamplingPart(), description="how answers are generated")
    scorers: dict[str, ScorerPart] = Field(min_length=1, description="name -> what scores an answer")
    metrics: tuple[MetricPart, ...] = Field(default=(), description="which metrics count; default: all of the scorers'")
    main_metric: str | None = Field(
        default=None, description="what a verdict is about; default: the first scorer's own"
    )
    cluster: str = Field(default="group", description=f"what rows share that are not independent: {CLUSTERS}")
