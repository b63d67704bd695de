"""Whatever a model says, a grader gives a grade: a finite score, or an error, and never an exception."""

import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.graders.conftest import judged_by, result

from tunewright.graders.load import load
from tunewright.graders.openai import as_response
from tunewright.graders.spec import Context

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
ROW = {
    "id": "r", "messages": [{"role": "user", "content": "What?"}], "reference": f"It is 4. {CALL}", "n": 4,
    "reasoning_gym": {"task": "chain_sum", "config": {}, "seed": 1, "index": 0, "size": 1},
}  # fmt: skip
OUTPUT = {"input": "{{ sample.output_text }}", "reference": "{{ item.reference }}"}
SPECS = {
    "string_check": {**OUTPUT, "operation": "ilike"},
    "number": {},
    "regex": {"pattern": r"(\w+\s*)+[0-9]{2,4}$"},
    "keyword": {"required": ["it", "4"], "forbidden": ["cow"]},
    "length": {"least": 2, "most": 9},
    "json_schema": {"schema": {"type": "object", "additionalProperties": {"pattern": "^a"}, "minProperties": 1}},
    "tool_call": {"credit": "partial"},
    "reasoning_gym": {},
    "score_model": {"model": "j", "rubric": "Right?"},
    "pair_model": {"model": "j", "rubric": "Right?"},
    "multi": {
        "graders": {
            "a": {"type": "number"},
            "b": {**OUTPUT, "type": "text_similarity", "evaluation_metric": "rouge_l"},
        },
        "calculate_output": "a / (b + 0.1) - 1",
    },
}
MEASURES = ("fuzzy_match", "bleu", "gleu", "meteor", "rouge_1", "rouge_5", "rouge_l")
SPECS |= {f"text_similarity {name}": {**OUTPUT, "evaluation_metric": name} for name in MEASURES}

PIECES = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", CALL, "{", "}", "[", '"a": 1', "\\boxed{", "####", "<answer>", "</answer>"),
        *(
            "1/0",
            "3/4",
            "-",
            "1e999",
            "NaN",
            "```json",
            "\ud800",
            "\x00",
            "\u202e",
            "{{ item.n }}",
            "é",
            "\n",
            "4",
            "٣",
            "²",
        ),
    ]
)
ANSWERS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=12).map("".join))


@cache
def grader_of(name):
    kind = name.partition(" ")[0]
    context = judged_by(lambda prompt: result("A" if "Answer A" in prompt else 0.5)) if "model" in kind else Context()
    return load({"type": kind, **SPECS[name]}, context)


@pytest.mark.parametrize("name", SPECS)
@given(answer=ANSWERS)
@settings(max_examples=60, deadline=None)
def test_every_answer_gets_a_grade(name, answer):
    grader = grader_of(name)
    found = grader.grade(answer, ROW)
    assert (found.score is None) == (found.error is not None)
    assert found.score is None or math.isfinite(found.score)
    assert as_response(grader, found)["reward"] == found.score
