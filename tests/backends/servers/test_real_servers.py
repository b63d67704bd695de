"""The real servers that are installed, spoken to by the official `openai` client and by our backend.

Each loads SmolLM2 once. A server whose packages live in another Python is found through the variable
TUNEWRIGHT_PYTHON_MLX, TUNEWRIGHT_PYTHON_LLAMA_CPP, ...; one that is not installed is skipped.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tunewright.backends.openai import OpenAIBackend
from tunewright.backends.protocol import Prompt, Sampling
from tunewright.backends.servers.kinds import KINDS
from tunewright.backends.servers.manager import start_server
from tunewright.backends.servers.running import servers
from tunewright.backends.wire import read_answer, wire_messages

ALIAS = "smollm2-135m-instruct"
ASKED = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
TEMPLATE = """\
{%- if tools %}<|im_start|>system
You may call functions. They are:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
Write a call as <tool_call>
{"name": ..., "arguments": ...}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content or "" }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def folder(smollm2_folder, tmp_path_factory):
    """SmolLM2 with a chat template of the Hermes family: its own leaves tools out."""
    folder = tmp_path_factory.mktemp("models") / "smollm2-hermes"
    folder.mkdir()
    for path in smollm2_folder.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="module", params=["transformers", "llama.cpp", "mlx"])
def server(request, folder):
    pytest.importorskip("openai")
    kind = KINDS[request.param]
    python = os.environ.get(f"TUNEWRIGHT_PYTHON_{request.param.upper().replace('.', '_')}", sys.executable)
    if not kind.is_installed(python):
        pytest.skip(f"{request.param} is not installed: {kind.install}")
    is_gguf = request.param == "llama.cpp"
    one_thread = ["--threads", "1"]  # more than one wait for each other, spinning, beside other tests
    options = [*one_thread, "--chat-template-file", str(folder / "chat_template.jinja")] if is_gguf else []
    before = os.environ.get("XDG_RUNTIME_DIR")
    with tempfile.TemporaryDirectory() as runtime:
        os.environ["XDG_RUNTIME_DIR"] = runtime
        ref = ALIAS if is_gguf else str(folder)
        with start_server(ref, kind, python=python, options=options, wait_seconds=300) as server:
            yield server
        assert servers() == [] and not any(path.is_file() for path in Path(runtime).rglob("*"))
    os.environ.pop("XDG_RUNTIME_DIR") if before is None else os.environ.update(XDG_RUNTIME_DIR=before)


@pytest.fixture(scope="module")
def client(server):
    from openai import OpenAI

    with OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=600) as client:
        yield client


def test_the_official_client_chats(client, server):
    answer = client.chat.completions.create(model=server.model, messages=ASKED, max_tokens=16, temperature=0)
    assert answer.choices[0].message.content and answer.usage.prompt_tokens > 10
    assert answer.choices[0].finish_reason in ("stop", "length")


def test_the_official_client_streams_the_same_words(client, server):
    settings = {"model": server.model, "messages": ASKED, "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**settings).choices[0].message.content
    parts = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(stream=True, **settings)
        if chunk.choices
    ]
    assert "".join(parts).strip() == whole.strip() and len(parts) > 2


def test_the_official_client_gives_tools_and_the_call_reads_the_same_from_every_server(client, server):
    messages = []
    for city in ("Rome", "Oslo"):
        call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": city}}}
        messages.append({"role": "user", "content": f"What is the weather in {city}?"})
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
    messages.append({"role": "user", "content": "What is the weather in Paris?"})
    settings = {"model": server.model, "max_tokens": 40, "temperature": 0, "tools": [WEATHER]}
    answer = client.chat.completions.create(messages=wire_messages(messages), **settings)
    if server.state.kind == "llama.cpp":  # it takes the call out of the text; the others leave it in, for this model
        (call,) = answer.choices[0].message.tool_calls
        assert call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "Paris"}
    written = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    assert read_answer(answer.model_dump()).text == written


def test_the_official_client_gets_a_clean_error_and_the_server_goes_on(client, server):
    from openai import APIStatusError

    with pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(model=server.model, messages="no list", max_tokens=4)
    assert 400 <= refused.value.status_code < 600
    again = client.with_options(max_retries=2)  # after an error 500 `transformers serve` closes the connection
    assert again.chat.completions.create(model=server.model, messages=ASKED, max_tokens=2).choices


def test_our_backend_gets_an_answer_a_row_and_the_server_reads_the_prompt_that_we_render(server, folder):
    from tunewright.chat.render import Renderer

    renderer = Renderer.from_folder(folder)
    rows = {"plain": None, "with tools": [WEATHER], "again": None}
    prompts = []
    for row, tools in rows.items():
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Say {row}."}]
        prompts.append(Prompt(row, tuple(renderer.prompt(messages, tools)), messages, tools))
    backend = OpenAIBackend(server.model, server.url, concurrency=2)
    found = {c.id: c for batch in backend.generate(prompts, Sampling(max_new_tokens=6)) for c in batch}
    assert all(c.error is None and c.text and c.answer_tokens for c in found.values())
    assert {p.id: len(p.token_ids) for p in prompts} == {row: c.prompt_tokens for row, c in found.items()}


def test_the_server_sees_the_tokens_that_training_sees(server, folder):
    from tunewright.artifacts.verdict import Status
    from tunewright.backends.served_prompts import ServedPrompts
    from tunewright.chat.folder import read_folder
    from tunewright.chat.parity import ask, shown_by, view
    from tunewright.chat.render import Renderer
    from tunewright.gates.format import renders_alike

    answer = {"role": "assistant", "content": "Sunny."}
    talks = [[*ASKED, answer], [{"role": "system", "content": "Be brief. Grüße 🎉"}, *ASKED, answer, *ASKED, answer]]
    rows = [(f"r{at}", talk, tools) for at, talk in enumerate(talks) for tools in (None, [WEATHER])]
    asked = ask(Renderer.from_folder(folder), rows)
    with ServedPrompts(server.url, server.model) as served:
        same = view("server", asked, served, shown_by(read_folder(folder)))
        plain = Renderer.from_folder(folder)
        other = [(row, [{"role": "system", "content": "Another."}, *talk], tools) for row, talk, tools in rows[:2]]
        wrong = view("server", _with_tokens_of(asked[:2], ask(plain, other)), served, shown_by(read_folder(folder)))
    assert same.counts_only == (server.state.kind != "llama.cpp")
    assert renders_alike([same]).status is Status.PASSED, same.differences
    assert renders_alike([wrong]).status is Status.FAILED and len(wrong.differences) == 2


def _with_tokens_of(asked, others):
    """What training would have seen with another system text, beside what the server is sent."""
    from dataclasses import replace

    return [replace(one, token_ids=other.token_ids) for one, other in zip(asked, others, strict=True)]
