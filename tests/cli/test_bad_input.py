"""What a user gets wrong ends with a clean message that names the place, and exit code 2. Never with a traceback."""

import json
import shutil

import pytest

from tunewright.cli.main import main

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}


@pytest.fixture
def project(toy_model, warm_python, tmp_path):
    """A folder with a recipe that is right, and 30 rows."""

    class Project:
        folder = tmp_path
        rows = tmp_path / "rows.jsonl"

        def write(self, lines, model=toy_model, source="{type: jsonl, path: rows.jsonl}", **data):
            if lines is not None:
                self.rows.write_text(
                    "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
                )
            extra = "".join(f", {key}: {value}" for key, value in data.items())
            (tmp_path / "r.yaml").write_text(
                f"recipe: bad\nmodel: {model}\nstages:\n"
                f"  - data: {{sources: [{source}], split: {{test: 5}}{extra}}}\n"
                "  - evaluate: {suite: exact-match, rows: data.test, max_new_tokens: 4}\n"
            )

        def run(self, *arguments, verb="run"):
            done = warm_python.run("-m", "tunewright", verb, *(arguments or ("r.yaml",)), cwd=tmp_path)
            assert "Traceback" not in done.stderr
            return done

    return Project()


def rows(count=30):
    return [{"id": f"r{i}", **GOOD} for i in range(count)]


def test_good_input_passes(project):
    project.write(rows())
    assert project.run("r.yaml", verb="check").returncode == 0


def refused(done, *words):
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    return done.stderr


def test_a_missing_recipe(project):
    refused(project.run("nowhere.yaml"), "nowhere.yaml", "no such file")


def test_a_missing_file_of_rows(project):
    project.write(None)
    refused(project.run(), "r.yaml:4:", "rows.jsonl")


def test_an_empty_file_of_rows(project):
    project.write([])
    refused(project.run(), "rows.jsonl")


def test_broken_json_in_line_17(project):
    lines = rows()
    lines[16] = '{"messages": [\n'
    project.write(lines)
    refused(project.run(), "rows.jsonl:17", "broken JSON")


def test_a_wrong_role(project):
    lines = rows()
    lines[4] = {"id": "x", "messages": [{"role": "usr", "content": "Hi"}, GOOD["messages"][1]]}
    project.write(lines)
    refused(project.run(), "rows.jsonl:5", "usr")


def test_an_unknown_model(project):
    project.write(rows(), model="smolm2-135m-instruct")
    refused(project.run(), "r.yaml:2:", "smollm2-135m-instruct")


def test_a_model_folder_that_is_none(project):
    (project.folder / "empty").mkdir()
    project.write(rows(), model="./empty")
    refused(project.run(), "config.json")


def test_an_unknown_column(project):
    project.write([{"id": f"r{i}", "question": "Hi", "reply": "Hello."} for i in range(30)])
    refused(project.run(), "question", "reply", "columns")


def test_a_mapped_column_that_is_not_there(project):
    project.write(rows(), source="{type: jsonl, path: rows.jsonl, columns: {messages: chat}}")
    refused(project.run(), "chat", "messages")


def test_a_row_longer_than_the_context(project):
    lines = rows()
    lines[7] = {"id": "the-long-one", "messages": [{"role": "user", "content": "word " * 900}, GOOD["messages"][1]]}
    project.write(lines)
    refused(project.run(), "the-long-one", "512", "overlong: drop")


def test_a_model_without_a_chat_template(project, toy_model):
    bare = project.folder / "bare"
    shutil.copytree(toy_model, bare)
    (bare / "chat_template.jinja").unlink()
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    project.write(rows(), model="./bare")
    refused(project.run(), "chat template")


def test_no_permission_to_write(project):
    project.write(rows())
    (project.folder / "file").touch()
    refused(project.run("r.yaml", "--output", "file/runs"), "file/runs", "cannot write there", "choose another place")


def test_an_error_is_one_json_object_when_asked_for(project):
    project.write(None)
    done = project.run("r.yaml", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"] == "RecipeError"


def test_finetune_of_a_file_that_is_not_there(project, toy_model):
    refused(project.run("--model", str(toy_model), "--dataset", "none.jsonl", verb="finetune"), "none.jsonl")


def test_finetune_writes_shows_and_runs_its_recipe(project, toy_model):
    project.write(rows())
    done = project.run(
        "--model", str(toy_model), "--dataset", "rows.jsonl", "--entropy-aware", "--epochs", "1", "--output", "out",
        "--set", "before.max_new_tokens=4", "--set", "after.max_new_tokens=4", verb="finetune",
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    text = (project.folder / "out" / "rows.yaml").read_text()
    assert "type: linear" in text
    assert text in done.stderr
    assert (project.folder / "out" / "rows" / "1" / "report.html").is_file()
    assert (project.folder / "out" / "rows" / "1" / "journal.md").is_file()


@pytest.mark.parametrize("verb", ["estimate", "lint"])
def test_a_name_that_is_no_model_is_told_without_a_word_of_recipes_that_are_not_there(verb, capsys):
    assert main([verb, "smolm2-135m-instruct"]) == 2
    told = capsys.readouterr().err
    assert "smolm2-135m-instruct" in told and "fix: " in told
    assert ":2:" not in told and "in the recipe" not in told
