"""What fuzzing and hostile use have found, one test each. Every input here once ended in a traceback or a hang."""

import json
import time
import zipfile

import pytest

from tunewright.artifacts.files import JsonlAppender, read_jsonl, write_jsonl
from tunewright.artifacts.rundir import RunFolder
from tunewright.artifacts.scores import Scores
from tunewright.chat.folder import read_folder
from tunewright.chat.template import ChatTemplate
from tunewright.cli.compare import read_side
from tunewright.cli.references import find_model
from tunewright.errors import DataError, EnvironmentProblem, ModelError, RecipeError, RunFolderError, UserError

HELLO = [{"role": "user", "content": "Hello"}]
SCORE = {
    "id": "a", "group": "", "source": "", "question": "", "reference": "", "answer": "", "scores": {"match": 1.0},
    "reason": "", "prompt_sha256": "", "prompt_tokens": 0, "answer_tokens": 0, "finish": "stop", "seconds": 0.0,
}  # fmt: skip


def seconds_of(call):
    began = time.process_time()
    call()
    return time.process_time() - began


# ── templates ───────────────────────────────────────────────────────────────────────────────────────────────────────

DOUBLED = "".join("{% set x = x ~ x %}" for _ in range(40))
NESTED = "".join(f"{{% set l{n + 1} = [{', '.join([f'l{n}'] * 9)}] %}}" for n in range(12))


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% set x = 'ab' %}" + DOUBLED,
        "{% set ns = namespace(x='ab') %}{% for a in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for a in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for a in range(99) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"
        "{% endfor %}",
        "{% set l0 = 'ab' %}" + NESTED + "{{ l12 }}",
        "{% set l0 = 'ab' %}" + NESTED + "{{ l12 | tojson }}",
        "{% set l0 = 'ab' %}" + NESTED + "{{ l12 ~ 'a' }}",
        "{% set l0 = 'ab' %}" + NESTED + "{{ l12 | string | length }}",
        "{{ 'a' | center(9999999999) }}",
        "{{ 'a'.ljust(9999999999) }}",
        "{{ ('a\n' * 9999) | indent(9999999999) }}",
        "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
        "{{ ('a' * 99999) | replace('a', 'b' * 99999) }}",
        "{{ range(99999) | join('b' * 99999) }}",
        "{{ ('b' * 99999).join(range(99999) | map('string') | list) }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '%*d' % (9999999999, 1) }}",
        "{{ '{:9999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 9999999999) }}",
        "{{ '%9999999999d' | format(1) }}",
        "{{ ('{0}' * 9999).format('a' * 999999) }}",
        "{{ messages | tojson(indent=9999999999) }}",
        "{{ [1] | batch(9999999999, 'x') | list }}",
        "{{ 1.5 | round(999999999, 'floor') }}",
        "{{ (1).to_bytes(9999999999, 'big') }}",
        "{{ range(99999) | batch(1) | sum(start=[]) }}",
        "{% set ns = namespace(x=9) %}{% for a in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{{ lipsum(n=999999) }}",
        "{{ messages | pprint }}",
    ],
)
def test_a_template_that_runs_or_grows_without_end_is_stopped(template):
    def render():
        with pytest.raises(ModelError, match=r"the chat template fails|No filter named"):
            ChatTemplate(template).render(HELLO)

    assert seconds_of(render) < 60


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in [1] %}" * 21 + "{% endfor %}" * 21,  # more blocks than Python nests
        "{{ dict(a=1, a=2) }}",
        "{{ " + "9" * 5000 + " }}",
        "{% set x = 1e999 %}{{ x }}",  # Python writes it as a name
        "{{ f(__debug__=1) }}",
        "{{ raise_exception(messages) }}",
        "{{ strftime_now('%Y' * 99999) }}",
        "{{ 'a' is divisibleby(0) }}",
    ],
)
def test_a_template_that_python_cannot_take_is_refused(template):
    with pytest.raises(ModelError):
        ChatTemplate(template).render(HELLO)


