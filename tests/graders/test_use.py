import pytest
from tests.graders.policies import sums

from tunewright.artifacts.dataset import ChatRow
from tunewright.graders.agreement import is_right, judge_agreement
from tunewright.graders.protocol import Grade, load_grader
from tunewright.graders.rows import answers_by_row, gold_of, prompt_of, read_items
from tunewright.graders.self_check import self_check
from tunewright.graders.use import as_reward, best_of, completion_text

NUMBER = load_grader({"type": "number"})
ROW = ChatRow(
    id="r", messages=[{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}], meta={"k": "v"}
)


# ── one grader, many places ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_reward_function_has_trl_s_form():
    reward = as_reward(NUMBER)
    talk = [{"role": "assistant", "content": "so 5"}]
    found = reward(
        ["2+2?", "2+3?"], ["4", talk], reference=["4", "5"], completion_ids=[[1], [2]], trainer_state=object()
    )
    assert found == [1.0, 1.0]
    assert reward.__name__ == "number"


def test_an_unscored_answer_is_no_reward_of_zero():
    assert as_reward(NUMBER)(["?"], ["4"], reference=["none"]) == [None]
    assert as_reward(NUMBER, unscored=-1.0)(["?"], ["4"], reference=["none"]) == [-1.0]


def test_tool_calls_of_a_conversational_completion_are_text_again():
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}
    assert completion_text([call]) == '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


def test_the_best_of_several_is_the_first_with_the_highest_score():
    place, grades = best_of(NUMBER, ["3", "4", "also 4", "none"], ROW)
    assert place == 1 and [grade.score for grade in grades] == [0, 1, 1, 0]
    with pytest.raises(ValueError, match="could be scored"):
        best_of(NUMBER, ["4"], {"reference": "none"})


def test_a_chat_row_s_question_answer_and_meta_can_be_reached():
    spec = {
        "type": "string_check",
        "input": "{{ item.messages[0].content }}{{ item.k }}{{ item.reference }}",
        "operation": "eq",
        "reference": "2+2?v4",
    }
    assert load_grader(spec).grade("", ROW).score == 1.0


# ── self-check ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sound_grader_passes_its_self_check():
    check = self_check(NUMBER, sums()[:8])
    assert check.passed and check.gold_accepted == 1.0 and check.worst_canned[1] == 0.0 and check.other_gold.mean == 0.0


def test_a_grader_that_pays_for_silence_fails_it_and_says_for_what():
    check = self_check(load_grader({"type": "regex", "pattern": "xyz", "negate": True}), sums()[:4])
    assert not check.passed and check.worst_canned[1] == 1.0


def test_rows_whose_gold_answer_is_refused_are_named():
    rows = [{**row, "key": 0 if place == 2 else row["reference"]} for place, row in enumerate(sums()[:4])]
    check = self_check(load_grader({"type": "number", "reference": "{{ item.key }}"}), rows)
    assert check.rejected == ("s2",) and check.gold_accepted == 0.75


# ── agreement ───────────────────────────────────────────────────────────────────────────────────────────────────────


def grades(*scores):
    return [Grade.failed("other_error", "x") if score is None else Grade(score, "") for score in scores]


def test_agreement_is_kappa_and_the_corrected_rate_undoes_the_judge_s_errors():
    # On 200 labelled answers the judge passes 90% of the right and 20% of the wrong; of 500 others it passes 55%.
    labelled = [1.0] * 90 + [0.0] * 10 + [1.0] * 20 + [0.0] * 80
    labels = [True] * 100 + [False] * 100 + [None] * 500
    found = judge_agreement(grades(*labelled, *[1.0] * 275, *[0.0] * 225), labels)
    assert found.raw == pytest.approx(0.85) and found.kappa.value == pytest.approx(0.7)
    assert found.corrected.value == pytest.approx((0.55 + 0.8 - 1) / (0.9 + 0.8 - 1))
    assert found.corrected.low < found.corrected.value < found.corrected.high


def test_kappa_equals_scikit_learn_s():
    from sklearn.metrics import cohen_kappa_score

    ours, theirs = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0], [True, False, False, True, True, False, True]
    found = judge_agreement(grades(*ours), theirs)
    assert found.kappa.value == pytest.approx(cohen_kappa_score([score == 1 for score in ours], theirs))


def test_unscored_answers_agree_with_nobody():
    found = judge_agreement(grades(1.0, None, 0.0), [True, True, False])
    assert found.num_labelled == 2 and found.num_unscored == 1 and found.raw == 1.0
    assert judge_agreement(grades(None), [True]) is None
    assert [is_right(label) for label in (1, 0.2, "Correct", "no", True)] == [True, False, True, False, True]


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_s_records_keep_their_columns_and_get_messages_and_reference(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"prompt": "2+2?", "completion": "4", "key": 4}\n{"id": 7, "question": "?", "reference_answer": 9}\n'
    )
    first, second = read_items(path)
    assert (
        first["key"] == 4 and first["reference"] == "4" and first["messages"] == [{"role": "user", "content": "2+2?"}]
    )
    assert first["id"] == "rows-1" and second["id"] == "7"
    assert gold_of(second) == "9" and prompt_of(second) == [{"role": "user", "content": "?"}]


def test_answers_of_one_row_add_up(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id": "a", "answers": ["1", "2"]}\n{"row_id": "a", "answer": "3"}\n')
    assert answers_by_row(path) == {"a": ["1", "2", "3"]}
