# ruff: noqa: E501  # the real inputs stand on lines of their own length
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

from benchmarks.fuzz_corpus import (
    ANSWER_WORDS,
    ANSWERS,
    BEIR,
    BFCL,
    CHATML,
    CONVERSATIONS,
    GRADER_WORDS,
    GRADERS,
    JINJA_WORDS,
    LOGS,
    MS_MARCO,
    NEXT_FILE,
    ROOT,
    ROW_WORDS,
    ROWS,
    RUN,
    SCORE,
    SERVED,
    SETS,
    SUITE,
    TALK,
    TEXT_GRADERS,
    TEXT_WORDS,
    TEXTS,
    TOKEN,
    TOOL,
    TOOLS_TEMPLATE,
    TREC,
    YAML_WORDS,
    gguf_seeds,
    grader_seeds,
    inspect_entries,
    lines,
    parquet_seeds,
    tokenizer_files,
    tokenizer_seeds,
)
from tunewright.errors import MissingExtra, UserError


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


def _put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _files(data: bytes, folder: Path, *names: str) -> list[Path]:
    parts = data.split(NEXT_FILE, len(names) - 1)
    return [_put(folder, name, part) for name, part in zip(names, [*parts, *[b""] * len(names)], strict=False)]


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read_rows(path: Path, folder: Path) -> None:
    """Read rows, write them, and read them back: the same, or nothing was written."""
    from tunewright.artifacts.files import read_jsonl, write_jsonl
    from tunewright.sources.dropped import Dropped
    from tunewright.sources.files import look, read_file

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


# ── templates, conversations, tokenizers ────────────────────────────────────────────────────────────────────────────


def template(data: bytes, folder: Path) -> None:
    from tunewright.chat.template import MAX_OUTPUT_CHARS, ChatTemplate
    from tunewright.errors import ModelError

    made = ChatTemplate(
        data.decode("utf-8", "surrogateescape" if len(data) % 7 == 0 else "replace"), {"bos_token": "<s>"}
    )
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

    render(
        data.decode("utf-8", "replace"), {"messages": TALK, "question": "q", "choices": ["a", "b"], "id": "1"}, "row 1"
    )


def conversation(data: bytes, folder: Path) -> None:
    """Rows through a renderer: whole, as a prompt, and every answer alone."""
    from tunewright.artifacts.files import read_jsonl
    from tunewright.sources.formats import to_row

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
        for name, text in tokenizer_files().items():
            (folder / name).write_text(text)
        (folder / "chat_template.jinja").write_bytes(source)
        found.append(Renderer.from_folder(folder))
    return found


def tokenizer(data: bytes, folder: Path) -> None:
    """A model's folder, any of whose files may be strange."""
    from tunewright.chat.render import Renderer
    from tunewright.chat.tool_calls import model_parser

    _files(data, folder, "tokenizer_config.json", "generation_config.json", "config.json", "tokenizer.json")
    made = Renderer.from_folder(folder)
    made.conversation(TALK)
    _, parser = model_parser(made)
    parser("<tool_call>", [TOOL])


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    row = ChatRow(
        id="r",
        messages=[TALK[1], {"role": "assistant", "content": "12"}],
        tools=[TOOL],
        meta={"gold": {"a": 1}, "choices": ["a", "b"], "answer": "A"},
    )
    for grader in _graders():
        grade = grader.grade(text, row)
        assert (grade.score is None) == (grade.error is not None)


@cache
def _graders() -> list[Any]:
    from tunewright.graders.protocol import load_grader

    return [load_grader(spec) for spec in GRADERS if spec["type"] in TEXT_GRADERS]


def grader_file(data: bytes, folder: Path) -> None:
    """A grader's file: read, checked, and asked for a grade where that runs no code and no model."""
    from tunewright.graders.load import build, read_spec
    from tunewright.graders.spec import Context

    spec = read_spec(_put(folder, "grader.json" if data[:1] == b"{" else "grader.yaml", data))
    json.dumps(spec.model_dump(mode="json"))
    if spec.type in TEXT_GRADERS:
        build(spec, Context()).grade("12", {"reference": "12", "answer": "B"})


# ── recipes and suites ──────────────────────────────────────────────────────────────────────────────────────────────


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