def test_a_long_conversation_is_far_below_the_bounds_of_a_template():
    template = (
        "{% set ns = namespace(all=[], last='') %}{% for m in messages %}{% set ns.all = ns.all + [m] %}"
        "{% set ns.last = m.content | trim %}<|im_start|>{{ m.role ~ '\n' ~ m.content.split('</think>')[-1] }}"
        "<|im_end|>\n"
        "{% endfor %}"
    )
    messages = [{"role": "user", "content": "x" * 1000}] * 2000
    assert len(ChatTemplate(template).render(messages)) > 2_000_000


# ── readers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tags_that_are_never_closed_are_read_in_linear_time(tmp_path):
    from tunewright.sources.files import read_file
    from tunewright.sources.ranking.read import read_ranking_set

    turns = [{"from": "system", "value": "<tools>" * 100_000}, {"from": "human", "value": "<tools>"}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"conversations": [*turns, {"from": "gpt", "value": "a"}]}))
    assert seconds_of(lambda: list(read_file(tmp_path / "rows.jsonl"))) < 5
    for name in ("documents", "topics", "qrels"):
        (tmp_path / name).write_text("<doc><top>" * 100_000 + "<docno>1</docno></doc><num>1</num></top>")
    with pytest.raises(DataError):
        read_ranking_set([tmp_path / name for name in ("documents", "topics", "qrels")])


def test_a_header_of_very_many_columns_is_read_in_linear_time(tmp_path):
    from tunewright.sources.files import look

    (tmp_path / "rows.csv").write_text(",".join(map(str, range(100_000))) + "\n")
    with pytest.raises(DataError):
        look(tmp_path / "rows.csv")


def test_an_entity_with_thousands_of_digits_stays_as_it_is(tmp_path):
    from tunewright.sources.ranking.read import read_ranking_set

    (tmp_path / "d").write_text("<doc><docno>1</docno><text>&#" + "9" * 5000 + ";</text></doc>")
    (tmp_path / "t").write_text("<top><num>1</num><title>q</title></top>")
    (tmp_path / "q").write_text("1 0 1 1\n")
    assert read_ranking_set([tmp_path / name for name in "dtq"]).documents["1"].startswith("&#999")


def test_rows_that_cannot_be_written_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_jsonl(tmp_path / "out.jsonl", iter([{"a": 1}, {"a": float("nan")}]))
    assert list(tmp_path.iterdir()) == []
    assert write_jsonl(tmp_path / "out.jsonl", [{"a": "\ud800"}]) == 1
    assert [row for _, row in read_jsonl(tmp_path / "out.jsonl")] == [{"a": "\ud800"}]


@pytest.mark.parametrize("line", [b"\xff\n", b"[1]\n", b"[" * 100_000 + b"\n", b"3\n"])
def test_a_line_that_is_no_answer_ends_what_is_taken_up_again(line, tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"id": "a"}\n' + line + b'{"id": "b"}\n')
    with JsonlAppender(path) as file:
        assert file.existing == [{"id": "a"}]
        file.append([{"id": "c"}])
    assert [row["id"] for _, row in read_jsonl(path)] == ["a", "c"]


@pytest.mark.parametrize("change", [{"scores": 3}, {"finish": None}, {"new": 1}])
def test_a_damaged_line_of_scores_is_named(change, tmp_path):
    (tmp_path / "scores.jsonl").write_text(json.dumps({**SCORE, **change}) + "\n")
    with pytest.raises(DataError, match=r"scores\.jsonl:1: not a scored row"):
        list(Scores.model_construct(folder=tmp_path).rows())


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 1e308])
def test_a_score_that_is_no_usable_number_is_refused(score, tmp_path):
    (tmp_path / "scores.jsonl").write_text(json.dumps({**SCORE, "scores": {"match": score}}) + "\n")
    with pytest.raises(DataError, match="the score 'match' is"):
        read_side(str(tmp_path / "scores.jsonl"))


