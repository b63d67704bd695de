"""The response of OpenAI's `graders/run`, from one of our grades.

Two differences, both on purpose: `reward` is null where theirs is 0 although nothing could be scored, and the detail of
an error whose flag has no text field of its own stands in `metadata.error_detail`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunewright.graders.protocol import DETAIL_FIELDS, ERROR_KINDS, Grade, GradeError, Grader


def run_response(grader: Grader, model_sample: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response for one sample."""
    return as_response(grader, grader.grade(model_sample, item))


def as_response(grader: Grader, grade: Grade) -> dict[str, Any]:
    """Return a grade in the shape of the response."""
    usage = {model: _usage(tokens) for model, tokens in grade.tokens_by_model.items()}
    only = next(iter(usage)) if len(usage) == 1 else None
    return {
        "reward": grade.score,
        "metadata": {
            "name": grader.name,
            "type": getattr(grader, "type", "callable"),
            "errors": error_fields(grade.error),
            "error_detail": grade.error.detail if grade.error else None,
            "execution_time": grade.seconds,
            "scores": dict(grade.sub_scores),
            "token_usage": usage[only] if only else None,
            "sampled_model_name": only,
        },
        "sub_rewards": dict(grade.sub_scores),
        "model_grader_token_usage_per_model": usage,
    }


def error_fields(error: GradeError | None) -> dict[str, bool | str | None]:
    """Return the fourteen fields: eleven flags, and three texts that are null unless their flag is set."""
    fields: dict[str, bool | str | None] = {kind: error is not None and error.kind == kind for kind in ERROR_KINDS}
    for kind, name in DETAIL_FIELDS.items():
        fields[name] = error.detail if error is not None and error.kind == kind else None
    return fields


def _usage(tokens: Any) -> dict[str, int]:
    return {
        "prompt_tokens": tokens.prompt,
        "total_tokens": tokens.prompt + tokens.completion,
        "completion_tokens": tokens.completion,
        "cached_tokens": 0,
    }
