"""What is fuzzed: every door through which a file, a text or an argument of a stranger comes in.

A target takes bytes and a folder of its own, and does what the command line would do with them. It may refuse them (a
`TunewrightError` of exit code 2) and nothing else; what it writes is whole or not there.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tunewright.errors import MissingExtra, UserError

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "tests/sources/logs"
NEXT_FILE = b"\n=====\n"
"""between the files of an input that is several"""


@dataclass(frozen=True)
class Target:
    """One door. `words` are pieces of its format; `cost` is how many cheap inputs one of it is worth in time."""

    name: str
    run: Callable[[bytes, Path], object]
    seeds: Callable[[], Sequence[bytes]]
    words: tuple[bytes, ...] = ()
    cost: int = 1


def allowed(error: BaseException) -> bool:
    """True for what a stranger's input may raise."""
    return isinstance(error, UserError | MissingExtra)


def _lines(*values: Any) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def _put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _files(data: bytes, folder: Path, *names: str) -> list[Path]:
    parts = data.split(NEXT_FILE, len(names) - 1)
    return [_put(folder, name, part) for name, part in zip(names, [*parts, *[b""] * len(names)], strict=False)]


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────

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


def _read_rows(path: Path, folder: Path) -> None:
    """Read rows, write them, and read them back: the same, or nothing was written."""
    from tunewright.artifacts.files import read_jsonl, write_jsonl
    from tunewright.sources.files import look, read_file
    from tunewright.sources.dropped import Dropped

    out = folder / "out.jsonl"
    try:
        look(path)
        kept = [row for row in read_file(path) if not isinstance(row, Dropped)]
        count = write_jsonl(out, (row.model_dump(mode="json") for row in kept))
    except UserError:
        left = [found.name for found in folder.iterdir() if found != path]
        assert not left, f"half-written: {left}"
        raise
    assert count == len(list(read_jsonl(out))), "rows were lost on the way to the file"


def jsonl(data: bytes, folder: Path) -> None:
    _read_rows(_put(folder, "rows.jsonl", data), folder)


def csv(data: bytes, folder: Path) -> None:
    _read_rows(_put(folder, "rows.csv", data), folder)


def parquet(data: bytes, folder: Path) -> None:
    _read_rows(_put(folder, "rows.parquet", data), folder)


def filters(data: bytes, folder: Path) -> None:
    """The text of rows, through what measures and compares it."""
    from tunewright.artifacts.dataset import ChatRow
    from tunewright.sources import text
    from tunewright.sources.files import read_file

    for row in read_file(_put(folder, "rows.jsonl", data)):
        if isinstance(row, ChatRow):
            text.with_canonical_json(text.whole(row))
            text.shingles(text.words(text.whole(row)), 8)
            for check in _checks():
                check(row)


@cache
def _checks() -> list[Any]:
    from tunewright.recipe import data_sections as sections
    from tunewright.sources.filters.build import build_check

    kinds = (sections.PythonVersionFilter, sections.QualityFilter, sections.MojibakeFilter, sections.SecretsFilter)
    return [build_check(kind(type=kind.model_fields["type"].annotation.__args__[0])) for kind in kinds]


def _parquet_seeds() -> list[bytes]:
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


def bfcl(data: bytes, folder: Path) -> None:
    from tunewright.errors import EnvironmentProblem
    from tunewright.sources.bfcl import read_category

    (folder / "possible_answer").mkdir(exist_ok=True)
    for name in ("simple_python", "irrelevance"):
        _files(data, folder, f"BFCL_v4_{name}.json", f"possible_answer/BFCL_v4_{name}.json")
    try:
        for name in ("simple_python", "irrelevance"):
            list(read_category(folder, name))
    except EnvironmentProblem as error:  # a broken package: the machine's fault
        raise UserError(str(error)) from None


BFCL = _lines({"id": "a_1", "question": [[TALK[1]]], "function": [{"name": "f", "description": "d", "parameters": {"type": "dict", "properties": {"a": {"type": "float"}, "t": {"type": "tuple", "items": {"type": "any"}}}}}]}) + NEXT_FILE + _lines({"id": "a_1", "ground_truth": [{"f": {"a": [1.0, ""], "t": [[1, {"x": [2]}]]}}]})  # fmt: skip