@pytest.mark.parametrize("arguments", [[3], [{"a": 1}], [[]], "x", {"a": 3}])
def test_a_logged_prompt_of_another_form_is_no_prompt(arguments, tmp_path):
    line = {"doc_id": 1, "doc": {}, "target": "", "arguments": arguments, "acc": 1.0}
    (tmp_path / "samples_x.jsonl").write_text(json.dumps(line) + "\n")
    assert read_side(str(tmp_path / "samples_x.jsonl")).rows[0].scores == {"acc": 1.0}


def test_a_log_packed_by_a_method_that_is_broken_is_refused(tmp_path):
    path = tmp_path / "x.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("samples/1.json", '{"id": 1}' * 50)
    data = bytearray(path.read_bytes())
    data[60:80] = b"\xff" * 20
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"zip|unpacked|JSON"):
        read_side(str(path))


@pytest.mark.parametrize("config", ["[]", "3", '"x"', "[" * 100_000])
def test_an_adapter_whose_config_is_no_object_is_refused(config, tmp_path):
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(UserError):
        find_model(str(tmp_path))


def test_a_run_folder_that_somebody_else_wrote_is_refused(tmp_path):
    for stages in ([3], [{"evaluate": {}}], [{"evaluate": 3}]):
        (tmp_path / "recipe.resolved.json").write_text(json.dumps({"stages": stages}))
        with pytest.raises(RunFolderError, match="damaged"):
            RunFolder(tmp_path).stage_ids()


def test_a_result_that_is_none_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="not a result"):
        Scores.load(tmp_path, {"model": 3})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("generation_config.json", '{"eos_token_id": [-1, 99999999999999999999]}'),
        ("tokenizer_config.json", '{"eos_token": "\\ud800", "chat_template": "x"}'),
    ],
)
def test_strange_tokens_of_a_model_are_left_out(name, text, tmp_path):
    from benchmarks.fuzz_corpus import tokenizer_files

    for other, content in tokenizer_files().items():
        (tmp_path / other).write_text(content)
    (tmp_path / name).write_text(text)
    assert all(0 <= token < 2**31 for token in read_folder(tmp_path).stop_token_ids)


def test_a_file_of_a_model_that_is_nested_too_deep_is_refused(tmp_path):
    from benchmarks.fuzz_corpus import tokenizer_files

    for other, content in tokenizer_files().items():
        (tmp_path / other).write_text(content)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match="broken JSON"):
        read_folder(tmp_path)


def test_a_broken_file_of_a_package_is_the_machines_fault(tmp_path):
    from tunewright.sources.bfcl import read_category

    (tmp_path / "BFCL_v4_irrelevance.json").write_text('{"id": "a"}\n')
    with pytest.raises(EnvironmentProblem, match="cannot be read"):
        list(read_category(tmp_path, "irrelevance"))


def test_a_name_that_no_file_can_have_is_no_file(tmp_path):
    from tunewright.graders.load import read_spec
    from tunewright.sources.records import read_records

    path = tmp_path / ("a" * 5000 + ".json")
    for read in (read_jsonl, read_records):
        with pytest.raises(DataError, match="no such file"):
            list(read(path))
    with pytest.raises(DataError, match="no such file"):
        read_spec(path)


# ── graders, suites, recipes ────────────────────────────────────────────────────────────────────────────────────────


