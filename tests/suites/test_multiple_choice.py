import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError
from tunewright.suites.multiple_choice import choices_of, letter_of
from tunewright.suites.protocol import CandidateScore, find_suite, log_probs_answer

CHOICES = ["Paris", "the city of London", "Rome"]


def row(reference="A", **meta):
    messages = [{"role": "user", "content": "Capital of France?"}, {"role": "assistant", "content": reference}]
    return ChatRow(id="r", messages=messages, meta={"choices": CHOICES, **meta})


def said(*log_probs, prefix=""):
    return [
        CandidateScore(f"{prefix}{index}", values, len(CHOICES[index].encode()))
        for index, values in enumerate(log_probs)
    ]


ROW = row()


def score(scores, row=ROW, **options):
    return find_suite("multiple-choice", options).score(log_probs_answer(scores), row)


def test_each_norm_picks_its_own_best():
    # sums -3, -4, -5; per token -3, -1, -5; per byte -3/5, -4/18, -5/4
    scored = score(said([-3], [-1, -1, -1, -1], [-5]))
    assert scored.scores == {"accuracy": 1.0, "accuracy_per_token": 0.0, "accuracy_per_byte": 0.0}
    assert scored.parsed["accuracy_per_byte"] == "the city of London"


def test_the_unconditional_norm_takes_away_what_a_choice_is_worth_alone():
    conditional, alone = said([-3], [-4], [-5]), said([-1], [-4], [-9], prefix="unconditional:")
    assert score([*conditional, *alone], row("C"), unconditional=True).scores["accuracy_unconditional"] == 1.0


def test_a_tie_of_the_best_is_no_choice():
    scored = score(said([-1], [-1], [-5]))
    assert (scored.scores["accuracy"], scored.failure) == (0.0, "tie")


@pytest.mark.parametrize("answer", ["", "[]", "{}", "[1]", '[{"name": "0"}]', "null"])
def test_probabilities_that_are_not_there_leave_the_row_unscored(answer):
    scored = find_suite("multiple-choice").score(answer, row())
    assert scored.scores == {}
    assert scored.error


def test_probabilities_that_are_no_numbers_leave_the_row_unscored():
    assert score(said([math.nan], [-1], [-2])).error


def test_the_candidates_are_the_choices_after_the_question_and_alone_when_asked_for():
    plain = find_suite("multiple-choice").candidates(row())
    assert [(one.name, one.text) for one in plain] == [("0", CHOICES[0]), ("1", CHOICES[1]), ("2", CHOICES[2])]
    assert all(one.messages == row().prompt for one in plain)
    both = find_suite("multiple-choice", {"unconditional": True}).candidates(row())
    assert [one.messages for one in both[3:]] == [None] * 3


@pytest.mark.parametrize(
    ("changed", "right"),
    [(row("B"), 1), (row("Rome"), 2), (row(answer=2), 2), (row(answer="C"), 2), (row("A", answer="Rome"), 2)],
)
def test_the_right_choice_is_an_index_a_letter_or_its_text(changed, right):
    assert choices_of(changed)[1] == right


@pytest.mark.parametrize(
    "broken", [row("D"), row(answer=3), row(answer=True), row(choices=["one"]), row(choices=[1, 2])]
)
def test_a_row_without_a_right_choice_is_an_error_that_names_it(broken):
    with pytest.raises(DataError, match="row r"):
        choices_of(broken)
    assert find_suite("multiple-choice-letter").score("A", broken).error


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), (" B.\n", "B"), ("(B)", "B"), ("B)", "B"), ("**B**", "B"), ("B) Rome", "B"), ("(B) Rome", "B"),
        ("B. Rome, since", "B"), ("B: Rome", "B"), ("The answer is B.", "B"), ("Let me see.\nAnswer: (B)", "B"),
        ("The answer is **B**", "B"), ("I think the answer is B, since A dog barks", "B"),
        ("", None), ("A dog barks", None), ("I think so", None), ("b", None), ("Paris", None), ("A or B", None),
        ("The answer is A. No, the answer is B.", None), ("the answer is a city", None), ("A'", None), ("AB", None),
    ],
)  # fmt: skip
def test_the_letter_is_read_strictly(answer, letter):
    assert letter_of(answer) == letter


@pytest.mark.parametrize(
    ("answer", "failure"), [("A", ""), ("B", "wrong choice"), ("Z", "no such choice"), ("Paris", "no choice")]
)
def test_an_answer_that_is_no_choice_is_wrong_and_said_so(answer, failure):
    scored = find_suite("multiple-choice-letter").score(answer, row())
    assert scored.failure == failure
    assert scored.scores["accuracy"] == float(answer == "A")
    assert scored.scores["valid_letter"] == float(answer in ("A", "B"))


@given(st.text("ABC answerisi:.()*\n'"))
def test_no_answer_breaks_the_reader(answer):
    assert letter_of(answer) in {None, "A", "B", "C"}
