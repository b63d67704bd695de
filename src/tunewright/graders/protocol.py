"""What a grader is: it scores one answer against one row, and an error is never a score of 0.

A grader takes the text of an answer and a row (a ChatRow, or any mapping) and returns a Grade. `Sample` is the answer
as templates and code see it. A grader's file offers `from_spec(spec, context) -> Grader`, and `load.py` holds the table
of all of them; `load_grader`, `validate` and `run` here are the doors to it.

The kinds of error are the fields of OpenAI's grader API, by their own names: eleven flags, and three texts that go with
a flag and are filled from `GradeError.detail`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.tool_calls import CLOSE, OPEN, parse_tool_calls

ErrorKind = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
DETAIL_FIELDS: dict[ErrorKind, str] = {
    "python_grader_server_error": "python_grader_server_error_type",
    "python_grader_runtime_error": "python_grader_runtime_error_details",
    "model_grader_server_error": "model_grader_server_error_details",
}
"""The three further fields of OpenAI's fourteen: the text that goes with a flag."""
ERROR_FIELDS: tuple[str, ...] = (*ERROR_KINDS, *DETAIL_FIELDS.values())

MAX_JSON_CHARS = 1_000_000


@dataclass(frozen=True)
class Sample:
    """One answer of a model, as templates (`sample.…`) and Python graders see it.

    Args:
        text: what the model said, in full.
        tools: the tool calls as a server returned them, in the form of the chat completions API; without them the
            calls are read from `text`.
        choices: all answers to one prompt, where there are several; the first is this one.
    """

    text: str
    tools: list[dict[str, Any]] | None = None
    choices: list[dict[str, Any]] | None = None

    @cached_property
    def output_json(self) -> Any:
        """The text as a JSON value, or None where it is none."""
        return parse_json(self.text)

    @cached_property
    def output_tools(self) -> list[dict[str, Any]]:
        """The tool calls in the form of the chat completions API: `arguments` is JSON in a string."""
        if self.tools is not None:
            return self.tools
        calls = parse_tool_calls(self.text).calls if OPEN in self.text else []
        return [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for number, call in enumerate(calls)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the sample as a Python grader gets it: `sample["output_text"]` and so on."""
        message = {"role": "assistant", "content": self.text, "tool_calls": self.output_tools}
        return {
            "output_text": self.text,
            "output_json": self.output_json,
            "output_tools": self.output_tools,
            "choices": self.choices or [{"index": 0, "message": message}],
        }


@dataclass(frozen=True)
class GradeError:
    """Why an answer could not be scored."""

    kind: ErrorKind
    detail: str


@dataclass(frozen=True)
class TokenUsage:
    """Tokens that a judge read and wrote."""

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(self.prompt + other.prompt, self.completion + other.completion)


@dataclass(frozen=True)
class Grade:
    """What a grader says of one answer. Either `score` is a finite number or `error` is set; never both, never neither.

    Args:
        score: usually in [0, 1], 1 the best; None if the answer could not be scored.
        reason: why, in a few words for a person.
        error: set if and only if `score` is None.
        sub_scores: scores of the parts, by name.
        seconds: how long it took. tokens, cost_usd: what a judge used. cut: something was shortened to fit a limit.
        tokens_by_model: tokens of each judge.
    """

    score: float | None
    reason: str
    error: GradeError | None = None
    sub_scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    tokens: int = 0
    cost_usd: float = 0.0
    cut: bool = False
    tokens_by_model: dict[str, TokenUsage] = field(default_factory=dict)

    @classmethod
    def failed(cls, kind: ErrorKind, detail: str, **rest: Any) -> Grade:
        """Return the grade of an answer that could not be scored."""
        return cls(None, detail, GradeError(kind, detail), **rest)


Row = Mapping[str, Any] | ChatRow


@runtime_checkable
class Grader(Protocol):
    """Scores answers. `grade_many` may be there too, for graders that work on many at once: see `grade_many` below."""

    name: str

    def grade(self, answer: str, row: Row) -> Grade:
        """Return the grade of `answer`. Never raises for anything a model may say."""


def item_of(row: Row) -> dict[str, Any]:
    """Return a row as templates and Python graders see it: `item`.

    A ChatRow becomes `{id, group, messages, tools, reference, **meta}`: `messages` is the prompt, `reference` the text
    of the reference answer. A mapping stays as it is.
    """
    if not isinstance(row, ChatRow):
        return dict(row)
    own = {"id": row.id, "group": row.group, "messages": row.prompt, "tools": row.tools}
    return {**row.meta, **own, "reference": reference_text(row.answer)}


def reference_text(message: Mapping[str, Any]) -> str:
    """Return what a model would say for an assistant's message: its text, then each tool call in the Hermes form."""
    content = message.get("content") or ""
    parts = [part["text"] for part in content] if isinstance(content, list) else [content]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    bodies = [json.dumps({"name": c["name"], "arguments": c["arguments"]}, ensure_ascii=False) for c in calls]
    return "\n".join([part for part in parts if part] + [f"{OPEN}\n{body}\n{CLOSE}" for body in bodies])


def grade_many(grader: Grader, answers: Sequence[str], rows: Sequence[Row]) -> list[Grade]:
    """Grade `answers[i]` against `rows[i]`, with the grader's own `grade_many` where it has one."""
    own = getattr(grader, "grade_many", None)
    if own is not None:
        return list(own(answers, rows))
    return [grader.grade(answer, row) for answer, row in zip(answers, rows, strict=True)]


def parse_json(text: str) -> Any:
    """Return `text` as a JSON value; None where it is none, is longer than MAX_JSON_CHARS, or nests too deep."""
    if len(text) > MAX_JSON_CHARS:
        return None
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def load_grader(spec: Mapping[str, Any] | Path | str, **options: Any) -> Grader:
    """Return the grader that `spec` describes.

    Args:
        spec: a grader object, a JSON or YAML file of one, or `module:name` of a Python callable.
        options: of `tunewright.graders.load.Context`: how judges and sandboxes are reached.

    Raises:
        GraderError: the spec is wrong; says where.
    """
    from tunewright.graders.load import load

    return load(spec, **options)


def validate(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return `spec` with every default filled in.

    Raises:
        GraderError: the spec is wrong; names the path of every mistake.
    """
    from tunewright.graders.load import normalised

    return normalised(spec)


def run(spec: Mapping[str, Any], model_sample: str, item: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Grade one sample as OpenAI's `graders/run` does; return the response in its shape.

    Raises:
        GraderError: the spec is wrong. What goes wrong with the sample stands in `metadata.errors` instead.
    """
    from tunewright.graders.openai import run_response

    return run_response(load_grader(spec), model_sample, item or {})
