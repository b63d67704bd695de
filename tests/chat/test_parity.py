"""The same conversation is the same tokens, however it is rendered; and where it is not, the first token is named."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.chat.test_masks import CHATML, FAMILIES, LLAMA3, TALK

from tunewright.artifacts.verdict import Status
from tunewright.backends.served_prompts import ServedPrompts
from tunewright.chat.folder import read_folder
from tunewright.chat.parity import GgufChat, ask, by_gguf, by_transformers, parity_hash, shown_by, view
from tunewright.chat.render import Renderer
from tunewright.errors import EnvironmentProblem, ModelError
from tunewright.gates.format import renders_alike

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
ROWS = [("talk", TALK, None), ("short", TALK[:2], None)]


def asked_of(folder, rows=ROWS):
    return ask(Renderer.from_folder(folder), rows)


def compared(name, folder, render, rows=ROWS, **options):
    return view(name, asked_of(folder, rows), render, shown_by(read_folder(folder)), **options)


@pytest.mark.parametrize("name", [name for name in FAMILIES if not name.startswith("block")])
def test_transformers_sees_what_training_sees(name, make_model):
    template, special, kind, _ = FAMILIES[name]
    folder = make_model(template, special, kind)
    assert renders_alike([compared("transformers", folder, by_transformers(folder))]).status is Status.PASSED


def test_a_template_that_serving_has_in_another_version_fails_and_names_the_first_token(make_model):
    folder = make_model(CHATML)
    served = make_model(CHATML.replace("{{ message['role'] }}\n", "{{ message['role'] }}:\n"))
    verdict = renders_alike([compared("serving", folder, by_transformers(served))])
    assert verdict.status is Status.FAILED
    assert "serving: other tokens in 2 of 2, first talk from token" in verdict.measured
    assert verdict.evidence == "check.json"


def test_tools_that_a_template_leaves_out_are_seen_where_messages_are_sent_as_they_stand(smollm2_folder):
    rows = [("tools", TALK[:2], [TOOL])]
    render = by_transformers(smollm2_folder)
    assert not compared("sent as text", smollm2_folder, render, rows).differences
    assert compared("sent as they stand", smollm2_folder, render, rows, as_they_stand=True).differences


def test_a_prompt_that_the_recipe_asks_for_is_a_warning(make_model):
    folder = make_model(CHATML)
    served = make_model(CHATML.replace("assistant\n", "assistant\n<think>"))
    seen = compared("evaluation", folder, by_transformers(served), chosen=True)
    assert renders_alike([seen]).status is Status.WARNED


def test_what_another_template_refuses_is_a_difference(make_model):
    folder = make_model(CHATML)
    served = make_model("{{ raise_exception('no') }}")
    seen = compared("serving", folder, by_transformers(served))
    assert "refused" in seen.differences[0].theirs and renders_alike([seen]).status is Status.FAILED


def test_the_hash_is_of_the_tokens(make_model):
    one, same, other = make_model(CHATML), make_model(CHATML), make_model(CHATML.replace("\n", "\n\n"))
    assert parity_hash(asked_of(one)) == parity_hash(asked_of(same)) != parity_hash(asked_of(other))


# ── GGUF ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def gguf_of(folder, **changes):
    read = read_folder(folder)
    vocabulary = read.tokenizer.get_vocab(with_added_tokens=True)
    tokens = sorted(vocabulary, key=lambda text: vocabulary[text])
    return replace(GgufChat(read.template, read.special_tokens, tokens, add_bos=False), **changes)


def test_a_gguf_of_the_same_template_and_vocabulary_is_the_same(make_model):
    for folder in (make_model(CHATML), make_model(LLAMA3, "llama3", "bytes-llama3")):
        assert not compared("gguf", folder, by_gguf(gguf_of(folder), folder)).differences
        adding = by_gguf(gguf_of(folder, add_bos=True), folder)
        writes_bos = "begin_of_text" in json.dumps(read_folder(folder).special_tokens)
        assert bool(compared("gguf", folder, adding).differences) != writes_bos  # it adds one where there is none


def test_a_gguf_of_another_template_or_vocabulary_fails(make_model):
    folder = make_model(CHATML)
    other = gguf_of(folder, template=CHATML.replace("<|im_end|>\n", "<|im_end|>"))
    assert compared("gguf", folder, by_gguf(other, folder)).differences
    tokens = [text if text != "<|im_end|>" else "<|eot|>" for text in gguf_of(folder).tokens]
    seen = compared("gguf", folder, by_gguf(gguf_of(folder, tokens=tokens), folder))
    assert "-1" in seen.differences[0].theirs


@pytest.mark.real_model
def test_the_template_inside_the_packaged_gguf_is_that_of_its_folder(smollm2_folder):
    from tunewright.models.find import gguf_file
    from tunewright.models.gguf import read_gguf_chat

    path = gguf_file("smollm2-135m-instruct")
    if path is None:
        pytest.skip("the package with the GGUF is not installed")
    chat = read_gguf_chat(path)
    assert chat.special_tokens["eos_token"] == "<|im_end|>" and len(chat.tokens) == 49152
    assert not compared("gguf", smollm2_folder, by_gguf(chat, smollm2_folder)).differences


def test_what_is_no_gguf_says_so(tmp_path):
    from tunewright.models.gguf import read_gguf_chat

    (tmp_path / "x.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ModelError, match="GGUF"):
        read_gguf_chat(tmp_path / "x.gguf")


# ── servers; the real ones are in tests/backends/servers ────────────────────────────────────────────────────────────


@pytest.fixture
def vllm_like(make_model):
    """A server that answers as vLLM does: POST /tokenize with messages, GET /v1/models."""
    folder = make_model(CHATML)
    render = by_transformers(folder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.say(200, {"data": [{"id": "toy"}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/tokenize" or body.get("model") != "toy" or not body.get("add_generation_prompt"):
                return self.say(404, {"error": "no such path"})
            self.say(200, {"tokens": render(body["messages"], body.get("tools"))})

        def say(self, status, value):
            raw = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_server_that_tells_tokens_is_held_against_them(vllm_like, make_model):
    folder, url = vllm_like
    with ServedPrompts(url) as served:
        assert not compared("server", folder, served).differences
        other = make_model(CHATML.replace("\n", "\n\n"))
        seen = view("server", asked_of(other), served, shown_by(read_folder(other)))
    assert seen.differences and not seen.counts_only


def test_a_server_that_is_not_there_is_one_clean_error():
    with ServedPrompts("http://127.0.0.1:9/v1") as served, pytest.raises(EnvironmentProblem, match="no answer"):
        served([{"role": "user", "content": "x"}], None)


def test_a_folder_that_transformers_cannot_load_says_so(make_model, tmp_path):
    folder = make_model(CHATML)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="transformers cannot load it"):
        by_transformers(broken)
