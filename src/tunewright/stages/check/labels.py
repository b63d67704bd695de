"""Part of `check`: what training will make of the rows, source by source, before anything is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.verdict import Verdict
from tunewright.chat.fewer_tools import with_fewer_tools
from tunewright.chat.folder import read_folder
from tunewright.chat.labels import LabelAudit, audit
from tunewright.chat.lint import lint_template
from tunewright.chat.messages import plain
from tunewright.chat.render import Rendered, Renderer
from tunewright.chat.row_lint import lint_rows
from tunewright.errors import DataError, ModelError
from tunewright.gates.format import rows_have_no_control_tokens, rows_have_no_foreign_template
from tunewright.gates.rows import (
    Answer,
    RowLength,
    answers_are_whole,
    answers_end_with_end_of_turn,
    every_row_trains,
    labels_are_the_answers,
    rows_fit,
)
from tunewright.gates.written import answers_say_something, rows_are_written
from tunewright.stages.check.soundness import judge_soundness

AUDITED = 200  # rows a source whose every token is held against its messages


@dataclass(frozen=True)
class Limits:
    """How long rows may be: tokens or None, whether longer ones are dropped, and whether tools are before that."""

    tokens: int | None = None
    drops: bool = False
    drops_tools: bool = False


@dataclass(frozen=True)
class _Seen:
    row: ChatRow
    rendered: Rendered


def judge_rows(
    folder: Path, rows: Sequence[ChatRow], measured: dict[str, Any], limits: Limits | None = None
) -> list[Verdict]:
    """Return the verdicts on rows as the model in `folder` sees them.

    Args:
        folder: with tokenizer and template.
        rows: rows to train on.
        measured: takes the measurements: `labels`, one entry a source.
        limits: of the recipe; else the model's context.

    Raises:
        DataError, ModelError: a row cannot be rendered; names it.
    """
    found = read_folder(folder)
    renderer = Renderer(found)
    limits = limits or Limits(renderer.context_length)
    seen = [_as_trained(renderer, row, limits) for row in rows]
    audits = _audits(renderer, seen)
    in_text = lint_rows(rows, found, lint_template(found))
    measured["labels"] = _table(seen, audits, limits, renderer)
    measured["text"] = [vars(one) for one in in_text.findings[:50]]
    last = {one.row.id: _last_trained(one.rendered) for one in seen}
    return [
        rows_are_written(_left_out(seen), len(seen)),
        answers_say_something([one.row.id for one in seen if _says_nothing(one.row)], len(seen)),
        rows_have_no_control_tokens(in_text),
        rows_have_no_foreign_template(in_text),
        every_row_trains({one.row.id: sum(one.rendered.trained) for one in seen}),
        answers_end_with_end_of_turn(last, renderer.stop_token_ids),
        labels_are_the_answers(audits),
        rows_fit([_length(one) for one in seen], limits.tokens, drops=limits.drops, drops_tools=limits.drops_tools),
        answers_are_whole([_answer(one) for one in seen]),
        judge_soundness(rows),
    ]


def _as_trained(renderer: Renderer, row: ChatRow, limits: Limits) -> _Seen:
    """Return a row as it is trained on; that the stage `data` holds none out with fewer tools is not seen here."""
    rendered = _rendered(renderer, row)
    if limits.drops_tools and limits.tokens is not None and len(rendered.token_ids) > limits.tokens:
        shorter = with_fewer_tools(row, limits.tokens, renderer)
        return _Seen(row, rendered) if shorter is None else _Seen(shorter, _rendered(renderer, shorter))
    return _Seen(row, rendered)


def _rendered(renderer: Renderer, row: ChatRow) -> Rendered:
    try:
        return renderer.conversation(row.messages, row.tools)
    except (DataError, ModelError) as error:
        where = f"{row.source} row {row.id}" + (f": {error.where}" if error.where else "")
        raise type(error)(error.seen, where=where, expected=error.expected, fix=error.fix) from None


def _audits(renderer: Renderer, seen: Sequence[_Seen]) -> list[LabelAudit]:
    """Return the audits of the first rows of each source."""
    taken: defaultdict[str, int] = defaultdict(int)
    found = []
    for one in seen:
        taken[one.row.source] += 1
        if taken[one.row.source] <= AUDITED:
            row, rendered = one.row, one.rendered
            found.append(
                audit(renderer, row.id, row.source, row.messages, row.tools, rendered.token_ids, rendered.trained)
            )
    return found


def _left_out(seen: Sequence[_Seen]) -> dict[str, str]:
    """Return row id -> role, where what the system or the user says is not in the text."""
    found = {}
    for one in seen:
        for message in map(plain, one.row.messages):
            said = str(message.get("content") or "").strip()
            if message["role"] in ("system", "user") and said not in one.rendered.text:
                found[one.row.id] = str(message["role"])
    return found


def _says_nothing(row: ChatRow) -> bool:
    said = plain(row.answer)
    return not str(said.get("content") or "").strip() and not said.get("tool_calls")


def _last_trained(rendered: Rendered) -> int | None:
    pairs = zip(reversed(rendered.token_ids), reversed(rendered.trained), strict=True)
    return next((token for token, on in pairs if on), None)


def _last_run(rendered: Rendered) -> tuple[int, int]:
    """Return where the last run of trained tokens begins and ends; (n, n) for none."""
    end = next((at for at in range(len(rendered.trained), 0, -1) if rendered.trained[at - 1]), 0)
    begin = next((at for at in range(end, 0, -1) if not rendered.trained[at - 1]), 0)
    return (begin, end) if end else (len(rendered.trained),) * 2


def _length(one: _Seen) -> RowLength:
    return RowLength(one.row.id, one.row.source, len(one.rendered.token_ids), _last_run(one.rendered)[0])


def _answer(one: _Seen) -> Answer:
    begin, end = _last_run(one.rendered)
    said = one.row.answer
    text = str(said.get("content") or "") if not said.get("tool_calls") else "}"  # a call is JSON: never cut
    return Answer(one.row.id, one.row.source, text, end - begin)


def _table(
    seen: Sequence[_Seen], audits: Sequence[LabelAudit], limits: Limits, renderer: Renderer
) -> list[dict[str, Any]]:
    """Return what is measured of each source, for check.json."""
    by_source: dict[str, list[_Seen]] = {}
    for one in seen:
        by_source.setdefault(one.row.source, []).append(one)
    return [_source(name, rows, [a for a in audits if a.source == name], limits, renderer)
            for name, rows in by_source.items()]  # fmt: skip


def _source(
    name: str, rows: Sequence[_Seen], audits: Sequence[LabelAudit], limits: Limits, renderer: Renderer
) -> dict[str, Any]:
    lengths = [_length(one) for one in rows]
    long = [one for one in lengths if limits.tokens is not None and one.tokens > limits.tokens]
    return {
        "source": name,
        "rows": len(rows),
        "tokens": sum(one.tokens for one in lengths),
        "tokens_trained": sum(sum(one.rendered.trained) for one in rows),
        "longest": max((one.tokens for one in lengths), default=0),
        "rows_that_train_nothing": sum(not any(one.rendered.trained) for one in rows),
        "rows_too_long": len(long),
        "answers_a_cut_would_reach": sum(one.prompt_tokens < (limits.tokens or 0) for one in long),
        "rows_that_do_not_end_the_turn": sum(_last_trained(o.rendered) not in renderer.stop_token_ids for o in rows),
        "rows_audited": len(audits),
        "rows_verified": sum(one.verified for one in audits),
        "prompt_tokens_trained": sum(one.prompt_trained for one in audits),
        "answer_tokens_not_trained": sum(one.answer_masked for one in audits),
        "ends_not_trained": sum(one.ends_masked for one in audits),
    }
