from collections.abc import Callable
from functools import reduce
from pathlib import Path
from textwrap import dedent

import pytest

from tunewright.errors import RecipeError, RecipeProblem
from tunewright.recipe.load import load_recipe
from tunewright.recipe.sections import Recipe

GOOD = """\
recipe: good
seed: 7
model: smollm2-135m-instruct
stages:
  - data:     {sources: [{type: bfcl}], split: {test: 150}}
  - evaluate: {id: before, suite: tool-calls, rows: data.test}
  - sft:      {rows: data.train, steps: 60, learning_rate: 2e-4, weighting: {type: linear, floor: 0.2}}
  - evaluate: {id: after, model: sft, suite: tool-calls, rows: data.test}
  - compare:  {baseline: before, candidate: after, require: {metric: args_exact, better_by: 0.1}}
"""

MISTAKES = {
    "seed: 7": "sead: 7",
    "split: {test: 150}": "split: {tst: 150}",
    "evaluate: {id: before": "evalute: {id: before",
    "steps: 60": "steps: sixty, rank: 8",
    "baseline: before": "baseline: befor",
}
"""right -> wrong; the fourth holds two"""

SIX = reduce(lambda text, change: text.replace(*change), MISTAKES.items(), GOOD)

Problems = Callable[..., list[RecipeProblem]]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Recipe]:
    """Load a recipe from its text."""

    def load_text(text: str, *overrides: str) -> Recipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(dedent(text))
        return load_recipe(path, overrides)

    return load_text


@pytest.fixture
def problems(load: Callable[..., Recipe]) -> Problems:
    """The problems of a recipe, from its text; an empty list when it loads."""

    def problems_of(text: str, *overrides: str) -> list[RecipeProblem]:
        try:
            load(text, *overrides)
        except RecipeError as error:
            return list(error.problems)
        return []

    return problems_of


def replaced(old: str, new: str) -> str:
    """The good recipe with one thing changed."""
    assert old in GOOD
    return GOOD.replace(old, new)
