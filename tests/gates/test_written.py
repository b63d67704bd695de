from tunewright.artifacts.verdict import Status
from tunewright.gates.written import answers_say_something, one_template, rows_are_written, template_is_timeless


def test_rows_that_lose_their_system_text_fail_and_are_named():
    verdict = rows_are_written({"a": "system", "b": "user"}, 3)
    assert verdict.status is Status.FAILED
    assert verdict.measured == "2 of 3 rows lose words (1 of the system, 1 of the user): a, b"
    assert verdict.remedy


def test_rows_that_are_written_whole_pass():
    assert rows_are_written({}, 3).status is Status.PASSED


def test_blank_answers_fail_and_are_named():
    verdict = answers_say_something(["a"], 4)
    assert verdict.status is Status.FAILED and verdict.measured == "1 of 4 rows answer with nothing: a"
    assert answers_say_something([], 4).status is Status.PASSED


def test_two_templates_that_differ_warn_and_two_alike_do_not():
    assert one_template({"chat_template.jinja": "a", "tokenizer_config.json": "b"}).status is Status.WARNED
    assert one_template({"chat_template.jinja": "a", "tokenizer_config.json": "a"}).status is Status.PASSED
    assert one_template({"tokenizer_config.json": "a"}).status is Status.PASSED


def test_a_template_that_writes_the_date_warns():
    verdict = template_is_timeless("Today is 03 Feb 2001 Hello", "Today is 30 Dec 2034 Hello")
    assert verdict.status is Status.WARNED and verdict.measured == "3 words hang on the date"
    assert template_is_timeless("Hello", "Hello").status is Status.PASSED
