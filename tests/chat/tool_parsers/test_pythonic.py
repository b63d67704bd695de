"""Calls as Python: read from the syntax tree, never evaluated."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.chat.tool_parsers.parsed import ToolCall
from tunewright.chat.tool_parsers.pythonic import parse

GOOD = ToolCall("f", {"a": 1})


def test_calls_are_read_in_order_with_every_kind_of_literal():
    parsed = parse("""[maths.f(a=-1, b=2.5, c="x, ]", d='it\\'s', e=[1, (2, None)], g={"k": True, 'l': {}},), g()]""")
    arguments = {"a": -1, "b": 2.5, "c": "x, ]", "d": "it's", "e": [1, [2, None]], "g": {"k": True, "l": {}}}
    assert parsed.calls == [ToolCall("maths.f", arguments), ToolCall("g", {})]
    assert (parsed.malformed, parsed.stray) == ([], "")
    assert parsed.raw[1] == "g()"


@pytest.mark.parametrize(
    ("text", "stray"),
    [
        (" [ f(a = 1) ] ", ""),
        ("[f(a=1),]", ""),
        ("[\n  f(\n a=1\n)\n]", ""),
        ("[f(a=1)] Done.", "Done."),
        ("<|python_start|>[f(a=1)]<|python_end|>", ""),
        ("Sure. <|python_start|>\n[f(a=1)]\n<|python_end|> Done.", "Sure.  Done."),
        ("<|tool_call_start|>[f(a=1)]<|tool_call_end|>Looking.", "Looking."),
    ],
)
def test_the_list_stands_alone_or_between_tags(text, stray):
    parsed = parse(text)
    assert (parsed.calls, parsed.malformed, parsed.stray) == ([GOOD], [], stray)


@pytest.mark.parametrize(
    "text", ["", "The area is 25.", "[]", "[1] says so", "[Note: f(a=1)]", "f(a=1)", "Use [f(a=1)].", '["f"]', "[1f()]"]
)
def test_an_answer_in_words_has_no_region(text):
    assert parse(text).regions == 0


@pytest.mark.parametrize(
    "call",
    [
        "f(1)",
        "f(a)",
        "f(a=b)",
        "f(a=1, a=2)",
        "f(**{'a': 1})",
        "f(*[1])",
        "f(a=g())",
        "f(a=1+1)",
        "f(a=2**99)",
        "f(a=f'{1}')",
        "f(a=b'x')",
        "f(a=1j)",
        "f(a={1})",
        "f(a={1: 2})",
        "f(a={'k': 1, 'k': 2})",
        "f(a={**{}})",
        "f(a=...)",
        "f(a=1e999)",
        "f(a=-True)",
        "f(a=true)",
        "f(a='\\ud800')",
        "f(a=[x for x in y])",
        "f(a=lambda: 1)",
        "f(a=(b:=1))",
        "f()()",
        "f()[0]",
        "f().g()",
        "f(a=1) or g()",
        "f(a=1",
        "f(a='",
        "f(a=" + "9" * 5000 + ")",
        "f(a=0x" + "f" * 90_000 + ")",
        "f(a=" + "[" * 70 + "]" * 70 + ")",
        "f(a=" + "[" * 90_000 + "]" * 90_000 + ")",
        "f(a=" + "-" * 90_000 + "1)",
        "f(a=" + "not " * 20_000 + "1)",
        "f(a=b" + ".b" * 40_000 + ")",
        "f(a=" + "1+" * 40_000 + "1)",
        "f(a='" + "x" * 100_001 + "')",
        "f(a='\x00')",
    ],
)
def test_what_is_more_or_less_than_a_call_with_literals_is_malformed(call):
    parsed = parse(f"[f(a=1), {call}]")
    assert parsed.calls == [GOOD]
    assert parsed.regions == 2


@pytest.mark.parametrize(
    "text", ["[f(a=1), , f(a=1)]", "[f(a=1), ", "[f(a=1) f(a=1)]", "[f(a=1)", "<|python_start|>f(a=1)"]
)
def test_a_list_that_is_broken_or_left_open_is_malformed(text):
    assert parse(text).malformed


def test_a_piece_that_is_broken_leaves_the_others():
    assert parse("[g(1), f(a=1)]").calls == [GOOD]


names = st.sampled_from(["f", "get_weather", "maths.area", "a.b_1.c", "Größe", "城市"])
keys = st.text("abc_", min_size=1, max_size=4)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@given(st.lists(st.tuples(names, st.dictionaries(keys, values, max_size=3)), min_size=1, max_size=3))
@settings(max_examples=50)
def test_calls_that_python_writes_are_read_back_as_they_were(calls):
    arguments = [", ".join(f"{key}={value!r}" for key, value in args.items()) for _, args in calls]
    written = ", ".join(f"{name}({inner})" for (name, _), inner in zip(calls, arguments, strict=True))
    parsed = parse(f"[{written}]")
    assert [(call.name, call.arguments) for call in parsed.calls] == calls
    assert parsed.malformed == []
