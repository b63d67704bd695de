import pickle

import pytest

from tunewright import errors
from tunewright.errors import (
    BudgetSpent,
    DataError,
    MissingExtra,
    RecipeError,
    RecipeProblem,
    TunewrightError,
)
from tunewright.graders.spec import GraderError, Problem
from tunewright.suites.options import SuiteError

PROBLEMS = [RecipeProblem("r.yaml", 3, 1, "sft.steps", "no number"), RecipeProblem("r.yaml", 1, 1, "recipe", "no name")]
SPECIAL = [
    RecipeError(PROBLEMS),
    SuiteError(PROBLEMS),
    BudgetSpent("2 h of 2 h", "checkpoint-4"),
    MissingExtra("torch", "train"),
    GraderError([Problem("type", "no such type")], "grader.json"),
]
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, TunewrightError) and kind not in {type(one) for one in SPECIAL}
]


@pytest.mark.parametrize(
    "error",
    [*SPECIAL, *(kind("seen", where="f:3", expected="more", fix="add") for kind in KINDS)],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_travels_between_processes_arrives_as_it_was(error):
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert arrived.as_json() == error.as_json()
    assert vars(arrived) == vars(error)


def test_what_a_caller_adds_to_an_error_travels_with_it():
    error = DataError("seen")
    error.add_note("chunk 3")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["chunk 3"]
