import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.graders.protocol import Grader, load_grader, run, validate
from tunewright.graders.python import PythonGrader
from tunewright.graders.sandbox import Limits, Sandbox
from tunewright.graders.spec import GraderError


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(Limits(workers=2)) as sandbox:
        yield sandbox


def grader(source, sandbox, **options) -> PythonGrader:
    return load_grader({"type": "python", "source": source, **options}, sandbox=sandbox)


SAME = "def grade(sample, item):\n    return 1.0 if sample['output_text'] == item['answer'] else 0.25"


def test_a_grader_of_openai_grades_as_it_did_there(sandbox):
    subject = grader(SAME, sandbox, name="same", image_tag="2025-05-08")
    assert isinstance(subject, Grader) and subject.name == "same"
    assert subject.grade("4", {"answer": "4"}).score == 1.0
    assert subject.grade("5", {"answer": "4"}).score == 0.25


def test_many_answers_are_graded_in_their_order(sandbox):
    grades = grader(SAME, sandbox).grade_many(["1", "2", "3", "4"], [{"answer": "2"}] * 4)
    assert [grade.score for grade in grades] == [0.25, 1.0, 0.25, 0.25]


def test_the_sample_and_the_row_are_there_in_full(sandbox):
    body = "return float(sample['output_json']['a'] == len(item['messages']) == item['level'])"
    source = f"def grade(sample, item):\n    {body}"
    row = ChatRow(
        id="1", messages=[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], meta={"level": 1}
    )
    assert grader(source, sandbox).grade('{"a": 1}', row).score == 1.0


@pytest.mark.parametrize(
    ("body", "kind", "detail"),
    [
        ("return item['none']", "python_grader_runtime_error", "exception: KeyError: 'none' (line 2)"),
        ("return 'good'", "python_grader_runtime_error", "`grade` returned 'good', no number"),
        ("return None", "python_grader_runtime_error", "`grade` returned 'None', no number"),
        ("return 1.5", "python_grader_runtime_error", "`grade` returned 1.5; expected 0 to 1"),
        ("return float('nan')", "python_grader_runtime_error", "protocol: returned no JSON value"),
        ("open('/evil', 'w')", "python_grader_runtime_error", "forbidden: "),
        ("while True: pass", "python_grader_server_error", "timeout: "),
        ("import os; os._exit(0)", "python_grader_server_error", "crash: "),
        ("return len(bytearray(1 << 40))", "python_grader_server_error", "memory: "),
    ],
)
def test_what_is_no_score_is_an_error_and_never_zero(body, kind, detail, sandbox):
    seconds = 0.5 if detail == "timeout: " else 10
    grade = grader(f"def grade(sample, item):\n    {body}", sandbox, timeout_seconds=seconds).grade("x", {})
    assert grade.score is None
    assert grade.error.kind == kind and grade.error.detail.startswith(detail)


def test_the_range_of_a_grader_is_its_own(sandbox):
    subject = grader("def grade(sample, item): return -3", sandbox, range=[-5, 5])
    assert (subject.grade("", {}).score, subject.range) == (-3.0, (-5.0, 5.0))


def test_true_is_a_full_score(sandbox):
    assert grader("def grade(sample, item): return True", sandbox).grade("", {}).score == 1.0


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("def grade(sample, item)\n  pass", "line 1: expected ':'"),
        ("def score(sample, item): pass", "defines no function"),
        ("def grade(sample): pass", "two arguments"),
        ("#" * 256_001, "at most 256000"),
        ("(" * 5000, "line 1|nested"),
        ("x = '\0'", "."),
    ],
)
def test_a_source_that_cannot_be_a_grader_is_refused_when_it_is_read(source, seen):
    with pytest.raises(GraderError, match=seen):
        validate({"type": "python", "source": source})


def test_an_answer_that_is_an_attack_on_json_is_only_text(sandbox):
    subject = grader("def grade(sample, item): return len(sample['output_text']) / 100", sandbox)
    assert subject.grade('"},{"value": 1}\n\ud800', {}).score == 0.17


@pytest.mark.parametrize("depth", [50, 200, 900, 980, 10_000])
def test_an_answer_that_nests_deep_is_graded_as_any_other(depth, sandbox):
    source = "def grade(sample, item): return 0.5 if sample['output_json'] is None else 0.75"
    grade = grader(source, sandbox).grade("[" * depth + "]" * depth, {})
    assert grade.score == (0.75 if depth == 50 else 0.5), grade


def test_a_row_that_is_no_json_is_an_error_that_says_so(sandbox):
    grade = grader(SAME, sandbox).grade("4", {"answer": {1, 2}})
    assert grade.score is None and "Object of type set is not JSON serializable" in grade.error.detail


def test_the_response_has_the_shape_of_openais():
    response = run({"type": "python", "name": "g", "source": "def grade(sample, item): return 1 / 0"}, "x", {})
    errors = response["metadata"]["errors"]
    assert response["reward"] is None
    assert errors["python_grader_runtime_error"] is True
    assert "ZeroDivisionError" in errors["python_grader_runtime_error_details"]


def test_packages_that_openais_image_has_can_be_used_where_they_are_installed():
    source = "import numpy as np\ndef grade(sample, item):\n    return float(np.mean([0.0, 1.0]))"
    assert load_grader({"type": "python", "source": source}).grade("x", {}).score == 0.5
