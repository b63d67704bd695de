import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.suites.instruction_checks import CHECKS, BadInstructionError, follows

# Each with an answer that follows and one that does not.
CASES = [
    ("keywords:existence", {"keywords": ["sea", "C++"]}, "The Sea of c++", "The sea"),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"}, "Sea, seaside", "sea"),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "less than"}, "sea", "sea sea"),
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "a party", "An art."),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 3, "let_relation": "at least"}, "Eerie", "ear"),
    ("change_case:english_capital", {}, "ALL OF IT, 3 TIMES", "Not ALL"),
    ("change_case:english_lowercase", {}, "all of it, 3 times", "Not all"),
    ("change_case:capital_word_frequency", {"capital_frequency": 2}, "I saw NASA.", "I saw."),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one two three", "one two"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one two", "one two three"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two.", "One, two."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo\n***", "one\n\ntwo"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "however"}, "One.\n\nHowever, two.", "However.\n\nTwo.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] of [town]", "[name] of [to\nwn]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP. S. One more.", "Bye. PS"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\np.p.s. More.", "P.S. More."),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n  - two", "* one\n**two**\n* three\n- four"),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", "maybe"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and **two**", "*one* and * *"),
    ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2}, "Part 1, Part 2", "Part A"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{'a': 1}"),
    ("detectable_format:title", {}, "<<On the sea>>\nText", "<<>> <one>"),
    ("combination:two_responses", {}, "yes\n******\nno", "yes ****** yes"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. It.", "It."),
    ("startend:end_checker", {"end_phrase": "The end."}, 'It was. the end."', "The end. Or not"),
    ("startend:start_checker", {"start_phrase": "Well,"}, '"well, yes"', "Yes, well,"),
    ("startend:quotation", {}, '"yes"', 'he said "yes"'),
    ("punctuation:no_comma", {}, "one; two", "one, two"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "told", "right", "wrong"), CASES, ids=[f"{case[0]} {case[2]!r}" for case in CASES])
def test_each_check_takes_the_right_and_refuses_the_wrong(name, told, right, wrong):
    assert follows(right, name, told)
    assert not follows(wrong, name, told)
    assert not follows("  \n", name, told)


def test_every_check_but_the_optional_one_has_a_case():
    assert {case[0] for case in CASES} == CHECKS.keys() - {"language:response_language"}


@pytest.mark.parametrize(
    ("name", "told", "seen"),
    [
        ("keywords:exists", {}, "no instruction"),
        ("keywords:existence", {}, "lacks keywords"),
        ("keywords:frequency", {"keyword": "a", "frequency": 1, "relation": "at most"}, "neither"),
        ("length_constraints:number_words", {"num_words": "ten"}, "does not take"),
        ("keywords:existence", {"keywords": [1]}, "does not take"),
    ],
)
def test_an_instruction_that_cannot_be_checked_is_an_error_and_no_verdict(name, told, seen):
    with pytest.raises(BadInstructionError, match=seen):
        follows("some text", name, told)


LONG = ("*" * 200_000, "[" * 200_000, "<<" * 100_000, ". " * 100_000, "P.S" * 70_000, "******" * 30_000, "\n" * 200_000,
        "** *" * 50_000, "section " * 30_000, "a" * 200_000, "#" * 200_000)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_every_check_takes_linear_time(case):
    began = time.process_time()
    for text in LONG:
        follows(text, case[0], case[1])
    assert time.process_time() - began < 5


@given(st.text('ab.*[]<>"-, \n1#{}'), st.sampled_from(CASES))
def test_no_answer_breaks_a_check(answer, case):
    assert follows(answer, case[0], case[1]) in (True, False)
