"""docs/graders.md names everything there is."""

from pathlib import Path

import pytest

from tunewright.graders.diagnoses import CHANGE, DIAGNOSES, FOLLOWS
from tunewright.graders.protocol import ERROR_FIELDS
from tunewright.graders.spec import MODULES, module_of

TEXT = (Path(__file__).parents[2] / "docs" / "graders.md").read_text()
SHARED = ("type", "name")


@pytest.mark.parametrize("kind", MODULES)
def test_every_grader_and_field_stands_in_the_docs(kind):
    line = "\n".join(line for line in TEXT.splitlines() if line.startswith(f"| `{kind}`"))
    names = [field.alias or name for name, field in module_of(kind).Spec.model_fields.items() if name not in SHARED]
    judges = "\n".join(TEXT.partition("### Judges")[2].splitlines()[:16])
    assert line
    assert [name for name in names if f"`{name}" not in line and f"`{name}" not in judges] in ([], ["input"])


@pytest.mark.parametrize("word", [*ERROR_FIELDS, *DIAGNOSES])
def test_every_error_and_diagnosis_stands_in_the_docs(word):
    assert f"`{word}`" in TEXT


def test_every_diagnosis_says_what_to_change_and_explains_only_what_there_is():
    assert set(CHANGE) == set(DIAGNOSES)
    assert {*FOLLOWS, *(effect for effects in FOLLOWS.values() for effect in effects)} <= set(DIAGNOSES)
