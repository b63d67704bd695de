"""Answers read by transformers, as a model's own `response_template` says."""

from __future__ import annotations

import json

import pytest

from tunewright.chat.tool_parsers.parsed import ToolCall
from tunewright.chat.tool_parsers.response_template import ResponseTemplate
from tunewright.errors import ModelError

# The form that transformers itself falls back to for Qwen 3 and Qwen 3.5 (cli/serving/utils.py of 5.23).
QWEN3 = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"\s*(?:<\|im_end\|>)", "content": "text"},
    },
}
CALLS = {
    "open_pattern": r"\s*<tool_call>\s*<function=(?P<name>[^>\n]+)>",
    "close_pattern": r"</function>\s*</tool_call>",
    "repeats": True,
    "content": "xml-inline",
    "content_args": {"tag_pattern": r"<parameter=(?P<key>[^>\n]+)>\s*(?P<value>.*?)\s*</parameter>"},
    "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
}
QWEN35 = {**QWEN3, "fields": {**QWEN3["fields"], "tool_calls": CALLS}}
PROMPT = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
F = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'


def test_calls_are_read_as_the_template_says():
    parsed = ResponseTemplate(QWEN3).parse(f"Sure.\n{F}\n{F}", prompt=PROMPT)
    assert parsed.calls == [ToolCall("f", {"a": 1})] * 2
    assert (parsed.malformed, parsed.stray, parsed.regions) == ([], "Sure.", 2)


def test_a_field_that_the_prompt_opened_is_not_taken_for_the_answer():
    parsed = ResponseTemplate(QWEN3).parse(f"I could write {F}</think>\nNo.", prompt=PROMPT + "<think>\n")
    assert (parsed.regions, parsed.stray) == (0, "No.")


def test_the_schema_gives_the_values_their_types():
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}}]
    text = "<tool_call>\n<function=f>\n<parameter=a>\n7\n</parameter>\n</function>\n</tool_call>"
    template = ResponseTemplate(QWEN35)
    assert template.parse(text, tools, PROMPT).calls == [ToolCall("f", {"a": 7})]
    assert template.parse(text, (), PROMPT).calls == [ToolCall("f", {"a": "7"})]


@pytest.mark.parametrize("broken", ["{f}", '{"name": "f", "arguments": {}', "[" * 5000, ""])
def test_calls_before_a_broken_one_are_kept_and_all_behind_it_is_one_region(broken):
    rest = f"<tool_call>{broken}</tool_call>\n{F}"
    parsed = ResponseTemplate(QWEN3).parse(f"{F}\n{rest}", prompt=PROMPT)
    assert parsed.calls == [ToolCall("f", {"a": 1})]
    assert len(parsed.malformed) == 1
    assert parsed.malformed[0].endswith(F)


@pytest.mark.parametrize(
    "call", ['{"name": "f"}', '{"name": 7, "arguments": {}}', '{"name": "f", "arguments": "{}"}', "7"]
)
def test_an_object_that_is_no_call_is_malformed(call):
    parsed = ResponseTemplate(QWEN3).parse(f"<tool_call>{call}</tool_call>\n{F}", prompt=PROMPT)
    assert parsed.calls == [ToolCall("f", {"a": 1})]
    assert parsed.regions == 2


def test_an_answer_too_long_to_trust_a_pattern_with_is_malformed():
    assert ResponseTemplate(QWEN35).parse("<parameter=a>" * 20_000).malformed


def test_a_tokenizer_without_a_template_has_none_and_a_wrong_one_names_its_file(tmp_path):
    assert ResponseTemplate.of_folder(tmp_path) is None
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"eos_token": "x"}))
    assert ResponseTemplate.of_folder(tmp_path) is None
    config.write_text(json.dumps({"response_template": QWEN3}))
    assert ResponseTemplate.of_folder(tmp_path).parse(F, prompt=PROMPT).calls == [ToolCall("f", {"a": 1})]
    config.write_text(json.dumps({"response_template": {"fields": {"content": {"conten": "text"}}}}))
    with pytest.raises(ModelError, match=r"tokenizer_config.json: its response_template cannot be used"):
        ResponseTemplate.of_folder(tmp_path)
