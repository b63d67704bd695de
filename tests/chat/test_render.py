# ruff: noqa: E501  # chat templates stand here as their authors write them
"""The renderer on the real SmolLM2 tokenizer and on templates that have a place for tools."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.chat.render import Renderer
from tunewright.chat.tools import INSTRUCTION
from tunewright.errors import DataError, ModelError

FUNCTION_TEXT = (
    '{"name":"get_weather","description":"Weather of a city.","parameters":{"type":"object","properties":'
    '{"city":{"type":"string"}},"required":["city"]}}'
)
TOOL = {"type": "function", "function": json.loads(FUNCTION_TEXT)}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich"}}}
QUESTION = {"role": "user", "content": "Weather in Zürich? 🎉"}
ANSWER = {"role": "assistant", "content": None, "tool_calls": [CALL]}
CALL_TEXT = '<tool_call>{"name": "get_weather", "arguments": {"city": "Zürich"}}</tool_call>'

TOOLS_TEMPLATE = """{%- if tools %}{{- '<|im_start|>system\\n' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}{{- message.content or '' }}
{%- for call in message.tool_calls or [] %}{{- '[CALL]' + call.function.name + ARGUMENTS }}{%- endfor %}
{{- '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


@pytest.fixture(scope="module")
def smol(smollm2_folder: Path) -> Renderer:
    return Renderer.from_folder(smollm2_folder)


def test_smollm2_is_known_by_its_end_of_turn_and_context(smol):
    assert smol.decode(smol.stop_token_ids) == ""
    assert smol.pieces([smol.stop_token_ids[0]]) == ["<|im_end|>"]
    assert smol.pad_token_id == 2
    assert smol.context_length == 8192
    assert not smol.tools_in_template
    assert len(smol.template_sha256) == 64


def test_text_and_tokens_equal_those_of_transformers(smol, smollm2_folder):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(smollm2_folder)
    talk = [QUESTION, {"role": "assistant", "content": "Mild."}, QUESTION, {"role": "assistant", "content": "Yes"}]
    for messages in (talk, [{"role": "system", "content": "Be brief."}, *talk]):
        rendered = smol.conversation(messages)
        assert rendered.text == theirs.apply_chat_template(messages, tokenize=False)
        assert rendered.token_ids == theirs.apply_chat_template(messages)["input_ids"]
        prompt = theirs.apply_chat_template(messages[:-1], add_generation_prompt=True)["input_ids"]
        assert smol.prompt(messages[:-1]) == prompt


def test_tools_stand_in_the_system_turn_in_the_documented_way(smol):
    rendered = smol.conversation([QUESTION, ANSWER], [TOOL])
    assert rendered.text == (
        f"<|im_start|>system\n{INSTRUCTION}\n<tools>\n{FUNCTION_TEXT}\n</tools><|im_end|>\n"
        "<|im_start|>user\nWeather in Zürich? 🎉<|im_end|>\n"
        f"<|im_start|>assistant\n{CALL_TEXT}<|im_end|>\n"
    )
    assert [rendered.text[left:right] for left, right in rendered.spans] == [f"{CALL_TEXT}<|im_end|>"]


def test_an_own_system_message_stands_before_the_tools(smol):
    own = {"role": "system", "content": "Be brief."}
    text = smol.conversation([own, QUESTION, ANSWER], [TOOL]).text
    assert text.startswith(f"<|im_start|>system\nBe brief.\n\n{INSTRUCTION}\n<tools>\n")
    assert text.count("<|im_start|>system") == 1


def test_two_calls_stand_on_two_lines_behind_the_content(smol):
    answer = {**ANSWER, "content": "Let me look.", "tool_calls": [CALL, CALL]}
    assert smol.answer_text(answer, [TOOL]) == f"Let me look.\n{CALL_TEXT}\n{CALL_TEXT}"


def test_what_a_tool_returned_comes_back_in_a_user_turn(smol):
    results = [{"role": "tool", "content": "mild"}, {"role": "tool", "content": "wet"}]
    rendered = smol.conversation([QUESTION, ANSWER, *results, {"role": "assistant", "content": "Mild, wet."}], [TOOL])
    results_text = "<tool_response>\nmild\n</tool_response>\n<tool_response>\nwet\n</tool_response>"
    assert f"<|im_start|>user\n{results_text}<|im_end|>\n" in rendered.text
    assert len(rendered.spans) == 2


def test_the_answers_tokens_decode_to_the_answers_text(smol):
    for answer in (ANSWER, {"role": "assistant", "content": "  two  spaces\n\n🎉 "}):
        ids = smol.conversation([QUESTION, answer], [TOOL]).token_ids[len(smol.prompt([QUESTION], [TOOL])) :]
        assert smol.decode(ids).removesuffix("\n") == smol.answer_text(answer, [TOOL])


@settings(max_examples=60, deadline=None)
# SmolLM2's vocabulary lacks some bytes (control characters, planes above 1): those it drops, here as everywhere.
@given(content=st.text(st.characters(max_codepoint=0x1FFFF, categories=["L", "N", "P", "S", "Zs"]), max_size=40))
def test_any_text_survives_rendering_and_decoding(smol, content):
    rendered = smol.conversation([{"role": "user", "content": content}, {"role": "assistant", "content": content}])
    assert "".join(smol.pieces(rendered.token_ids)) == rendered.text
    prompt = smol.prompt([{"role": "user", "content": content}])
    assert rendered.token_ids[: len(prompt)] == prompt


def test_text_parts_and_plain_text_render_the_same(smol):
    parts = {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}
    assert smol.prompt([parts]) == smol.prompt([{"role": "user", "content": "one\ntwo"}])


def test_worked_examples_stand_in_front_as_whole_conversations(smol):
    shots = [([QUESTION, ANSWER], [TOOL])] * 3
    prompt = smol.prompt([QUESTION], [TOOL], shots)
    text = "".join(smol.pieces(prompt))
    assert text.count(f"{CALL_TEXT}<|im_end|>\n") == 3
    assert prompt == smol.conversation([QUESTION, ANSWER], [TOOL]).token_ids * 3 + smol.prompt([QUESTION], [TOOL])


def test_worked_examples_bring_no_second_bos(make_model):
    template = "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>' + m.content + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>' }}{% endif %}"
    renderer = Renderer.from_folder(make_model(template, "llama3"))
    talk = [QUESTION, {"role": "assistant", "content": "Mild."}]
    prompt = renderer.prompt([QUESTION], shots=[(talk, None), (talk, None)])
    pieces = renderer.pieces(prompt)
    assert pieces[0] == "<|begin_of_text|>"
    assert pieces.count("<|begin_of_text|>") == 1
    assert pieces.count("<|eot_id|>") == 5


def test_a_template_with_a_place_for_tools_gets_them_natively(make_model):
    renderer = Renderer.from_folder(
        make_model(TOOLS_TEMPLATE.replace("ARGUMENTS", "(call.function.arguments | tojson)"))
    )
    assert renderer.tools_in_template
    rendered = renderer.conversation([QUESTION, ANSWER], [TOOL])
    assert INSTRUCTION not in rendered.text
    assert rendered.text.endswith('<|im_start|>assistant\n[CALL]get_weather{"city": "Zürich"}<|im_end|>\n')
    assert renderer.answer_text(ANSWER, [TOOL]) == '[CALL]get_weather{"city": "Zürich"}'


def test_a_template_that_wants_arguments_as_text_gets_text(make_model):
    renderer = Renderer.from_folder(make_model(TOOLS_TEMPLATE.replace("ARGUMENTS", "call.function.arguments")))
    assert renderer.answer_text(ANSWER, [TOOL]) == '[CALL]get_weather{"city": "Zürich"}'


def test_a_template_that_takes_tools_but_no_calls_gets_the_calls_as_text(make_model):
    template = TOOLS_TEMPLATE.replace("{{- '[CALL]' + call.function.name + ARGUMENTS }}", "")
    renderer = Renderer.from_folder(make_model(template))
    assert renderer.tools_in_template
    assert renderer.answer_text(ANSWER, [TOOL]) == CALL_TEXT


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "an empty conversation"),
        ("hello", "messages is a str"),
        (["hello"], "message 0: a str"),
        ([QUESTION], "ends with the user"),
        ([{"role": "robot", "content": "x"}], "message 0: role 'robot'"),
        ([{"role": "assistant", "content": "x"}], "message 0: the assistant opens"),
        ([QUESTION, {"role": "system", "content": "x"}, ANSWER], "message 1: a system message"),
        ([QUESTION, {"role": "assistant", "content": None}], "message 1: content is null"),
        ([QUESTION, {"role": "assistant", "content": 7}], "message 1: content is a int"),
        (
            [{"role": "user", "content": [{"type": "image"}]}, ANSWER],
            "message 0: content is a list of parts of type image",
        ),
        ([{"role": "user", "content": "\ud800"}, ANSWER], "message 0: content has half of a surrogate pair"),
        ([{**QUESTION, "tool_calls": [CALL]}, ANSWER], "message 0: tool_calls"),
        (
            [QUESTION, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}],
            "tool call 0",
        ),
    ],
)
def test_what_is_no_conversation_is_refused_with_the_message_named(smol, messages, expected):
    with pytest.raises(DataError) as caught:
        smol.conversation(messages)
    assert expected in str(caught.value)
    assert "expected:" in str(caught.value)


