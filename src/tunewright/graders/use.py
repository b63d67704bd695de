"""One grader in its other places: as a reward function for TRL, and to pick the best of several answers.

As a scorer it stands in the suite `sample`; the dry run is `dry_run.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunewright.graders.protocol import Grade, Grader, Row, grade_many, reference_text

RewardFunction = Callable[..., list[float | None]]


def as_reward(grader: Grader, unscored: float | None = None) -> RewardFunction:
    """Return the grader as a reward function of TRL: `(prompts, completions, **columns) -> rewards`.

    The row of a completion is what its data row has: every column, and `messages`, the prompt. A `reference` column is
    what the graders of this package compare with by default.

    Args:
        grader: the grader.
        unscored: the reward of an answer that could not be scored. None, which TRL leaves out of the sum over the
            reward functions, is the honest one; a number only where an answer that cannot be read is the model's fault.
    """

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        rows = [_row(place, prompt, columns, len(prompts)) for place, prompt in enumerate(prompts)]
        grades = grade_many(grader, [completion_text(completion) for completion in completions], rows)
        return [unscored if grade.score is None else grade.score for grade in grades]

    reward.__name__ = grader.name  # TRL logs a reward by the name of its function
    return reward


def _row(place: int, prompt: Any, columns: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the columns of one row; what has not one value a prompt (TRL's trainer state) is no column."""
    own = {
        name: values[place]
        for name, values in columns.items()
        if isinstance(values, Sequence) and not isinstance(values, str) and len(values) == count
    }
    messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": str(prompt)}]
    return {"id": str(place), **own, "messages": messages}


def completion_text(completion: Any) -> str:
    """Return the text of a completion: a string, or the messages that a conversational data set gives."""
    if isinstance(completion, str):
        return completion
    return "\n".join(reference_text(message) for message in completion if message.get("role") == "assistant")


def best_of(grader: Grader, answers: Sequence[str], row: Row) -> tuple[int, list[Grade]]:
    """Return the place of the best answer, the first among equals, and the grades of all.

    Raises:
        ValueError: no answer could be scored; says why.
    """
    grades = grade_many(grader, answers, [row] * len(answers))
    scored = [(grade.score, -place) for place, grade in enumerate(grades) if grade.score is not None]
    if not scored:
        raise ValueError(
            f"none of {len(answers)} answers could be scored: {grades[0].reason if grades else 'no answers'}"
        )
    return -max(scored)[1], grades
