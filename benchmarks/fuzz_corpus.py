# ruff: noqa: E501  # the real inputs stand on lines of their own length
"""Real inputs that are fuzzed, and the words of their formats; see `fuzz_targets.py`."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "tests/sources/logs"

NEXT_FILE = b"\n=====\n"
"""between the files of an input that is several"""


def lines(*values: Any) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": ["x"]}}}

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "string"}}}}}}  # fmt: skip

TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]  # fmt: skip

HERMES = "You are a function calling AI model <tools></tools> <tools>[" + json.dumps(TOOL) + "]</tools>"

ROWS = (
    {"id": "a", "messages": TALK, "tools": [TOOL], "group": "g", "meta": {"k": 1}},
    {"messages": [TALK[1], {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "content": "3"}, TALK[2]], "tools": json.dumps([TOOL])},
    {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"},
    {"conversations": [{"from": "system", "value": HERMES}, {"from": "human", "value": "q"}, {"from": "gpt", "value": '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'}, {"from": "tool", "value": "<tool_response>\n1\n</tool_response>"}, {"from": "gpt", "value": "done"}]},
    {"prompt": "p", "chosen": "yes", "rejected": "no"},
    {"prompt": [TALK[1]], "chosen": [TALK[2]], "rejected": [{"role": "assistant", "content": "no"}]},
    {"prompt": "p", "completion": "c", "id": 7},
    {"instruction": "i", "input": "n", "output": "o"},
    {"prompt": "p", "text": "t"},
)  # fmt: skip

ROW_WORDS = (
    b'"messages"', b'"conversations"', b'"chosen"', b'"rejected"', b'"prompt"', b'"completion"', b'"instruction"', b'"output"',
    b'"role"', b'"content"', b'"tool_calls"', b'"tools"', b"<tools>", b"</tools>", b"<tool_call>", b"</tool_call>",
    b"<tool_response>", b"</tool_response>", b'"from"', b'"value"', b'"function_call"', b'"id": ', b'"meta": ',
)  # fmt: skip


def parquet_seeds() -> list[bytes]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    found = []
    for rows in ([ROWS[0], ROWS[1] | {"tools": [TOOL]}], [ROWS[2]], [ROWS[6]], [ROWS[7], ROWS[7]]):
        table = pa.Table.from_pylist([{key: value for key, value in row.items() if key != "meta"} for row in rows])
        for compression in ("none", "snappy", "zstd"):
            sink = io.BytesIO()
            pq.write_table(table, sink, compression=compression)
            found.append(sink.getvalue())
    return found


BFCL = lines({"id": "a_1", "question": [[TALK[1]]], "function": [{"name": "f", "description": "d", "parameters": {"type": "dict", "properties": {"a": {"type": "float"}, "t": {"type": "tuple", "items": {"type": "any"}}}}}]}) + NEXT_FILE + lines({"id": "a_1", "ground_truth": [{"f": {"a": [1.0, ""], "t": [[1, {"x": [2]}]]}}]})  # fmt: skip

BEIR = lines({"_id": "d1", "title": "T", "text": "one"}, {"_id": 2, "text": "two"}) + NEXT_FILE + lines({"_id": "q1", "text": "q"}) + NEXT_FILE + b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\t2\t0\n"  # fmt: skip

TREC = b"<doc>\n<docno>1</docno><title>t</title><text>t and &amp; more <b>x</b></text></doc>\n<DOC><DOCNO> 2 </DOCNO><TEXT>two</TEXT></DOC>" + NEXT_FILE + b"<top>\n<num> Number: 1\n<title> a topic\n<desc> Description\n</top>" + NEXT_FILE + b"1 0 1 2\n1 0 2 0\n"  # fmt: skip

MS_MARCO = lines(
    {"query": "q", "query_id": 3, "passages": {"is_selected": [1, 0], "passage_text": ["a", "b"]}},
    {"query": "r", "passages": [{"is_selected": 0, "passage_text": "a"}]},
)

SCORE = {
    "id": "a", "group": "g", "source": "s", "question": "q", "reference": "r", "answer": "a", "parsed": {"x": 1},
    "scores": {"match": 1.0}, "reason": "ok", "prompt_sha256": "0", "prompt_tokens": 3, "answer_tokens": 1, "finish": "stop", "seconds": 0.1,
}  # fmt: skip


def inspect_entries() -> list[bytes]:
    found = []
    for path in LOGS.glob("inspect_[abe].eval"):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.startswith("samples/")]
            found.append(NEXT_FILE.join(archive.read(name) for name in names[:3]))
    return found


RECORD = {
    "schema_version": 1, "kind": "evaluate", "id": "before", "inputs": {}, "external": {"model": "x"}, "section": {"id": "before"},
    "code_version": 1, "fingerprint": "0", "verdicts": [{"name": "answers_scored", "status": "PASSED", "measured": "0", "bound": "1", "remedy": ""}],
    "provenance": {"git_commit": None, "git_dirty": None, "packages": {}, "python": "3", "host": "h", "device": "cpu", "threads": 1, "seed": 7, "argv": [], "start": "", "end": "", "seconds": 1.0, "attempts": 1},
    "result": {"model": "m", "suite": "tool-calls", "shots": 0, "num_rows": 1, "summary": [], "seconds": 1.0, "prompt_tokens": 1, "answer_tokens": 1, "cut_answers": 0},
}  # fmt: skip

RUN = NEXT_FILE.join(
    json.dumps(value).encode()
    for value in ({"stages": []}, {"recipe": "t", "stages": [{"evaluate": {"id": "before"}}]}, RECORD, SCORE)
)

TOKEN = {"model": "m", "row": "r", "position": 0, "id": 3, "text": "a", "role": "user", "trained": False, "entropy": None, "nll": None, "rank": None, "top": [["a", 0.5]]}  # fmt: skip

CHATML = (
    b"{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    b"{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TOOLS_TEMPLATE = b"""{%- macro show(tool, depth=0) -%}{{ tool | tojson(indent=2) }}{%- endmacro -%}
{%- set ns = namespace(last='', count=0) -%}
{%- if tools %}{{ '<|im_start|>system\n' }}{% for tool in tools %}{{ show(tool) }}{% endfor %}{{ '<|im_end|>\n' }}{% endif -%}
{%- for message in messages -%}
{%- set ns.count = ns.count + 1 %}{% set ns.last = message.role ~ ns.count -%}
{%- if message.role == 'assistant' -%}<|im_start|>assistant
{% generation %}{{ (message.content or '').split('</think>')[-1].lstrip('\n') | trim }}{% for call in message.tool_calls or [] %}
<tool_call>{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}</tool_call>{% endfor %}<|im_end|>{% endgeneration %}
{% else %}<|im_start|>{{ message.role }}
{{ message.content | replace('a', 'b') | upper }}<|im_end|>
{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}{{ strftime_now('%Y') if ns.count > 99 }}{{ raise_exception('no') if not messages }}"""

JINJA_WORDS = (
    b"{% for x in range(99999) %}", b"{% endfor %}", b"{% for x in messages recursive %}", b"{{ loop(messages) }}", b"{% set x = x ~ x %}",
    b"{{ 'a' * 999999999 }}", b"{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}", b"{{ m(1) }}", b"{{ ''.__class__.__mro__ }}",
    b"{{ 10 ** 64 ** 64 }}", b"{{ 'a' | center(99999999) }}", b"{{ '%99999999d' % 1 }}", b"{{ '{:99999999}'.format(1) }}", b"{{ lipsum(n=99999) }}",
    b"{{ cycler.__init__.__globals__ }}", b"{% set ns.x = ns.x + ns.x %}", b"{{ messages | tojson(indent=99999) }}", b"{{ 1e999 }}",
    b"{% include 'x' %}", b"{% import 'x' as y %}", b"{% extends messages %}", b"{% block a %}{{ self.a() }}{% endblock %}",
    b"{% filter upper %}", b"{% endfilter %}", b"{% call m(1) %}", b"{% endcall %}", b"{% generation %}", b"{% endgeneration %}",
    b"{{ dict(a=1, a=2) }}", b"{{ x(**messages) }}", b"{{ raise_exception(messages) }}", b"{{ strftime_now('%999999Y') }}", b"{% break %}",
    b" | map('upper') | list", b" | groupby('role')", b" | batch(99999999, 'x') | list", b" | urlize", b" | wordwrap(1)", b" | indent(999999)",
    b".split('')", b".replace('', 'aaaaaaaa')", b"[::-1]", b"[99999999999999999999:]", b" is divisibleby(0)", b" // 0", b" | sort", b" | random",
    b"{% raw %}", b"{# ", b"{%- set x -%}", b"{% endset %}", b"loop.index", b"{{ namespace(_x=1) }}", b"{% continue %}", b"{{ caller() }}",
)  # fmt: skip

CONVERSATIONS = (
    [TALK[1]],
    TALK,
    [TALK[1], {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "3"}, TALK[2]],
)


@cache
def tokenizer_files() -> dict[str, str]:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in ("<|im_start|>", "<|im_end|>")])
    return {
        "tokenizer.json": json.dumps(json.loads(tokenizer.to_str())),
        "tokenizer_config.json": json.dumps({"eos_token": "<|im_end|>", "pad_token": {"content": "<|im_end|>"}, "chat_template": CHATML.decode()}),
        "generation_config.json": json.dumps({"eos_token_id": [257], "pad_token_id": 257}),
        "config.json": json.dumps({"max_position_embeddings": 512}),
    }  # fmt: skip


def tokenizer_seeds() -> list[bytes]:
    files = tokenizer_files()
    order = ("tokenizer_config.json", "generation_config.json", "config.json", "tokenizer.json")
    calls = {"open_pattern": r"\s*<tool_call>", "close": "</tool_call>", "repeats": True, "content": "json"}
    fields = {"tool_calls": calls, "content": {"close_pattern": r"\s*(?:<\|im_end\|>)", "content": "text"}}
    answer = {"response_template": {"start_anchor": "<|im_start|>assistant\n", "fields": fields}}
    config = json.loads(files["tokenizer_config.json"]) | answer
    return [
        NEXT_FILE.join(files[name].encode() for name in order),
        NEXT_FILE.join([json.dumps(config).encode(), *(files[name].encode() for name in order[1:])]),
    ]


ANSWERS = (
    b'<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', b'{"name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}}',
    b'<|python_tag|>{"name": "f", "parameters": {}}', b"[f(a=1, b=['x']), g.h(c={'k': -1.5})]", b"<|python_start|>[f(a=(1, 2))]<|python_end|>",
    b'[TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}]', b'[TOOL_CALLS]f[CALL_ID]abc[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}',
    b"<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n[\"x\"]\n</parameter>\n</function>\n</tool_call>",
    b"The answer is \\boxed{1/2}. #### 1,234.5", b'```json\n{"a": [1, 2]}\n```', b"<think>so</think> B",
)  # fmt: skip

ANSWER_WORDS = (
    b"<tool_call>", b"</tool_call>", b"<|python_tag|>", b"[TOOL_CALLS]", b"[ARGS]", b"[CALL_ID]", b"<|python_start|>", b"<|python_end|>",
    b"<|tool_call_start|>", b"<function=", b"</function>", b"<parameter=a>", b"</parameter>", b"```", b"\\boxed{", b"<think>", b"####", b"f(a=",
    b'{"name": "f", "arguments": ', b"(((", b"'''", b"\\N{DASH}", b"0x", b"1_0", b"lambda: ", b"**", b"-", b"1e400",
)  # fmt: skip

TEXT_GRADERS = (
    "string_check",
    "text_similarity",
    "json_schema",
    "tool_call",
    "number",
    "regex",
    "keyword",
    "length",
    "multi",
)

GRADERS: tuple[dict[str, Any], ...] = (
    {"type": "string_check", "name": "s", "input": "{{ sample.output_text }}", "reference": "{{ item.reference }}", "operation": "eq"},
    {"type": "text_similarity", "name": "t", "input": "{{ sample.output_text }}", "reference": "12 is it", "evaluation_metric": "rouge_l"},
    {"type": "text_similarity", "name": "t", "input": "{{ sample.output_text }}", "reference": "12 is it", "evaluation_metric": "fuzzy_match"},
    {"type": "number", "name": "n"},
    {"type": "regex", "name": "r", "pattern": "^#### (a|b)*c{2,5}$", "flags": ["multiline"]},
    {"type": "keyword", "name": "k", "required": ["a"]},
    {"type": "length", "name": "l", "most": 10},
    {"type": "json_schema", "name": "j", "schema": {"type": "object", "properties": {"a": {"type": "integer", "pattern": "a+"}}, "required": ["a"]}},
    {"type": "tool_call", "name": "c"},
    {"type": "multi", "name": "m", "graders": {"right": {"type": "number", "name": "right"}, "form": {"type": "regex", "name": "form", "pattern": "a"}}, "calculate_output": "0.9 * right + min(form, 0.1)"},
    {"type": "python", "name": "p", "source": "def grade(sample, item):\n    return 1.0\n"},
    {"type": "score_model", "name": "j", "model": "judge", "input": [{"role": "user", "content": "{{ sample.output_text }}"}], "range": [0, 1]},
)  # fmt: skip


def grader_seeds() -> list[bytes]:
    from ruamel.yaml import YAML

    def as_yaml(value: Any) -> bytes:
        sink = io.BytesIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.dump(value, sink)
        return sink.getvalue()

    return [json.dumps(grader).encode() for grader in GRADERS] + [as_yaml(grader) for grader in GRADERS]


GRADER_WORDS = (
    b'"type": ', b'"pattern": ', b"(a+)+$", b"(?=a)", b"a{1,99999}", b"{{ item.reference }}", b"{{ sample.output_json.a }}", b'"$ref": "#"',
    b'"calculate_output": ', b"right ^ right", b"*a ", b"&a ", b"!!python/object:os.system ", b"<<: *a", b'"allOf": [', b"? ", b"(?i:", b"[^",
)  # fmt: skip

YAML_WORDS = (
    b"&a ", b"*a", b"<<: ", b"? ", b"!!int ", b"!!python/object:os.system ", b"%YAML 9\n", b"%TAG ! x\n", b"|\n", b">-\n", b"---\n", b"...\n",
    b"[[[[", b"{{{{", b"stages:\n", b"  - data: ", b"  - sft: ", b"  - evaluate: ", b"  - compare: ", b"id: ", b"model: ", b"rows: ", b"type: ", b"0o9",
    b"0x" + b"f" * 5000, b".inf", b"1__", b"2001-12-14t21:59:43.10-05:00", b"= ", b"- ", b": ", b"filters: ", b"options: ", b"grader: ", b"a: *a\n", b"- [*a, *a]\n",
)  # fmt: skip

SETS = (
    b"sft.learning_rate=2e-5\nseed=3", b"data.sources.0={type: hub, name: a/b}", b"after.model=sft\nsft.weighting={type: linear}",
    b"compare.require={metric: args_exact, better_by: 0.1}", b"data.split.test=50\nbefore.options={a: {b: [1]}}", b"data.overlong=drop\ndata.max_tokens=100",
)  # fmt: skip

SUITE = b"""suite: sums
rows: {path: rows.jsonl}
prompt:
  system: You are exact.
  template: |
    {{ question }}
    {% for choice in choices %}{{ "ABCD"[loop.index0] }}) {{ choice }}
    {% endfor %}
  reference: "{{ answer }}"