def test_a_prompt_that_ends_with_the_assistant_and_a_tool_without_a_name_are_refused(smol):
    with pytest.raises(DataError, match="the prompt ends with the assistant"):
        smol.prompt([QUESTION, ANSWER])
    with pytest.raises(DataError, match="tool 0"):
        smol.prompt([QUESTION], [{"description": "x"}])


TALKS = {
    "one turn": [QUESTION, {"role": "assistant", "content": "Mild."}],
    "two turns": [
        QUESTION,
        {"role": "assistant", "content": "Mild."},
        QUESTION,
        {"role": "assistant", "content": "Wet."},
    ],
    "thinking": [
        QUESTION,
        {"role": "assistant", "content": "Mild.", "reasoning_content": "hm"},
        QUESTION,
        {"role": "assistant", "content": "Wet.", "reasoning_content": "so"},
    ],
    "call": [QUESTION, {**ANSWER, "content": "", "tool_calls": [{"id": "abcdefghi", **CALL}]}],
}


def trl_templates() -> list[Path]:
    """The chat templates of about forty released models, as TRL ships them."""
    spec = importlib.util.find_spec("trl")
    places = spec.submodule_search_locations if spec else None
    return sorted((Path(places[0]) / "chat_templates").glob("*.jinja")) if places else []