def test_anchors_that_multiply_do_not_fill_the_memory(tmp_path):
    from tunewright.graders.load import read_spec

    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join(['*' + old] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    (tmp_path / "grader.yaml").write_text("\n".join([*lines, "type: regex", "pattern: *i"]))
    with pytest.raises(UserError, match="more than 20000 values"):
        read_spec(tmp_path / "grader.yaml")


@pytest.mark.parametrize("kind", [[], {}, None, 3])
def test_a_grader_whose_type_is_no_text_is_refused(kind, tmp_path):
    from tunewright.graders.load import read_spec

    (tmp_path / "grader.json").write_text(json.dumps({"type": kind}))
    with pytest.raises(UserError):
        read_spec(tmp_path / "grader.json")


def test_a_prompt_of_a_suite_that_runs_without_end_is_stopped():
    from tunewright.suites.rows import render

    with pytest.raises(DataError, match="the template of the prompt fails"):
        render("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", {}, "row 1")


def test_a_recipe_without_end_is_not_read(tmp_path):
    from tunewright.recipe.load import load_recipe

    (tmp_path / "r.yaml").write_text("a" * 2_000_000)
    with pytest.raises(RecipeError, match="more than 1 MiB"):
        load_recipe(tmp_path / "r.yaml")


# ── what a hostile user, log or server does to the command line ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host/v1#m", "https://host/v1?key=hunter2#m", "http://host/v1?key=hunter2",
        "http://user:hunter2@host/v1",
    ],
)  # fmt: skip
def test_a_secret_in_a_url_stands_in_no_message_and_no_folder(url, tmp_path, capsys):
    from tunewright.cli.main import main

    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "Hi", "completion": "Hello"}) + "\n")
    arguments = ["--rows", str(tmp_path / "rows.jsonl"), "--output", str(tmp_path / "evals")]
    assert main(["eval", url, "exact-match", *arguments]) == 2
    told = capsys.readouterr()
    assert "hunter2" not in told.out + told.err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_secret_in_the_url_of_a_recipe_is_refused_unseen():
    from tunewright.recipe.load import parse_recipe

    text = (
        "recipe: r\nmodel: ./m\nstages:\n  - data: {sources: [{type: bfcl}]}\n  - evaluate:\n      rows: data.test\n"
        "      backend: openai\n      endpoint: {url: 'https://user:hunter2@host/v1', model: m}\n"
    )
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r.yaml", None)
    assert "***@host" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://host:99999999/v1#m", "http://[::1/v1#m", "http://#m", "http://a b/v1#m"])
def test_a_url_of_no_server_is_refused(url):
    from tunewright.backends.http import checked_url

    with pytest.raises(UserError, match="no URL of a server"):
        checked_url(url.partition("#")[0])


def test_an_answer_with_the_key_or_half_a_character_is_cleaned_at_the_door():
    from tunewright.backends.http import Poster
    from tunewright.backends.wire import Answer

    poster = Poster("http://127.0.0.1/v1", api_key="sk-hunter2")
    assert poster._storable(Answer("it is sk-hunter2 \ud800", "stop", None)).text == "it is *** ?"


def test_ids_of_a_log_cannot_steer_the_terminal(tmp_path, capsys):
    from tunewright.cli.main import main

    for name, row_id in (("a", "\x1b[31mred"), ("b", "other")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({**SCORE, "id": row_id}) + "\n")
    assert main(["compare", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]) == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "⟨U+001B⟩[31mred" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rows", "999999999999999999999"], ["--confidence", "0.9999999999999999"], ["--cluster-size", "inf"],
        ["--cluster-size", "1e300", "--icc", "1"], ["--discordance", "1e-300"], ["--power", "nan"],
    ],
)  # fmt: skip
def test_power_refuses_numbers_that_no_evaluation_has(arguments, capsys):
    from tunewright.cli.main import main

    assert main(["power", *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_path_that_no_file_can_have_is_the_users_mistake(capsys):
    from tunewright.cli.main import main

    assert main(["compare", "a" * 5000, "b"]) == 2
    assert main(["data", "stats", "a" * 5000]) == 2
    assert main(["check", "a" * 5000, "--static"]) == 2


def test_settings_that_cannot_be_tried_are_named(tmp_path):
    from tunewright.cli.evaluating import section_of
    from tunewright.cli.tuning import applied

    with pytest.raises(UserError, match="cannot be tried"):
        applied(section_of("exact-match", None, []), {"temperature": 99.0})


def test_fields_of_an_endpoint_can_be_set_where_the_argument_names_it():
    from tunewright.cli.evaluating import section_of, target_of

    section = section_of("exact-match", None, ["endpoint.api_key_env=KEY"])
    endpoint = target_of("http://127.0.0.1:1/v1#m", section).section.endpoint
    assert (endpoint.url, endpoint.model, endpoint.api_key_env) == ("http://127.0.0.1:1/v1", "m", "KEY")
    with pytest.raises(UserError, match="it is no endpoint"):
        target_of("smollm2-135m-instruct", section)
