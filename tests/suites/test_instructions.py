import json
from pathlib import Path

import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.scores import ScoreRow
from tunewright.suites.instructions import SUITE, followed, loose_forms, per_instruction

GOLDEN = Path(__file__).parent / "golden" / "ifeval_verdicts.json"
NO_COMMA = {"id": "punctuation:no_comma"}
QUOTED = {"id": "startend:quotation"}
LOWER = {"id": "change_case:english_lowercase"}


def row(*instructions, **meta):
    return ChatRow(id="r", messages=[], meta={"instructions": list(instructions)} if instructions else meta)


def scored_row(answer, row, name="r"):
    scored = SUITE.score(answer, row)
    return ScoreRow(
        id=name, group="", source="", question="", reference="", answer=answer, parsed=scored.parsed,
        scores=scored.scores, reason=scored.reason, prompt_sha256="", prompt_tokens=0, answer_tokens=0, finish="stop",
        seconds=0,
    )  # fmt: skip


def test_a_prompt_counts_when_every_instruction_is_followed_and_an_instruction_by_itself():
    scored = SUITE.score('"one, two"', row(NO_COMMA, QUOTED, LOWER))
    assert scored.scores["prompt_strict"] == 0.0
    assert scored.scores["instruction_strict"] == pytest.approx(2 / 3)
    assert (scored.failure, scored.reason) == ("punctuation", "punctuation: punctuation:no_comma")


def test_the_loose_form_forgives_an_opening_line_a_closing_line_and_stars():
    answer = 'Sure, here it is:\n**"one"**\nHope that helps, bye'
    scored = SUITE.score(answer, row(QUOTED))
    assert (scored.scores["prompt_strict"], scored.scores["prompt_loose"]) == (0.0, 1.0)
    assert scored.parsed == [{"id": "startend:quotation", "strict": False, "loose": True}]


def test_the_verdicts_are_those_of_the_published_code_where_the_definitions_coincide():
    golden = json.loads(GOLDEN.read_text())
    compared, differing = 0, set()
    for case in golden["cases"]:
        asked = row({"id": case["id"], **case["arguments"]})
        for index, (answer, theirs) in enumerate(zip(golden["answers"], case["verdicts"], strict=True)):
            (ours,) = SUITE.score(answer, asked).parsed
            compared += 1
            if str(ours["strict"] + ours["loose"]) != theirs:
                differing.add((case["id"], index))
    assert compared > 10_000
    assert differing == {tuple(pair) for pair in golden["differences"]}  # docs/suites.md says what they are


def test_there_are_eight_forms():
    assert list(loose_forms("a\n*b*\nc")) == ["a\n*b*\nc", "a\nb\nc", "*b*\nc", "b\nc", "a\n*b*", "a\nb", "*b*", "b"]


def test_each_instruction_may_be_followed_in_another_form():
    answer = "ONE, TWO\nthree"
    scores = SUITE.score(answer, row(NO_COMMA, {"id": "startend:end_checker", "end_phrase": "two"})).scores
    assert (scores["prompt_strict"], scores["prompt_loose"]) == (0.0, 1.0)


def test_an_empty_answer_follows_nothing():
    scored = SUITE.score("", row(NO_COMMA))
    assert set(scored.scores.values()) == {0.0}
    assert scored.failure == "empty answer"


def test_rows_of_ifeval_are_read_as_they_are():
    own = row(
        instruction_id_list=["punctuation:no_comma", "length_constraints:number_words"],
        kwargs=[{"num_words": None}, {"num_words": 3, "relation": "at least", "keywords": None}],
    )
    assert SUITE.score("one two three", own).scores["prompt_strict"] == 1.0


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        (row(), "no list"), (row({"id": "punctuation:no_coma"}), "did you mean punctuation:no_comma"),
        (row({"id": "length_constraints:number_words"}), "lacks num_words"), (row("punctuation:no_comma"), "no list"),
        (row(instruction_id_list=["punctuation:no_comma"] * 2, kwargs=[{}]), "2 instructions and 1"),
    ],
)  # fmt: skip
def test_a_row_whose_instructions_cannot_be_checked_is_unscored(broken, seen):
    scored = SUITE.score("one", broken)
    assert scored.scores == {}
    assert seen in scored.error


def test_the_instruction_level_is_a_mean_over_instructions_in_clusters_of_prompts():
    rows = [scored_row("a, b", row(NO_COMMA), "one"), scored_row("a", row(NO_COMMA, LOWER, QUOTED), "two")]
    assert followed(rows, "strict") == ([0, 1, 1, 0], ["one", "two", "two", "two"])
    assert per_instruction(rows) == {"instruction_strict": 0.5, "instruction_loose": 0.5}
    assert per_instruction([]) == {}