def suite(data: bytes, folder: Path) -> None:
    from tunewright.suites.load import read_suite

    paths = _files(data, folder, "suite.yaml", "rows.jsonl")
    made = read_suite(paths[0])
    if made.rows is not None:
        for row in made.rows(0, 3):
            made.score("12", row)


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


def gguf(data: bytes, folder: Path) -> None:
    from tunewright.models.gguf import folder_from_gguf

    folder_from_gguf(_put(folder, "model.gguf", data))


def _each(*values: Any) -> Callable[[], list[bytes]]:
    return lambda: [value if isinstance(value, bytes) else lines(value) for value in values]


TARGETS = {
    target.name: target
    for target in (
        Target("jsonl", jsonl, lambda: [*_each(*ROWS)(), lines(*ROWS[:2])], ROW_WORDS),
        Target("csv", csv, _each(b"prompt,completion,id\np,c,1\n\"a,\"\"b\",c,2\n", b"messages,tools\n\"" + json.dumps(TALK).replace('"', '""').encode() + b"\",\n"), (b'","', b'""', b"prompt,")),
        Target("parquet", parquet, parquet_seeds, (b"PAR1",), cost=3),
        Target("filters", filters, _each(*ROWS), ROW_WORDS, cost=3),
        Target("bfcl", bfcl, _each(BFCL), (b'"ground_truth"', b'"function"')),
        Target("beir", beir, _each(BEIR), (NEXT_FILE, b"q1\td1\t1\n", b'"_id": ')),
        Target("trec", trec, _each(TREC), (NEXT_FILE, b"<doc>", b"</doc>", b"<docno>", b"<top>", b"<num>", b"<title>", b"&amp;", b"<text>")),
        Target("ms-marco", ms_marco, _each(MS_MARCO), (b'"passages"', b'"is_selected"')),
        Target("lm-eval", lm_eval, lambda: [path.read_bytes() for path in LOGS.glob("samples_*.jsonl")], (b'"doc_id"', b'"arguments"', b'"metrics"', b'"filter"'), cost=5),
        Target("inspect", inspect, lambda: [path.read_bytes() for path in LOGS.glob("*.eval")], (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"samples/"), cost=3),
        Target("inspect-sample", inspect_entry, inspect_entries, (b'"scores"', b'"value"', b'"epoch"', NEXT_FILE), cost=5),
        Target("scores", scores, _each(SCORE, lines(SCORE, {**SCORE, "id": "b", "scores": {"match": 0.0}})), (b'"scores"', b'"error"'), cost=5),
        Target("records", records, _each(RUN), (b'"stages"', b'"kind"', NEXT_FILE), cost=2),
        Target("adapters", adapters, _each(b'{"base_model_name_or_path": "m"}' + NEXT_FILE + b'{"base_identity": "x"}')),
        Target("tokens", tokens, _each(TOKEN), (b'"top"',)),
        Target("appended", appended, _each(*ROWS[:2])),
        Target("template", template, _each(CHATML, TOOLS_TEMPLATE), JINJA_WORDS, cost=5),
        Target("suite-template", suite_template, _each(b"{{ question }}{% for c in choices %}{{ c }}{% endfor %}"), JINJA_WORDS, cost=3),
        Target("conversation", conversation, _each(*ROWS[:8]), ROW_WORDS, cost=10),
        Target("tokenizer", tokenizer, tokenizer_seeds, (NEXT_FILE, b'"chat_template"', b'"response_template"', b'"pre_tokenizer"'), cost=10),
        Target("tool-calls", tool_calls, _each(*ANSWERS), ANSWER_WORDS),
        Target("graded", graded, _each(*ANSWERS), ANSWER_WORDS, cost=2),
        Target("grader-file", grader_file, grader_seeds, GRADER_WORDS, cost=5),
        Target("recipe", recipe, lambda: [path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.yaml"))], YAML_WORDS, cost=20),
        Target("set", overrides, _each(*SETS), YAML_WORDS, cost=20),
        Target("suite", suite, _each(SUITE), YAML_WORDS, cost=10),
        Target("served", served, _each(*SERVED), (b'"choices"', b'"error"')),
        Target("texts", texts, _each(*TEXTS), TEXT_WORDS),
        Target("gguf", gguf, gguf_seeds, (b"GGUF", b"general.architecture", b"llama.block_count", b"tokenizer.ggml.tokens"), cost=200),
    )
}  # fmt: skip
