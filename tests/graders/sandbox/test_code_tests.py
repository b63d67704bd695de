import time

import pytest

from tunewright.errors import EnvironmentProblem, UserError
from tunewright.graders.code import code_of, same
from tunewright.graders.code_tests import CodeTestsGrader
from tunewright.graders.protocol import load_grader, validate
from tunewright.graders.sandbox import Limits, Sandbox
from tunewright.graders.spec import GraderError

ADD = {"tests": {"entry": "add", "cases": [[[1, 2], 3], [[0, 0], 0], [["a", "b"], "ab"], [[0.1, 0.2], 0.3]]}}
DOUBLE = {"tests": {"stdin": [["2\n", "4\n"], ["5", "10"]]}}


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(Limits(workers=2)) as sandbox:
        yield sandbox


def grader(sandbox, **options) -> CodeTestsGrader:
    return load_grader({"type": "code_tests", **options}, sandbox=sandbox)


def test_the_gold_answer_scores_full_and_empty_and_canned_answers_nothing(sandbox):
    gold = "Here you are:\n```python\ndef add(a, b):\n    return a + b\n```\nDone."
    subject = grader(sandbox)
    assert subject.grade(gold, ADD).score == 1.0
    for answer in (
        "",
        "I cannot do that.",
        "Thought process:",
        "```python\n```",
        "def add(a, b): return None",
        gold[:40],
    ):
        grade = subject.grade(answer, ADD)
        assert (grade.score, grade.error) == (0.0, None), answer


def test_the_score_is_the_share_of_cases_or_all_of_them(sandbox):
    half = "def add(a, b):\n    return a + b if a else 'wrong'"
    grade = grader(sandbox).grade(half, ADD)
    assert grade.score == 0.75
    assert grade.reason == "3 of 4 cases pass; case 2: another result"
    assert grader(sandbox, score="all").grade(half, ADD).score == 0.0


def test_scripts_are_compared_by_what_they_print(sandbox):
    subject = grader(sandbox)
    assert subject.grade("```\nprint(int(input()) * 2)\n```", DOUBLE).score == 1.0
    assert subject.grade("print(4)", DOUBLE).score == 0.5
    assert subject.grade("print('4  \\n')", DOUBLE).score == 0.5
    assert subject.grade("import sys\nprint(4)\nsys.exit(1)", DOUBLE).score == 0.0


def test_the_time_of_an_answer_is_for_all_its_cases(sandbox):
    called = {"tests": {"entry": "add", "cases": [[[n, 1], n + 1] for n in range(60)]}}
    printed = {"tests": {"stdin": [[f"{n}\n", f"{2 * n}\n"] for n in range(60)]}}
    for row in (called, printed):
        began = time.monotonic()
        grade = grader(sandbox, timeout_seconds=1).grade("def add(a, b):\n    while True: pass\nadd(1, 2)", row)
        assert grade.score == 0.0 and "timeout" in grade.reason
        assert time.monotonic() - began < 30  # and not a second for each of 60 cases


@pytest.mark.parametrize(
    ("tests", "detail"),
    [
        (None, "tests: "),
        ({}, "either `entry` and `cases`, or `stdin`"),
        ({"entry": "f", "cases": []}, "tests.cases"),
        ({"cases": [[[1], 1]]}, "needs `entry`"),
        ({"entry": "f; import os", "cases": [[[1], 1]]}, "tests.entry"),
        ({"entry": "f", "cases": [[1, 1]]}, "tests.cases.0"),
        ({"entry": "f", "asserts": ["assert f(1) == 1"]}, "asserts"),
    ],
)
def test_tests_that_cannot_be_used_leave_an_answer_unscored(tests, detail, sandbox):
    grade = grader(sandbox).grade("def f(x): return x", {"tests": tests})
    assert grade.score is None and grade.error.kind == "invalid_variable_error"
    assert detail in grade.error.detail


def test_a_row_without_tests_is_unscored_and_another_key_can_be_named(sandbox):
    assert grader(sandbox, tests="checks").grade("x", ADD).error.detail == "the row has no `checks`"
    assert grader(sandbox, tests="checks").grade("def add(a, b): return a + b", {"checks": ADD["tests"]}).score == 1.0


def test_inputs_that_do_not_fit_into_the_sandbox_are_an_error_and_not_a_wrong_answer():
    row = {"tests": {"entry": "f", "cases": [[["x" * 40_000_000], 1]]}}
    with Sandbox(Limits(memory_bytes=32 << 20, workers=1), without=["namespaces", "landlock", "seccomp"]) as small:
        grade = grader(small).grade("def f(x): return 1", row)
    assert grade.score is None and grade.error.kind == "other_error"
    assert grade.error.detail == "sandbox_failed: MemoryError()"


def test_isolation_that_is_required_and_not_there_is_refused():
    with Sandbox(Limits(workers=1), without=["seccomp"]) as weak, pytest.raises(EnvironmentProblem, match="seccomp"):
        load_grader({"type": "code_tests"}, sandbox=weak, require_sandbox="full")


def test_a_level_that_does_not_exist_is_named():
    with pytest.raises(UserError, match="'docker' is no level"):
        load_grader({"type": "code_tests"}, require_sandbox="docker")


def test_a_spec_shows_its_defaults_and_refuses_what_it_does_not_know():
    spec = validate({"type": "code_tests"})
    assert spec["tests"] == "tests" and spec["score"] == "share" and spec["timeout_seconds"] == 10.0
    with pytest.raises(GraderError, match=r"timeout_second.*did you mean `timeout_seconds`"):
        validate({"type": "code_tests", "timeout_second": 3})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("def f(): pass", "def f(): pass"),
        ("a\n```python\nx = 1\n```\nb", "x = 1"),
        ("```py\nx = 1\n```\n```Python3\nx = 2\n```", "x = 2"),
        ("```python\ndef f(): pass\n```\nUse it:\n```python\nprint(f())\n```", "def f(): pass"),
        ("```python\nx = 1\n```\n```bash\nrm -rf\n```", "x = 1"),
        ("```python\nx = '''\n a\u2028b", "x = '''\n a\u2028b"),
        ("```json\n{}\n```", "```json\n{}\n```"),
    ],
)
def test_the_code_of_an_answer_is_its_last_block_that_defines_what_is_asked_for(answer, code):
    assert code_of(answer, "def f") == code


def test_reading_code_out_of_an_answer_takes_linear_time():
    began = time.process_time()
    for answer in ("```" * 60_000, "```python\n" * 20_000, "`" * 200_000, "\n" * 200_000):
        code_of(answer, "def f")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("found", "expected", "equal"),
    [
        (True, 1, False),
        (1, True, False),
        (1, 1.0, True),
        (0.1 + 0.2, 0.3, True),
        (1_000_000, 1_000_001, False),
        (10**400, 1.0, False),
        ("1", 1, False),
        (None, 0, False),
        ([], {}, False),
        ([1, [2]], [1, [2]], True),
        ([1, 2], [1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": True}, {"a": 1}, False),
    ],
)
def test_values_are_the_same_as_json_and_not_as_python(found, expected, equal):
    assert same(found, expected, 1e-6) is equal
