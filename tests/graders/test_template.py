import pytest

from tunewright.graders.protocol import Sample
from tunewright.graders.template import Unscored, check_template, render, value_of

CALL = '<tool_call>\n{"name": "look", "arguments": {"city": "Oslo"}}\n</tool_call>'


def test_variables_are_filled_in_and_the_rest_stays():
    text = render("{{ item.a }} and {{sample.output_text}}!", Sample("hello"), {"a": "x"})
    assert text == "x and hello!"


def test_paths_go_into_objects_and_lists():
    item = {"a": {"b": [{"c d": 7}]}}
    assert render('{{ item.a.b[0]["c d"] }}', Sample(""), item) == "7"
    assert render("{{ item.a.b.0 }}", Sample(""), item) == '{"c d": 7}'
    assert render("{{ item.a.b[-1]['c d'] }}", Sample(""), item) == "7"


def test_json_and_tool_calls_of_the_answer_can_be_reached():
    assert render("{{ sample.output_json.n }}", Sample('{"n": 3}'), {}) == "3"
    assert render("{{ sample.output_tools[0].function.name }}", Sample(CALL), {}) == "look"
    assert render("{{ sample.output_tools[0].function.arguments }}", Sample(CALL), {}) == '{"city": "Oslo"}'
    assert render("{{ sample.choices[0].message.content }}", Sample("hi"), {}) == "hi"


def test_what_is_filled_in_is_never_read_as_a_template():
    assert render("{{ item.a }}", Sample("secret"), {"a": "{{ sample.output_text }}"}) == "{{ sample.output_text }}"


def test_a_template_of_one_variable_can_be_taken_as_its_value():
    assert value_of("{{ item.a }}", Sample(""), {"a": [1, 2]}) == [1, 2]
    assert value_of(" {{ item.a }}", Sample(""), {"a": [1, 2]}) == " [1, 2]"


@pytest.mark.parametrize(
    ("template", "kind"),
    [
        ("{{ item.b }}", "invalid_variable_error"),
        ("{{ item.a.b }}", "invalid_variable_error"),
        ("{{ item.none }}", "invalid_variable_error"),
        ("{{ sample.output_json.x }}", "sample_parse_error"),
        ("{{ sample.output_tools[0] }}", "sample_parse_error"),
    ],
)
def test_a_variable_that_is_not_there_is_an_error_and_never_an_empty_text(template, kind):
    with pytest.raises(Unscored) as caught:
        render(template, Sample("no json"), {"a": "x", "none": None})
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "template",
    [
        "{{ item.a",
        "{{ name }}",
        "{{ item }}",
        "{{ sample.text }}",
        "{{ sample }}",
        "{{ item.a | upper }}",
        "{{ item.a() }}",
        "{{ item.a + 1 }}",
        "{{ item.__class__['x }}",
    ],
)
def test_a_wrong_template_is_refused_when_the_file_is_read(template):
    with pytest.raises(ValueError):
        check_template(template)


def test_dunder_names_are_only_keys():
    with pytest.raises(Unscored):
        render("{{ item.__class__.__mro__ }}", Sample(""), {"a": 1})


def test_a_template_of_many_open_braces_is_read_in_linear_time():
    with pytest.raises(ValueError, match="never closed"):
        check_template("{{" * 40_000)