# ── ranking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def beir(data: bytes, folder: Path) -> None:
    from tunewright.sources.ranking.read import read_ranking_set

    (folder / "qrels").mkdir(exist_ok=True)
    _files(data, folder, "corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
    _look_at(read_ranking_set([folder]))


def trec(data: bytes, folder: Path) -> None:
    from tunewright.sources.ranking.read import read_ranking_set

    _look_at(read_ranking_set(_files(data, folder, "documents", "topics", "qrels"), by_position=len(data) % 2 == 0))


def ms_marco(data: bytes, folder: Path) -> None:
    from tunewright.sources.ranking.read import read_ranking_set

    _look_at(read_ranking_set([_put(folder, "ms.jsonl", data)]))


def _look_at(found: Any) -> None:
    for judged in found.qrels.values():
        assert all(isinstance(label, int) for label in judged.values())


BEIR = _lines({"_id": "d1", "title": "T", "text": "one"}, {"_id": 2, "text": "two"}) + NEXT_FILE + _lines({"_id": "q1", "text": "q"}) + NEXT_FILE + b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\t2\t0\n"  # fmt: skip
TREC = b"<doc>\n<docno>1</docno><title>t</title><text>t and &amp; more <b>x</b></text></doc>\n<DOC><DOCNO> 2 </DOCNO><TEXT>two</TEXT></DOC>" + NEXT_FILE + b"<top>\n<num> Number: 1\n<title> a topic\n<desc> Description\n</top>" + NEXT_FILE + b"1 0 1 2\n1 0 2 0\n"  # fmt: skip
MS_MARCO = _lines(
    {"query": "q", "query_id": 3, "passages": {"is_selected": [1, 0], "passage_text": ["a", "b"]}},
    {"query": "r", "passages": [{"is_selected": 0, "passage_text": "a"}]},
)

# ── scores ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def lm_eval(data: bytes, folder: Path) -> None:
    _compared(_put(folder, "samples_x.jsonl", data), "topic" if len(data) % 5 == 0 else None)


def inspect(data: bytes, folder: Path) -> None:
    _compared(_put(folder, "log.eval", data), None)


def inspect_entry(data: bytes, folder: Path) -> None:
    """A sound zip with these bytes as a sample."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for number, part in enumerate(data.split(NEXT_FILE)):
            archive.writestr(f"samples/{number}_epoch_1.json", part)
    _compared(_put(folder, "log.eval", sink.getvalue()), "topic" if len(data) % 5 == 0 else None)


def scores(data: bytes, folder: Path) -> None:
    from tunewright.artifacts.scores import Scores

    path = _put(folder, "scores.jsonl", data)
    _compared(path, None)
    list(Scores.model_construct(folder=folder).rows())


def _compared(path: Path, cluster: str | None) -> None:
    from tunewright.cli.compare import read_side
    from tunewright.stages.compare.changes import changes
    from tunewright.stages.compare.pairs import pair_by_row, paired
    from tunewright.stages.compare.stage import compare_scores

    side = read_side(str(path), cluster)
    if len(side.rows) > 50:
        return
    tests = compare_scores(side.rows, side.rows)
    changes(paired(tests[0].metric, pair_by_row(side.rows, side.rows)))
    json.dumps([test.model_dump(mode="json") for test in tests], allow_nan=False)


SCORE = {
    "id": "a", "group": "g", "source": "s", "question": "q", "reference": "r", "answer": "a", "parsed": {"x": 1},
    "scores": {"match": 1.0}, "reason": "ok", "prompt_sha256": "0", "prompt_tokens": 3, "answer_tokens": 1, "finish": "stop", "seconds": 0.1,
}  # fmt: skip


def _inspect_entries() -> list[bytes]:
    found = []
    for path in LOGS.glob("inspect_[abe].eval"):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.startswith("samples/")]
            found.append(NEXT_FILE.join(archive.read(name) for name in names[:3]))
    return found


# ── records, adapters, tokens ───────────────────────────────────────────────────────────────────────────────────────


def records(data: bytes, folder: Path) -> None:
    """A run folder whose files are these: its records and the artifacts that they describe."""
    from tunewright.artifacts.rundir import RunFolder

    (folder / "1-before").mkdir(exist_ok=True)
    _files(data, folder, "run.json", "recipe.resolved.json", "1-before/record.json", "1-before/scores.jsonl")
    run = RunFolder(folder)
    run.state  # noqa: B018  # read on the way
    for name in run.stage_ids():
        artifact = run.artifact(name)
        if hasattr(artifact, "rows"):
            list(artifact.rows())


def adapters(data: bytes, folder: Path) -> None:
    from tunewright.cli.references import find_model

    _files(data, folder, "adapter_config.json", "trained.json")
    find_model(str(folder))


def tokens(data: bytes, folder: Path) -> None:
    from tunewright.artifacts.tokens import read_tokens

    _put(folder, "tokens.jsonl", data)
    read_tokens(folder)


def appended(data: bytes, folder: Path) -> None:
    """What a killed run left of a file of answers."""
    from tunewright.artifacts.files import JsonlAppender, read_jsonl

    path = _put(folder, "answers.jsonl", data)
    with JsonlAppender(path) as file:
        kept = len(file.existing)
        file.append([{"id": "new"}])
    assert len(list(read_jsonl(path))) == kept + 1


RECORD = {
    "schema_version": 1, "kind": "evaluate", "id": "before", "inputs": {}, "external": {"model": "x"}, "section": {"id": "before"},
    "code_version": 1, "fingerprint": "0", "verdicts": [{"name": "answers_scored", "status": "PASSED", "measured": "0", "bound": "1", "remedy": ""}],
    "provenance": {"git_commit": None, "git_dirty": None, "packages": {}, "python": "3", "host": "h", "device": "cpu", "threads": 1, "seed": 7, "argv": [], "start": "", "end": "", "seconds": 1.0, "attempts": 1},
    "result": {"model": "m", "suite": "tool-calls", "shots": 0, "num_rows": 1, "summary": [], "seconds": 1.0, "prompt_tokens": 1, "answer_tokens": 1, "cut_answers": 0},
}  # fmt: skip
RUN = NEXT_FILE.join(
    json.dumps(value).encode()
    for value in ({"stages": {}}, {"recipe": "t", "stages": [{"evaluate": {"id": "before"}}]}, RECORD, SCORE)
)
TOKEN = {"model": "m", "row": "r", "position": 0, "id": 3, "text": "a", "role": "user", "trained": False, "entropy": None, "nll": None, "rank": None, "top": [["a", 0.5]]}  # fmt: skip

# ── templates, conversations, tokenizers ────────────────────────────────────────────────────────────────────────────

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


def template(data: bytes, folder: Path) -> None:
    from tunewright.chat.template import MAX_OUTPUT_CHARS, ChatTemplate
    from tunewright.errors import ModelError

    made = ChatTemplate(data.decode("utf-8", "surrogateescape" if len(data) % 7 == 0 else "replace"), {"bos_token": "<s>"})
    refused = None
    for messages in CONVERSATIONS:
        try:
            text = made.render(messages, [TOOL], add_generation_prompt=len(messages) == 1)
        except ModelError as error:
            refused = error
            continue
        assert len(text) <= 2 * MAX_OUTPUT_CHARS
    if refused:
        raise refused


def suite_template(data: bytes, folder: Path) -> None:
    from tunewright.suites.rows import render

    render(data.decode("utf-8", "replace"), {"messages": TALK, "question": "q", "choices": ["a", "b"], "id": "1"}, "row 1")


def conversation(data: bytes, folder: Path) -> None:
    """Rows through a renderer: whole, as a prompt, and every answer alone."""
    from tunewright.sources.formats import to_row
    from tunewright.artifacts.files import read_jsonl

    for number, record in read_jsonl(_put(folder, "rows.jsonl", data)):
        row = to_row(record, where=f"line {number}", fallback_id=str(number), source="s")
        for renderer in _renderers():
            whole = renderer.conversation(row.messages, row.tools)
            prompt = renderer.prompt(row.prompt, row.tools)
            assert whole.token_ids[: len(prompt)] == prompt, "the prompt is no prefix of the conversation"


@cache
def _renderers() -> list[Any]:
    import tempfile

    from tunewright.chat.render import Renderer

    found = []
    for source in (CHATML, TOOLS_TEMPLATE):
        folder = Path(tempfile.mkdtemp())
        for name, text in _tokenizer_files().items():
            (folder / name).write_text(text)
        (folder / "chat_template.jinja").write_bytes(source)
        found.append(Renderer.from_folder(folder))
    return found


@cache
def _tokenizer_files() -> dict[str, str]:
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


def tokenizer(data: bytes, folder: Path) -> None:
    """A model's folder, any of whose files may be strange."""
    from tunewright.chat.render import Renderer
    from tunewright.chat.tool_calls import model_parser

    _files(data, folder, "tokenizer_config.json", "generation_config.json", "config.json", "tokenizer.json")
    made = Renderer.from_folder(folder)
    made.conversation(TALK)
    _, parser = model_parser(made)
    parser("<tool_call>", [TOOL])


def _tokenizer_seeds() -> list[bytes]:
    files = _tokenizer_files()
    order = ("tokenizer_config.json", "generation_config.json", "config.json", "tokenizer.json")
    answer = {"response_template": {"fields": {"tool_calls": {"open": "<tool_call>", "close": "</tool_call>", "content": "json"}}}}
    config = json.loads(files["tokenizer_config.json"]) | answer
    return [
        NEXT_FILE.join(files[name].encode() for name in order),
        NEXT_FILE.join([json.dumps(config).encode(), *(files[name].encode() for name in order[1:])]),
    ]


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

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


def tool_calls(data: bytes, folder: Path) -> None:
    from tunewright.chat.tool_calls import FORMATS, parse_answer

    text = data.decode("utf-8", ("surrogateescape", "replace", "ignore")[len(data) % 3])
    for name in FORMATS:
        answer = parse_answer(text, name, [TOOL])
        json.dumps([[call.name, call.arguments] for call in answer.calls]).encode()
        assert answer.regions == len(answer.calls) + len(answer.malformed)


def graded(data: bytes, folder: Path) -> None:
    """An answer through graders and suites that read texts."""
    from tunewright.artifacts.dataset import ChatRow

    text = data.decode("utf-8", "replace")
    row = ChatRow(id="r", messages=[TALK[1], {"role": "assistant", "content": "12"}], tools=[TOOL], meta={"gold": {"a": 1}, "choices": ["a", "b"], "answer": "A"})
    for grader in _graders():
        grade = grader.grade(text, row)
        assert (grade.score is None) == (grade.error is not None)


@cache
def _graders() -> list[Any]:
    from tunewright.graders.protocol import load_grader

    return [load_grader(spec) for spec in GRADERS if spec["type"] in TEXT_GRADERS]


TEXT_GRADERS = ("string_check", "text_similarity", "json_schema", "tool_call", "number", "regex", "keyword", "length", "multi")
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


def grader_file(data: bytes, folder: Path) -> None:
    """A grader's file: read, checked, and asked for a grade where that runs no code and no model."""
    from tunewright.graders.load import build, read_spec
    from tunewright.graders.spec import Context

    spec = read_spec(_put(folder, "grader.json" if data[:1] == b"{" else "grader.yaml", data))
    json.dumps(spec.model_dump(mode="json"))
    if spec.type in TEXT_GRADERS:
        build(spec, Context()).grade("12", {"reference": "12", "answer": "B"})


def _grader_seeds() -> list[bytes]:
    from ruamel.yaml import YAML

    def as_yaml(value: Any) -> bytes:
        sink = io.BytesIO()
        YAML(typ="safe", pure=True).dump(value, sink)
        return sink.getvalue()

    return [json.dumps(grader).encode() for grader in GRADERS] + [as_yaml(grader) for grader in GRADERS]


GRADER_WORDS = (
    b'"type": ', b'"pattern": ', b"(a+)+$", b"(?=a)", b"a{1,99999}", b"{{ item.reference }}", b"{{ sample.output_json.a }}", b'"$ref": "#"',
    b'"calculate_output": ', b"right ^ right", b"*a ", b"&a ", b"!!python/object:os.system ", b"<<: *a", b'"allOf": [', b"? ", b"(?i:", b"[^",
)  # fmt: skip

# ── recipes and suites ──────────────────────────────────────────────────────────────────────────────────────────────

YAML_WORDS = (
    b"&a ", b"*a", b"<<: ", b"? ", b"!!int ", b"!!python/object:os.system ", b"%YAML 9\n", b"%TAG ! x\n", b"|\n", b">-\n", b"---\n", b"...\n",
    b"[[[[", b"{{{{", b"stages:\n", b"  - data: ", b"  - sft: ", b"  - evaluate: ", b"  - compare: ", b"id: ", b"model: ", b"rows: ", b"type: ", b"0o9",
    b"0x" + b"f" * 5000, b".inf", b"1__", b"2001-12-14t21:59:43.10-05:00", b"= ", b"- ", b": ", b"filters: ", b"options: ", b"grader: ", b"a: *a\n", b"- [*a, *a]\n",
)  # fmt: skip


def recipe(data: bytes, folder: Path) -> None:
    from tunewright.recipe.load import load_recipe

    load_recipe(_put(folder, "recipe.yaml", data))


def overrides(data: bytes, folder: Path) -> None:
    """`--set`, one a line, on a good recipe."""
    from tunewright.recipe.load import parse_recipe

    given = data.decode("utf-8", "surrogateescape").split("\n")[:20]  # as Python gives arguments
    parse_recipe(_tour(), "recipe.yaml", ROOT / "recipes", given)


@cache
def _tour() -> str:
    return (ROOT / "recipes/tour.yaml").read_text()


SETS = (
    b"sft.learning_rate=2e-5\nseed=3", b"data.sources.0.type=jsonl\ndata.sources.0.path=x.jsonl", b"after.model=sft\nsft.weighting={type: linear}",
    b"compare.require={metric: match, better_by: 0.1}", b"data.split.test=50\nbefore.options={a: {b: [1]}}", b"data.filters=[{type: language, keep: [en]}]",
)  # fmt: skip


def suite(data: bytes, folder: Path) -> None:
    from tunewright.suites.load import read_suite

    paths = _files(data, folder, "suite.yaml", "rows.jsonl")
    made = read_suite(paths[0])
    if made.rows is not None:
        for row in made.rows(0, 3):
            made.score("12", row)


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
""" + NEXT_FILE + _lines({"id": 1, "question": "q", "choices": ["a", "b"], "answer": "A"}, {"id": 2, "question": "q", "choices": ["a"], "answer": "A"})  # fmt: skip


# ── what servers say, small texts, GGUF ─────────────────────────────────────────────────────────────────────────────


def served(data: bytes, folder: Path) -> None:
    """The body of a server's response."""
    import httpx

    from tunewright.backends import http, wire

    http._told(data)
    http.retry_after(httpx.Headers([(b"retry-after", data[:40])]))
    try:
        wire.read_answer(json.loads(data), {"f": "g"})
    except (wire.BadAnswer, ValueError, RecursionError) as error:  # what the caller turns into a failed row
        raise UserError(str(error)) from None


SERVED = (
    {"choices": [{"message": {"content": "Hi", "tool_calls": [{"function": {"name": "f", "arguments": "{\"a\": 1}"}}]}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}}},
    {"choices": [{"text": "Hi", "finish_reason": "length"}]}, {"error": {"message": "no", "code": 429}},
)  # fmt: skip


def texts(data: bytes, folder: Path) -> None:
    """Formulas, patterns, templates and paths: the small languages."""
    from tunewright.graders import formula, linear_regex
    from tunewright.graders import template as grader_template

    text = data.decode("utf-8", "replace")
    for read in (
        lambda: formula.parse_formula(text, ["a", "b"])({"a": 0.5, "b": -1.0}),
        lambda: linear_regex.LinearRegex(text).search("aab" * 20 + "\n"),
        lambda: grader_template.check_template(text),
    ):
        try:
            read()
        except ValueError:  # what pydantic turns into a problem of the file
            continue


TEXTS = (b"0.9 * a + min(a, b) ^ 2", b"^(a|b)*c{2,5}[^x-z]\\d\\b(?i:x)$", b"{{ item.a[0].b }} and {{ sample.output_json['k'] }}")
TEXT_WORDS = (b"(a*)*", b"{1,999}", b"(?:", b"(?P<a>", b"\\1", b"(?=", b"[[:alpha:]]", b"\\p{L}", b"a ^ ", b"9 ** ", b"sqrt(", b"{{ item.", b"lambda: 0", b"(?a)", b"(?L)", b"(?x)", b"\\Z", b"((((")  # fmt: skip


def gguf(data: bytes, folder: Path) -> None:
    from tunewright.models.gguf import folder_from_gguf

    folder_from_gguf(_put(folder, "model.gguf", data))


def _gguf_seeds() -> list[bytes]:
    import tempfile

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


def _each(*values: Any) -> Callable[[], list[bytes]]:
    return lambda: [value if isinstance(value, bytes) else _lines(value) for value in values]


TARGETS = {
    target.name: target
    for target in (
        Target("jsonl", jsonl, lambda: [*_each(*ROWS)(), _lines(*ROWS[:2])], ROW_WORDS),
        Target("csv", csv, _each(b"prompt,completion,id\np,c,1\n\"a,\"\"b\",c,2\n", b"messages,tools\n\"" + json.dumps(TALK).replace('"', '""').encode() + b"\",\n"), (b'","', b'""', b"prompt,")),
        Target("parquet", parquet, _parquet_seeds, (b"PAR1",), cost=3),
        Target("filters", filters, _each(*ROWS), ROW_WORDS, cost=3),
        Target("bfcl", bfcl, _each(BFCL), (b'"ground_truth"', b'"function"')),
        Target("beir", beir, _each(BEIR), (NEXT_FILE, b"q1\td1\t1\n", b'"_id": ')),
        Target("trec", trec, _each(TREC), (NEXT_FILE, b"<doc>", b"</doc>", b"<docno>", b"<top>", b"<num>", b"<title>", b"&amp;", b"<text>")),
        Target("ms-marco", ms_marco, _each(MS_MARCO), (b'"passages"', b'"is_selected"')),
        Target("lm-eval", lm_eval, lambda: [path.read_bytes() for path in LOGS.glob("samples_*.jsonl")], (b'"doc_id"', b'"arguments"', b'"metrics"', b'"filter"'), cost=5),
        Target("inspect", inspect, lambda: [path.read_bytes() for path in LOGS.glob("*.eval")], (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"samples/"), cost=3),
        Target("inspect-sample", inspect_entry, _inspect_entries, (b'"scores"', b'"value"', b'"epoch"', NEXT_FILE), cost=5),
        Target("scores", scores, _each(SCORE, _lines(SCORE, {**SCORE, "id": "b", "scores": {"match": 0.0}})), (b'"scores"', b'"error"'), cost=5),
        Target("records", records, _each(RUN), (b'"stages"', b'"kind"', NEXT_FILE), cost=2),
        Target("adapters", adapters, _each(b'{"base_model_name_or_path": "m"}' + NEXT_FILE + b'{"base_identity": "x"}')),
        Target("tokens", tokens, _each(TOKEN), (b'"top"',)),
        Target("appended", appended, _each(*ROWS[:2])),
        Target("template", template, _each(CHATML, TOOLS_TEMPLATE), JINJA_WORDS, cost=5),
        Target("suite-template", suite_template, _each(b"{{ question }}{% for c in choices %}{{ c }}{% endfor %}"), JINJA_WORDS, cost=3),
        Target("conversation", conversation, _each(*ROWS[:8]), ROW_WORDS, cost=10),
        Target("tokenizer", tokenizer, _tokenizer_seeds, (NEXT_FILE, b'"chat_template"', b'"response_template"', b'"pre_tokenizer"'), cost=10),
        Target("tool-calls", tool_calls, _each(*ANSWERS), ANSWER_WORDS),
        Target("graded", graded, _each(*ANSWERS), ANSWER_WORDS, cost=2),
        Target("grader-file", grader_file, _grader_seeds, GRADER_WORDS, cost=5),
        Target("recipe", recipe, lambda: [path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.yaml"))], YAML_WORDS, cost=20),
        Target("set", overrides, _each(*SETS), YAML_WORDS, cost=20),
        Target("suite", suite, _each(SUITE), YAML_WORDS, cost=10),
        Target("served", served, _each(*SERVED), (b'"choices"', b'"error"')),
        Target("texts", texts, _each(*TEXTS), TEXT_WORDS),
        Target("gguf", gguf, _gguf_seeds, (b"GGUF", b"general.architecture", b"llama.block_count", b"tokenizer.ggml.tokens"), cost=200),
    )
}  # fmt: skip
