"""The door to the parsers, and the format that a model's own template writes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tunewright.chat.render import Renderer
from tunewright.chat.tool_calls import FORMATS, ToolCall, detect_format, find_parser, model_parser, parse_answer
from tunewright.errors import ModelError

CALL = ToolCall("f", {"a": "x"})
WRITTEN = {
    "hermes": '<tool_call>{"name": "f", "arguments": {"a": "x"}}</tool_call>',
    "llama-json": '{"name": "f", "parameters": {"a": "x"}}',
    "pythonic": '[f(a="x")]',
    "mistral": '[TOOL_CALLS][{"name": "f", "arguments": {"a": "x"}}]',
    "qwen-coder": "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n</function>\n</tool_call>",
}


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_reads_its_own_calls_and_no_others(format):
    for other, text in WRITTEN.items():
        assert parse_answer(text, format).calls == ([CALL] if other == format else [])
    assert find_parser(format)(WRITTEN[format]).calls == [CALL]


def test_the_format_without_a_name_is_the_one_that_tunewright_asks_for():
    assert parse_answer(WRITTEN["hermes"]).calls == [CALL]


def test_a_call_in_a_template_that_takes_tools_is_read_in_the_form_the_template_writes():
    writers = {
        "hermes": lambda name, args: f"<tool_call>\n{json.dumps({'name': name, 'arguments': args})}\n</tool_call>",
        "llama-json": lambda name, args: f"<|python_tag|>{json.dumps({'name': name, 'parameters': args})}",
        "pythonic": lambda name, args: f"[{name}({', '.join(f'{key}={value!r}' for key, value in args.items())})]",
        "mistral": lambda name, args: f"[TOOL_CALLS]{name}[ARGS]{json.dumps(args)}",
        None: lambda name, args: f"<call>{name}</call>",
    }
    for format, writer in writers.items():

        def write(message, tools, writer=writer):
            function = message["tool_calls"][0]["function"]
            return writer(function["name"], function["arguments"])

        assert detect_format(write) == format


@pytest.mark.real_model
def test_a_model_without_a_place_for_tools_is_asked_for_hermes(smollm2_folder):
    assert detect_format(Renderer.from_folder(smollm2_folder).answer_text) == "hermes"


# What the templates of released models, as TRL ships them, write; one that is not here is read by no parser of ours.
RELEASED = {
    "llama3_1": "llama-json",
    "llama3_2": "llama-json",
    "qwen2_5": "hermes",
    "qwen3": "hermes",
    "qwen3_instruct_2507": "hermes",
    "qwen3_5_think": "qwen-coder",
    "lfm2_v2": "pythonic",
    "llama3": "hermes",  # no place for tools: asked in our way
    "glm4moe": None,
    "nemotron_3_nano": None,  # no exact mask
    "gptoss": None,
}


def trl_template(name: str) -> Path | None:
    spec = importlib.util.find_spec("trl")
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) / "chat_templates" / f"{name}.jinja" if places else None


@pytest.mark.skipif(trl_template("qwen3") is None, reason="trl is not installed")
@pytest.mark.parametrize(("name", "format"), RELEASED.items())
def test_the_templates_of_released_models_are_known_by_what_they_write(name, format, make_model):
    renderer = Renderer.from_folder(make_model(trl_template(name).read_text(encoding="utf-8")))
    assert detect_format(renderer.answer_text) == format


@pytest.mark.skipif(trl_template("qwen3") is None, reason="trl is not installed")
def test_a_models_own_response_template_comes_before_its_chat_template(make_model):
    template = trl_template("qwen3").read_text(encoding="utf-8")
    name, parse = model_parser(Renderer.from_folder(make_model(template)))
    assert (name, parse(WRITTEN["hermes"]).calls) == ("hermes", [CALL])
    fields = {
        "content": {"content": "text"},
        "tool_calls": {"open": "<tool_call>", "close": "</tool_call>", "content": "json", "repeats": True,
                       "transform": {"function": "{content}"}},
    }  # fmt: skip
    declared = {"start_anchor": "<|im_start|>assistant\n", "fields": fields}
    name, parse = model_parser(Renderer.from_folder(make_model(template, response_template=declared)))
    assert (name, parse(WRITTEN["hermes"]).calls) == ("response_template", [CALL])


@pytest.mark.skipif(trl_template("gptoss") is None, reason="trl is not installed")
def test_a_form_that_is_not_read_is_refused_and_not_scored_as_no_call(make_model):
    renderer = Renderer.from_folder(make_model(trl_template("gptoss").read_text(encoding="utf-8")))
    with pytest.raises(ModelError, match="in a form that is not read here"):
        model_parser(renderer)
