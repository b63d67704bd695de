import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.suites.exact_match import score_exact_match


def row(text):
    return ChatRow(id="r", messages=[{"role": "user", "content": "?"}, {"role": "assistant", "content": text}])


def test_white_space_does_not_matter_but_case_does():
    assert score_exact_match(" the  answer\n", row("the answer")).scores["exact_match"] == 1.0
    assert score_exact_match("The answer", row("the answer")).scores["exact_match"] == 0.0


def test_token_f1_counts_words_as_a_multiset():
    assert score_exact_match("a a b", row("a b c")).scores["token_f1"] == pytest.approx(2 * 2 / 6)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("a b", "exact"), ("", "empty answer"), ("x", "other words"), ("B a", "other order or case")],
)
def test_the_reason_names_the_failure_class(answer, reason):
    scored = score_exact_match(answer, row("a b"))
    assert scored.reason == reason
    assert scored.failure == ("" if reason == "exact" else reason)


def test_an_empty_answer_scores_nothing():
    assert set(score_exact_match("", row("a b")).scores.values()) == {0.0}