sampling: {max_new_tokens: 8, temperature: 0.0, top_p: 1.0, seed: 7, stop: []}
scorers:
  letter: {suite: multiple-choice-letter}
  same:
    grader: {type: string_check, name: same, input: "{{ sample.output_text }}", reference: "{{ item.answer }}", operation: eq}
metrics:
  - {name: same, binary: true, denominator: every sum}
  - {name: accuracy}
main_metric: accuracy
cluster: group
""" + NEXT_FILE + lines({"id": 1, "question": "q", "choices": ["a", "b"], "answer": "A"}, {"id": 2, "question": "q", "choices": ["a"], "answer": "A"})  # fmt: skip

SERVED = (
    {"choices": [{"message": {"content": "Hi", "tool_calls": [{"function": {"name": "f", "arguments": "{\"a\": 1}"}}]}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}}},
    {"choices": [{"text": "Hi", "finish_reason": "length"}]}, {"error": {"message": "no", "code": 429}},
)  # fmt: skip

TEXTS = (
    b"0.9 * a + min(a, b) ^ 2",
    b"^(a|b)*c{2,5}[^x-z]\\d\\b(?i:x)$",
    b"{{ item.a[0].b }} and {{ sample.output_json['k'] }}",
)

TEXT_WORDS = (b"(a*)*", b"{1,999}", b"(?:", b"(?P<a>", b"\\1", b"(?=", b"[[:alpha:]]", b"\\p{L}", b"a ^ ", b"9 ** ", b"sqrt(", b"{{ item.", b"lambda: 0", b"(?a)", b"(?L)", b"(?x)", b"\\Z", b"((((")  # fmt: skip


def gguf_seeds() -> list[bytes]:
    import numpy as np
    from gguf import GGUFWriter

    path = Path(tempfile.mkdtemp()) / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(32)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "c", "d", "e", "f", "<s>", "</s>"])
    writer.add_token_merges([])
    writer.add_token_scores([0.0] * 8)
    writer.add_token_types([1] * 6 + [3, 3])
    writer.add_bos_token_id(6)
    writer.add_eos_token_id(7)
    rng = np.random.default_rng(0)
    for name in ("token_embd", "output", "blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v", "blk.0.attn_output", "blk.0.ffn_gate", "blk.0.ffn_up", "blk.0.ffn_down"):  # fmt: skip
        writer.add_tensor(f"{name}.weight", rng.standard_normal((8, 8), dtype=np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(8, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return [path.read_bytes()]
