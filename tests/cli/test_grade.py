import json
import shutil
import sys

import pytest
from safetensors.torch import load_file, save_file
from tests.graders.policies import answers_to_sums, sums

from tunewright.artifacts.files import write_jsonl
from tunewright.cli.grade import grade
from tunewright.cli.main import _guarded
from tunewright.errors import EXIT_GATE, EXIT_USER

NUMBER = '{"type": "number"}'


@pytest.fixture
def tw_grade(tmp_path, monkeypatch, capsys):
    """Runs `tw grade …` in a folder with a grader, rows and answers; returns exit code, stdout and stderr."""
    import typer
    from typer.main import get_command

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name="grade")(grade)
    command = get_command(app)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "number.json").write_text(NUMBER)
    rows = sums()
    write_jsonl(tmp_path / "rows.jsonl", rows)
    answers = answers_to_sums(rows)
    write_jsonl(tmp_path / "answers.jsonl", [{"id": name, "answers": texts} for name, texts in answers.items()])
    said = [{**row, "answer": row["reference"], "human": place % 2} for place, row in enumerate(rows)]
    write_jsonl(tmp_path / "said.jsonl", said)

    def run(*args):
        def call():
            with command.make_context("tw grade", list(args)) as context:
                try:
                    command.invoke(context)
                except typer.Exit as done:
                    return done.exit_code
            return 0

        code = _guarded(call, list(args))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_validate_prints_the_grader_with_its_defaults(tw_grade):
    code, out, _ = tw_grade("validate", "number.json", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["grader"]["where"] == "auto" and found["notes"] == []


def test_validate_tells_what_is_wrong_and_where(tw_grade, tmp_path):
    (tmp_path / "bad.json").write_text('{"type": "number", "tolerence": 1}')
    code, out, _ = tw_grade("validate", "bad.json", "--json")
    assert code == EXIT_USER
    assert json.loads(out)["problems"] == [{"path": "tolerence", "seen": "no such field (did you mean `tolerance`?)"}]


def test_one_answer_is_graded_in_the_shape_of_openai_s_api(tw_grade):
    code, out, _ = tw_grade("run", "number.json", "--answer", "so 4", "--item", '{"reference": "4"}', "--json")
    assert code == 0 and json.loads(out)["reward"] == 1.0
    assert tw_grade("run", "number.json", "--answer", "4", "--item", '{"reference": "4"}')[1].startswith("1  ")


def test_a_file_of_answers_is_graded_and_compared_with_people(tw_grade):
    code, out, _ = tw_grade("run", "number.json", "said.jsonl", "--json")
    found = json.loads(out)
    assert code == 0 and found["mean"] == 1.0 and found["scored"] == 25 and len(found["grades"]) == 25
    assert found["agreement"]["num_labelled"] == 25 and found["agreement"]["raw"] == pytest.approx(12 / 25)
    assert "agreement with 25 labels" in tw_grade("run", "number.json", "said.jsonl")[1]


def test_test_shows_answers_beside_scores_for_a_person_to_confirm(tw_grade):
    code, out, _ = tw_grade("test", "number.json", "rows.jsonl", "--answers", "answers.jsonl")
    assert code == 0
    assert "self-check passed" in out and "Would you have given these scores?" in out
    assert out.count("a model's") == 10 and out.count("gold of another row") == 5


def test_test_ends_with_1_when_the_self_check_fails(tw_grade, tmp_path):
    (tmp_path / "bad.json").write_text('{"type": "regex", "pattern": "[0-9]", "negate": true}')
    code, out, _ = tw_grade("test", "bad.json", "rows.jsonl", "--json")
    assert code == EXIT_GATE and json.loads(out)["self_check"]["passed"] is False


def test_a_dry_run_of_a_sound_grader_says_go_and_keeps_its_grades(tw_grade, tmp_path):
    code, out, _ = tw_grade("dry-run", "number.json", "rows.jsonl", "--answers", "answers.jsonl", "--output", "kept")
    assert code == 0 and "GO: grader number" in out
    (kept,) = (tmp_path / "kept").glob("grades-number-*.jsonl")
    assert len(kept.read_text().splitlines()) == 200


def test_a_dry_run_goes_on_from_the_grades_it_has_and_never_from_those_of_another_grader(tw_grade, tmp_path):
    command = ("dry-run", "own.json", "rows.jsonl", "--answers", "answers.jsonl", "--output", "kept", "--json")
    grader, kept = tmp_path / "own.json", tmp_path / "kept"
    grader.write_text(NUMBER)
    first = json.loads(tw_grade(*command)[1])["measured"]["mean"]
    (log,) = kept.iterdir()
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])
    assert json.loads(tw_grade(*command)[1])["measured"]["mean"] == first
    assert log.read_bytes()[: len(whole) // 2] == whole[: len(whole) // 2] and len(list(kept.iterdir())) == 1
    grader.write_text('{"type": "regex", "name": "number", "pattern": "."}')
    code, out, err = tw_grade(*command)
    assert code == EXIT_GATE and json.loads(out)["measured"]["mean"]["value"] == 1.0
    assert len(list(kept.iterdir())) == 2 and "grades: kept/grades-number-" in err


def test_a_dry_run_grades_again_when_the_module_of_its_grader_or_a_reference_was_mended(tw_grade, tmp_path):
    command = (
        "dry-run",
        "graded_by_me:right",
        "rows.jsonl",
        "--answers",
        "answers.jsonl",
        "--output",
        "kept",
        "--json",
    )
    module = tmp_path / "graded_by_me.py"
    means = []
    for text in ("def right(answer, row):\n    return 0\n", "def right(answer, row):\n    return 1.0\n"):
        module.write_text(text)
        sys.modules.pop("graded_by_me", None)
        means.append(json.loads(tw_grade(*command)[1])["measured"]["mean"]["value"])
    assert means == [0.0, 1.0]
    write_jsonl(tmp_path / "rows.jsonl", [{**row, "reference": "#### 1"} for row in sums()])
    tw_grade(*command)
    assert len(list((tmp_path / "kept").iterdir())) == 3
    sys.modules.pop("graded_by_me", None)


def test_a_dry_run_that_says_no_go_ends_with_1_and_says_what_to_change(tw_grade, tmp_path):
    spec = {"type": "string_check", "operation": "eq"}
    texts = {"input": "{{ sample.output_text }}", "reference": "{{ item.reference }}"}
    (tmp_path / "eq.json").write_text(json.dumps({**spec, **texts}))
    code, out, _ = tw_grade("dry-run", "eq.json", "rows.jsonl", "--answers", "answers.jsonl", "--json")
    found = json.loads(out)
    assert code == EXIT_GATE and found["verdict"] == "NO-GO" and found["findings"][0]["change"]


@pytest.mark.parametrize(
    "args",
    [
        ("dry-run", "number.json", "rows.jsonl"),
        ("dry-run", "number.json", "rows.jsonl", "--answers", "none.jsonl"),
        ("dry-run", "number.json"),
        ("run", "none.json", "said.jsonl"),
        ("run", "number.json", "rows.jsonl"),
        ("run", "number.json", "--answer", "4", "--item", "[1]"),
        ("run", "number.json", "--answer", "4", "--item", "{"),
        ("validate", "no grader"),
        ("test", "number.json", "none.jsonl"),
    ],
)
def test_mistakes_are_told_without_a_traceback(tw_grade, args):
    code, _, err = tw_grade(*args)
    assert code == EXIT_USER and err and "Traceback" not in err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("run", "number.json", "said.jsonl", "--model", "m"), "--model: `tw grade run` does not take it"),
        (("run", "number.json", "said.jsonl", "--output", "o"), "--output: `tw grade run` does not take it"),
        (("run", "number.json", "said.jsonl", "--answers", "a"), "--answers: `tw grade run` does not take it"),
        (("run", "number.json", "said.jsonl", "--answer", ""), "ROWS: it is given beside --answer"),
        (("run", "number.json", "said.jsonl", "--item", "{}"), "ROWS: it is given beside --item"),
        (("test", "number.json", "rows.jsonl", "--model", "m"), "--model: `tw grade test` does not take it"),
        (("validate", "number.json", "rows.jsonl"), "ROWS: `tw grade validate` does not take it"),
        (("dry-run", "number.json", "rows.jsonl", "--answer", "4"), "--answer: `tw grade dry-run` does not take it"),
    ],
)
def test_what_would_be_of_no_use_is_refused(tw_grade, args, told):
    code, _, err = tw_grade(*args)
    assert code == EXIT_USER and told in err


