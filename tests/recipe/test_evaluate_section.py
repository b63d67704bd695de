"""What an `evaluate` section may say, and what of it goes into the identity of the stage."""

import pytest
from tests.recipe.conftest import replaced

from tunewright.planning import identity_of

ENDPOINT = "endpoint: {url: 'http://127.0.0.1:8000/v1', model: m}"
SUITE_FILE = "suite: facts\nrows: {path: facts.jsonl}\nscorers: {exact: {suite: exact-match}}\n"


def before(more):
    return replaced("id: before, suite: tool-calls", f"id: before, suite: tool-calls, {more}")


def test_a_misspelt_suite_is_told_with_what_was_meant(problems):
    [problem] = problems(replaced("id: before, suite: tool-calls", "id: before, suite: tool-cals"))
    assert (problem.path, problem.suggestion) == ("before.suite", "tool-calls")


def test_a_suites_file_is_taken_from_the_folder_of_the_recipe(load, tmp_path):
    (tmp_path / "facts.yaml").write_text(SUITE_FILE)
    section = load(replaced("id: before, suite: tool-calls, rows: data.test", "id: before, suite: facts.yaml")).stages[
        1
    ][1]
    assert section.suite == str(tmp_path / "facts.yaml")
    assert section.rows is None


def test_a_suites_file_that_is_not_there_is_told(problems, tmp_path):
    (tmp_path / "facts.yaml").write_text(SUITE_FILE)
    [problem] = problems(replaced("id: before, suite: tool-calls", "id: before, suite: fact.yaml"))
    assert (problem.path, problem.suggestion) == ("before.suite", "facts.yaml")


def test_rows_may_be_left_out_where_the_suite_brings_its_own(load, problems):
    head = "recipe: gym\nmodel: smollm2-135m-instruct\nstages:\n"
    [(_, section)] = load(head + "  - evaluate: {suite: reasoning-gym, options: {tasks: [chain_sum]}}").stages
    assert section.rows is None
    [problem] = problems(replaced("id: before, suite: tool-calls, rows: data.test", "id: before, suite: tool-calls"))
    assert "`rows` is missing" in problem.seen


@pytest.mark.parametrize(
    ("more", "path", "seen"),
    [
        ("repeats: 4, temperature: 0", "before.repeats", "all answers to a row are the same"),
        ("temperature: 0, top_p: 0.9", "before.top_p", "nothing is drawn"),
        ("backend: openai", "before.backend", "does not say whom to ask"),
        (ENDPOINT, "before.endpoint", "the backend is hf"),
        ("server: {kind: vllm}", "before.server", "the backend is hf"),
        ("temperature: -1", "before.temperature", "temperature"),
        ("top_p: 0", "before.top_p", "top_p"),
    ],
)
def test_settings_that_do_not_go_together_are_told_at_their_field(problems, more, path, seen):
    [problem] = problems(before(more))
    assert problem.path == path
    assert seen in problem.seen


def test_an_endpoint_says_the_variable_of_its_key_and_not_the_key(problems):
    [problem] = problems(before("backend: openai, endpoint: {url: 'https://a/v1', model: m, api_key_env: 'sk-12 34'}"))
    assert problem.path == "before.endpoint.api_key_env"


def test_how_a_server_is_reached_is_no_part_of_the_identity_and_what_it_is_told_is(load):
    def identity(more):
        return identity_of(
            load(before(f"backend: openai, endpoint: {{url: 'http://h/v1', model: m{more}}}")).stages[1][1]
        )

    same = [", concurrency: 2", ", timeout_seconds: 5", ", price: {prompt: 3}", ", budget_usd: 1", ", api_key_env: KEY"]
    other = [", path: completions", ", strict_names: true"]
    assert all(identity(more) == identity("") for more in same)
    assert all(identity(more) != identity("") for more in other)


def test_an_edited_suite_is_another_stage(load, tmp_path):
    from tunewright.suites.identity import suite_identity

    (tmp_path / "facts.yaml").write_text(SUITE_FILE)
    (tmp_path / "facts.jsonl").write_text("{}\n")
    found = [suite_identity(str(tmp_path / "facts.yaml"))]
    (tmp_path / "facts.jsonl").write_text('{"id": "a"}\n')
    found.append(suite_identity(str(tmp_path / "facts.yaml")))
    (tmp_path / "facts.yaml").write_text(SUITE_FILE + "# edited\n")
    found.append(suite_identity(str(tmp_path / "facts.yaml")))
    assert found[0] != found[1] != found[2]
    assert set(found[0]) == {"suite", "suite.facts.jsonl"}
