import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError
from tunewright.suites.extraction import leaves, same
from tunewright.suites.protocol import find_suite

GOLD = {"name": "Ada", "born": 1815, "works": [{"title": "Notes", "pages": 65}, {"title": "Letters", "pages": 9}]}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "born": {"type": "integer"}, "works": {"type": "array"}},
    "required": ["name"],
    "additionalProperties": False,
}


def row(gold=GOLD, **meta):
    answer = {"role": "assistant", "content": json.dumps(gold)}
    return ChatRow(id="r", messages=[{"role": "user", "content": "?"}, answer], meta=meta)


ROW = row()


def score(value, row=ROW, **options):
    answer = value if isinstance(value, str) else json.dumps(value)
    return find_suite("extraction", options).score(answer, row)


def test_the_gold_value_scores_full_in_any_order_of_keys_and_as_any_number():
    turned = dict(reversed(GOLD.items())) | {"born": 1815.0}
    assert score(turned).scores == {"exact": 1.0, "field_f1": 1.0, "valid_json": 1.0}


@pytest.mark.parametrize("answer", ["", "{}", "[]", "null", "I cannot help with that.", '{"name": ""}'])
def test_empty_and_canned_answers_score_nothing(answer):
    scores = score(answer).scores
    assert (scores["exact"], scores["field_f1"]) == (0.0, 0.0)


def test_field_f1_counts_leaves_as_a_multiset():
    one_wrong = {**GOLD, "born": 1816}
    assert len(leaves(GOLD)) == 6
    assert score(one_wrong).scores["field_f1"] == pytest.approx(2 * 5 / 12)
    assert score({"name": "Ada"}).scores["field_f1"] == pytest.approx(2 * 1 / 7)


def test_an_item_too_many_at_the_front_of_a_list_does_not_make_those_behind_it_wrong():
    more = {**GOLD, "works": [{"title": "Plans", "pages": 1}, *GOLD["works"]]}
    assert score(more).scores["field_f1"] == pytest.approx(2 * 6 / 14)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (GOLD, ""),
        ("Ada", "no JSON"),
        ({"name": "Ada"}, "missing fields"),
        ({**GOLD, "died": 1852}, "extra fields"),
        ({**GOLD, "born": "1815"}, "wrong values"),
        ({**GOLD, "works": GOLD["works"][::-1]}, "wrong order"),
    ],
)
def test_the_failure_class_says_what_differs(answer, failure):
    assert score(answer).failure == failure


def test_true_is_not_one():
    assert score(True, row(gold=1)).scores["exact"] == 0.0


def test_the_order_of_lists_can_be_left_free():
    turned = {**GOLD, "works": GOLD["works"][::-1]}
    assert score(turned).scores["exact"] == 0.0
    assert score(turned, list_order="any").scores["exact"] == 1.0


def test_the_schema_is_checked_where_there_is_one():
    assert "schema_valid" not in score(GOLD).scores
    assert score(GOLD, json_schema=SCHEMA).scores["schema_valid"] == 1.0
    told = score({**GOLD, "born": "1815"}, row(schema=SCHEMA))
    assert (told.scores["schema_valid"], told.failure) == (0.0, "not the schema")
    assert "born" in told.reason
    assert score("none", row(schema=SCHEMA)).scores["schema_valid"] == 0.0


def test_a_gold_value_of_the_meta_comes_before_the_reference():
    assert (
        score({"a": 1}, ChatRow(id="r", messages=row({"a": 2}).messages, meta={"gold": {"a": 1}})).scores["exact"]
        == 1.0
    )


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"$ref": "http://example.com/schema.json"}, {"$ref": "#/no"}])
def test_a_row_whose_schema_cannot_be_used_is_unscored_and_nothing_is_fetched(schema):
    scored = score(GOLD, row(schema=schema))
    assert scored.scores == {}
    assert "schema" in scored.error


@pytest.mark.parametrize(
    ("limits", "value", "told"),
    [
        ({"pattern": "^.{1,500}$"}, json.dumps("a" * 50_000), "50000 characters are too many"),
        ({"multipleOf": 0.1}, "1" + "0" * 400, "too large"),
    ],
)
def test_an_answer_that_cannot_be_held_against_the_schema_is_unscored(limits, value, told):
    scored = score(f'{{"name": {value}}}', row(schema={"properties": {"name": limits}}))
    assert scored.scores == {} and told in scored.error
    assert score({"name": "Ada"}, row(schema={"properties": {"name": limits}})).error is None


def test_a_row_whose_gold_value_is_no_json_is_unscored():
    broken = ChatRow(id="r7", messages=[{"role": "assistant", "content": "Ada"}])
    scored = score(GOLD, broken)
    assert scored.scores == {}
    assert "r7" in scored.error


def test_a_broken_schema_in_the_options_is_an_error_before_anything_runs():
    with pytest.raises(DataError, match="no JSON Schema"):
        find_suite("extraction", {"json_schema": {"type": "strin"}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_f1_is_one_wherever_the_answer_is_exact_and_is_symmetric(gold, said):
    forth, back = score(json.dumps(said), row(gold)).scores, score(json.dumps(gold), row(said)).scores
    assert forth["field_f1"] == back["field_f1"]
    assert forth["exact"] == float(same(gold, said))
    assert not forth["exact"] or forth["field_f1"] == 1.0


@given(st.text())
def test_no_answer_breaks_the_scorer(answer):
    assert score(answer).error is None