def test_lines_whose_id_is_null_are_called_by_their_number(tw_grade, tmp_path):
    lines = [{"id": None, "answer": "4", "reference": "4"}, {"id": None, "answer": "4", "item": {"id": 0}}]
    write_jsonl(tmp_path / "null.jsonl", lines)
    found = json.loads(tw_grade("run", "number.json", "null.jsonl", "--json")[1])
    assert [one["id"] for one in found["grades"]] == ["null-1", "0"]


def test_answers_to_other_rows_are_told(tw_grade, tmp_path):
    write_jsonl(tmp_path / "other.jsonl", [{"id": "x", "answers": ["1"]}])
    code, _, err = tw_grade("dry-run", "number.json", "rows.jsonl", "--answers", "other.jsonl")
    assert code == EXIT_USER and "other rows" in err


def test_a_dry_run_can_ask_a_model_itself_and_keeps_what_it_said(tw_grade, tmp_path, toy_model):
    write_jsonl(tmp_path / "two.jsonl", sums()[:2])
    code, out, _ = tw_grade(
        "dry-run", "number.json", "two.jsonl", "--model", str(toy_model), "--output", "kept", "--json"
    )
    found = json.loads(out)
    assert code == EXIT_GATE and found["measured"]["num_answers"] == 16  # random weights: nothing is right
    assert {finding["diagnosis"] for finding in found["findings"]} == {"too harsh", "too few"}
    (kept,) = (tmp_path / "kept").glob("answers-toy-model*.jsonl")
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len({line["answer"] for line in lines}) == 16


def test_a_dry_run_of_another_model_asks_it_and_keeps_both(tw_grade, tmp_path, toy_model):
    other = shutil.copytree(toy_model, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file(
        {name: -tensor for name, tensor in tensors.items()}, other / "model.safetensors", metadata={"format": "pt"}
    )
    write_jsonl(tmp_path / "two.jsonl", sums()[:2])
    for model in (toy_model, other, toy_model):
        tw_grade("dry-run", "number.json", "two.jsonl", "--model", str(model), "--output", "kept")
    said = [path.read_text() for path in (tmp_path / "kept").glob("answers-*.jsonl")]
    assert len(said) == 2 and said[0] != said[1]
    assert {text.count("\n") for text in said} == {16}
