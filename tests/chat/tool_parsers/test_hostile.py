"""What every parser promises: any text is read, every region is counted, and no text takes long."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.chat.tool_calls import FORMATS, parse_answer

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "array"}}}}}]
MARKS = [
    "<tool_call>", "</tool_call>", "<|python_tag|>", "<|python_start|>", "<|python_end|>", "[TOOL_CALLS]", "[ARGS]",
    "<function=f>", "<function=", "</function>", "<parameter=a>", "<parameter=", "</parameter>",
]  # fmt: skip
PIECES = [
    *MARKS, '{"name": "f", "arguments": ', '{"name": "f", "parameters": ', "{}", "{", "}", "[", "]", "(", ")", "f(",
    "[f(a=", "f()", '"', "'", "\\", ",", ";", "=", ":", "-", "1", "NaN", "1e9", " ", "\n", "\ud800", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=30).map("".join))
def test_any_text_is_read_without_a_crash_and_every_region_is_counted(format, text):
    parsed = parse_answer(text, format, TOOLS)
    assert parsed.regions == len(parsed.raw) == len(parsed.calls) + len(parsed.malformed)
    assert all(raw for raw in parsed.raw)
    assert all(raw in text for raw in parsed.raw)
    assert sum(map(len, parsed.raw)) + len(parsed.stray) <= len(text)
    json.dumps([call.arguments for call in parsed.calls], allow_nan=False, ensure_ascii=False).encode()


REPEATED = [
    *PIECES, "[[", '{"', '{"a":', '{"a":"\\', '<tool_call>{"', '<tool_call>"</tool_call>', "<tool_call></tool_call>",
    "<tool_call>" + "[" * 900, "<tool_call>" + " " * 500, "[TOOL_CALLS][", "[TOOL_CALLS][{}", "[TOOL_CALLS]f[ARGS]",
    "[TOOL_CALLS]" + "f" * 300, "<tool_call><function=f>", "<tool_call><function=f><parameter=a>", "<function=f",
    "<tool_call><function=f><parameter=a>[", "[f(a='", "f(a=[1],", "(" * 70 + ")" * 70, "{};", "{};<|python_tag|>",
    '{"name": "f", "parameters": {}};', "<|python_start|>[f(", "<|python_start|>[f()]",
]  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_a_long_hostile_text_takes_little_time(format):
    for start in ("", "[f(), "):
        for piece in REPEATED:
            begin = time.process_time()
            parse_answer(start + piece * (60_000 // len(piece)), format, TOOLS)
            assert time.process_time() - begin < 4, piece[:40]