@pytest.mark.skipif(not trl_templates(), reason="trl is not installed")
def test_released_templates_are_rendered_as_transformers_does_and_masked_exactly_or_refused(make_model):
    from transformers import AutoTokenizer

    exact = 0
    for file in trl_templates():
        folder = make_model(file.read_text(encoding="utf-8"))
        try:
            renderer = Renderer.from_folder(folder)
        except ModelError:  # templates for images take no plain text
            continue
        theirs = AutoTokenizer.from_pretrained(folder)
        for name, talk in TALKS.items():
            tools = [TOOL] if name == "call" else None
            try:
                rendered = renderer.conversation(talk, tools)
            except ModelError as error:
                assert "no exact mask" in str(error) or "refuses the conversation" in str(error), file.name
                continue
            exact += 1
            prompt = renderer.prompt(talk[:-1], tools)
            assert rendered.token_ids[: len(prompt)] == prompt, file.name
            assert rendered.trained[len(prompt)], file.name
            said = [rendered.text[left:right] for left, right in rendered.spans]
            wanted = ["get_weather"] if tools else ["Mild.", "Wet."][: len(talk) // 2]
            assert all(word in "".join(said) for word in wanted), file.name
            assert "Weather in" not in "".join(said), file.name
            if not tools or (renderer.tools_in_template and "<tool_call>{" not in said[0]):
                assert rendered.text == theirs.apply_chat_template(talk, tools=tools, tokenize=False), file.name
    assert exact >= 150


def test_rendering_needs_no_torch_and_no_transformers(smollm2_folder):
    code = (
        "import sys; from pathlib import Path; from tunewright.chat.render import Renderer;"
        f"Renderer.from_folder(Path({str(smollm2_folder)!r})).prompt([{{'role': 'user', 'content': 'x'}}]);"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
