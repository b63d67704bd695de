import random

import pytest

from tunewright.errors import UserError
from tunewright.suites.protocol import find_suite
from tunewright.suites.reasoning_gym import entry_of, tagged, verify

# Of every family, and all nine whose verifiers evaluate what they are given.
TASKS = (
    "chain_sum", "leg_counting", "spell_backward", "number_sorting", "word_sorting", "basic_arithmetic", "lcm", "gcd",
    "caesar_cipher", "syllogism", "family_relationships", "largest_island", "simple_equations", "calendar_arithmetic",
    "countdown", "puzzle24", "polynomial_multiplication", "simple_integration", "intermediate_integration",
    "string_insertion", "spiral_matrix", "binary_matrix", "n_queens",
)  # fmt: skip


def suite(*tasks, **options):
    return find_suite("reasoning-gym", {"tasks": list(tasks), **options})


@pytest.mark.parametrize("task", TASKS)
def test_the_verifier_gives_its_own_answers_the_full_score_and_perturbed_ones_less(task):
    made = suite(task, rows=1 if "integration" in task else 3)  # sympy takes seconds for each of those
    for row in made.rows(11, None):
        gold = row.answer["content"]
        assert made.score(gold, row).scores == {"correct": 1.0, "score": 1.0}, gold
        for wrong in perturbed(gold):
            scored = made.score(wrong, row)
            assert scored.error is None
            assert scored.scores["correct"] == 0.0, (gold, wrong)
            assert scored.scores["score"] < 1


def perturbed(gold):
    inner = gold.removeprefix("<answer>").removesuffix("</answer>")
    digits = inner.translate(str.maketrans("0123456789", "1234567890"))
    letters = inner.translate(str.maketrans("abcdefghijklmnopqrstuvwxyz", "bcdefghijklmnopqrstuvwxyza"))
    changed = digits if digits != inner else letters if letters != inner else inner[::-1]
    assert changed != inner
    return [f"<answer>{changed}</answer>", "<answer>no idea</answer>", "", "<answer></answer>", inner if inner else "x"]


def test_rows_are_those_of_their_seed():
    tasks = ("chain_sum", {"name": "lcm", "config": {"max_value": 50}})
    rows = suite(*tasks, rows=3).rows(1, None)
    assert rows == suite(*tasks, rows=3).rows(1, None)
    assert rows != suite(*tasks, rows=3).rows(2, None)
    assert [row.source for row in rows] == ["chain_sum", "lcm"] * 3
    assert len({row.id for row in rows}) == 6
    assert suite(*tasks, rows=3).rows(1, 4) == rows[:4]


def test_a_row_is_its_own_cluster_and_asks_for_the_tag():
    (row,) = suite("chain_sum", rows=1).rows(1, None)
    assert row.group == row.id
    assert "<answer>" in row.messages[0]["content"]
    (plain,) = suite("chain_sum", rows=1, answer="whole").rows(1, None)
    assert [message["role"] for message in plain.messages] == ["user", "assistant"]
    assert suite("chain_sum", rows=1, answer="whole").score(plain.answer["content"], plain).scores["correct"] == 1.0


def test_only_the_last_tag_is_the_answer():
    assert tagged("<answer>1</answer> no: <answer> 2 </answer>") == "2"
    assert tagged("<answer><answer>3</answer>") == "3"
    assert tagged("2") is tagged("<answer>2") is tagged("</answer><answer>2") is None


@pytest.mark.parametrize("task", ["countdown", "simple_integration", "n_queens", "string_insertion", "puzzle24"])
def test_an_answer_is_never_run(task, tmp_path):
    (row,) = suite(task, rows=1).rows(1, None)
    flag = tmp_path / "run"
    for attack in (
        f"__import__('pathlib').Path({str(flag)!r}).touch()",
        "().__class__.__base__",
        "9**9**9**9",
        "print(1)",
    ):
        scored = suite(task).score(f"<answer>{attack}</answer>", row)
        assert (scored.scores["score"], scored.failure) == (0.0, "refused")
    assert not flag.exists()


def test_the_attack_that_is_refused_does_run_in_the_verifier_itself(tmp_path):
    import reasoning_gym

    data = reasoning_gym.create_dataset("string_insertion", seed=1, size=1)
    data.score_answer(f"__import__('pathlib').Path({str(tmp_path / 'run')!r}).touch()", data[0])
    assert (tmp_path / "run").exists()


def test_an_answer_that_breaks_the_verifier_is_wrong_and_no_error():
    made = suite("prime_factorization", rows=1)
    (row,) = made.rows(1, None)
    scored = made.score("<answer>no idea</answer>", row)
    assert (scored.scores["score"], scored.failure, scored.error) == (0.0, "refused", None)
    assert "cannot read it" in scored.reason


def test_a_puzzle_without_an_answer_of_its_own_has_no_reference():
    (row,) = suite("graph_color", rows=1).rows(1, None)
    assert row.answer["content"] == ""


def test_a_row_of_another_version_is_unscored():
    (row,) = suite("chain_sum", rows=1).rows(1, None)
    other = row.model_copy(update={"messages": [{"role": "user", "content": "1 + 1 = ?"}, row.answer]})
    scored = suite("chain_sum").score(row.answer["content"], other)
    assert scored.scores == {}
    assert "another question" in scored.error


def test_a_row_that_is_no_puzzle_is_unscored():
    (row,) = suite("chain_sum", rows=1).rows(1, None)
    for meta in ({}, {"reasoning_gym": {}}, {"reasoning_gym": {**row.meta["reasoning_gym"], "task": "chess"}}):
        scored = suite("chain_sum").score("<answer>1</answer>", row.model_copy(update={"meta": meta}))
        assert scored.scores == {}
        assert scored.error


def test_a_generator_that_does_not_exist_is_told_with_the_nearest():
    with pytest.raises(UserError, match="did you mean chain_sum"):
        suite("chain_sums").rows(1, None)
    with pytest.raises(UserError, match="does not take these settings"):
        suite({"name": "lcm", "config": {"largest": 5}}).rows(1, None)


def test_a_generator_whose_verifier_takes_any_text_is_refused():
    with pytest.raises(UserError, match="gives any text the full score"):
        suite("game_of_life_halting").rows(1, None)


def test_a_puzzle_is_made_once_and_nothing_changes_it():
    origin = {"task": "lcm", "config": {}, "seed": 5, "index": 3, "size": 10}
    entry_of(origin)["metadata"].clear()
    assert entry_of(origin)["metadata"]


def test_a_verified_answer_is_that_of_the_package():
    import reasoning_gym

    origin = {"task": "leg_counting", "config": {}, "seed": 5, "index": 3, "size": 10}
    data = reasoning_gym.create_dataset("leg_counting", seed=5, size=10)
    assert entry_of(origin) == data[3]
    answers = [data[3]["answer"], str(int(data[3]["answer"]) + random.Random(0).randint(1, 9)), "legs", "0"]
    assert [verify(origin, answer) for answer in answers] == [data.score_answer(answer, data[3]) for answer in answers]
