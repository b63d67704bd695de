import json

from hypothesis import given
from hypothesis import strategies as st
from sample_run import HOSTILE, score_rows

from tunewright.reports import answers

DECIDES = answers.Deciding("args_exact")


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_embedded_json_reads_back_the_same_and_holds_nothing_a_page_would_obey(value):
    text = answers.embed(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


def test_rows_are_sorted_into_gained_lost_right_and_wrong():
    before, after = score_rows(0.3, 1, hostile=False), score_rows(0.6, 2, hostile=False)
    for old, new, row in zip(before, after, answers.side_by_side([before, after], DECIDES, True), strict=True):
        pair = (old.scores["args_exact"], new.scores["args_exact"])
        assert row["outcome"] == {(0, 1): "gained", (1, 0): "lost", (1, 1): "right", (0, 0): "wrong"}[pair]


def test_a_row_outside_the_denominator_has_no_outcome():
    row = score_rows(0.5, 1)[0]
    assert answers.outcome(row.model_copy(update={"scores": {}}), row, DECIDES) is None


def test_what_is_better_when_lower_is_gained_when_it_falls_and_is_never_right():
    row = score_rows(0.5, 1, hostile=False)[0]
    high, low = (row.model_copy(update={"scores": {"perplexity": value}, "reason": "9 tokens"}) for value in (12, 8))
    decides = answers.Deciding("perplexity", is_rate=False, higher_is_better=False)
    assert answers.outcome(high, low, decides) == "gained"
    assert answers.outcome(low, high, decides) == "lost"
    assert answers.failure_class(low, decides) != "right"


def test_the_failure_class_opens_the_reason():
    row = score_rows(0.0, 1, hostile=False)[0]
    assert answers.failure_class(row, DECIDES) == "no call"
    wrong = row.model_copy(update={"reason": "wrong arguments: value of city"})
    assert answers.failure_class(wrong, DECIDES) == "wrong arguments"


def test_only_rows_that_all_columns_answered_are_shown():
    before, after = score_rows(0.3, 1), score_rows(0.6, 2)
    assert [row["id"] for row in answers.side_by_side([before[5:], after[:10]], DECIDES, True)] == [
        row.id for row in after[5:10]
    ]


def test_long_texts_are_cut_before_rows_are_left_out():
    long = [row.model_copy(update={"answer": HOSTILE[4]}) for row in score_rows(0.3, 1)]
    every = answers.side_by_side([long], DECIDES, False)
    rows, clip = answers.fit(every, budget=400_000)
    assert len(rows) == len(every) and clip == 2_000
    assert "8,000 more characters" in rows[0]["answers"][0]["text"]


def test_rows_that_changed_are_kept_first_when_not_all_fit():
    every = answers.side_by_side([score_rows(0.3, 1), score_rows(0.6, 2)], DECIDES, True)
    rows, _ = answers.fit(every, budget=40_000)
    kept = {row["id"] for row in rows}
    assert 0 < len(rows) < len(every)
    assert all(row["id"] in kept for row in every if row["outcome"] == "lost")
    assert len(answers.embed(rows)) <= 40_000
