"""`tw show`: a run on one screen, or the rows it was trained on, with the trained tokens marked.

tw show RUN                   stages, numbers, gates
tw show rows RUN              training rows as conversations
tw show rows RUN --tokens     the same as tokens: on a terminal the trained ones in colour, else between ⟦ and ⟧
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated, Any

import typer

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.rundir import all_runs, find_run
from tunewright.cli.tables import has_colour, print_json, print_table, print_text
from tunewright.errors import RunFolderError, UserError
from tunewright.recipe.scaffold import shell_word
from tunewright.reports import words
from tunewright.reports.gather import Judged, Stage, Story, headline, status_sentence, what_to_do
from tunewright.reports.report import REPORT_NAME
from tunewright.reports.samples import Piece, SampleRow, Samples, read_samples, stretches

ROWS = "rows"
RUN_FORMS = "folder, recipe/number, or a recipe's name for its latest"
DEFAULT_ROWS = 3


def show(
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"a run ({RUN_FORMS}), or `rows` and then the run")],
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="after `rows`: the run")] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="rows as tokens, the trained ones marked")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help=f"how many rows; default {DEFAULT_ROWS}")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show a run on one screen; `tw show rows RUN` shows the rows it was trained on."""
    if what != ROWS or (run is None and _is_run(ROWS)):  # a recipe may be called `rows`, as that of rows.jsonl is
        if run is not None:
            raise UserError(
                f"{what!r} cannot be shown", where="tw show", expected="`tw show RUN` or `tw show rows RUN`"
            )
        _refuse_of_rows(what, tokens, limit)
        _show_run(Story(find_run(what)), json_output)
    elif run is None:
        raise UserError("no run was named", where="tw show rows", fix="tw show rows RUN")
    elif tokens:
        _show_tokens(token_rows(Story(find_run(run)), limit or DEFAULT_ROWS), json_output)
    else:
        _show_rows(training_rows(Story(find_run(run)), limit or DEFAULT_ROWS), json_output)


def _refuse_of_rows(run: str, tokens: bool, limit: int | None) -> None:
    """Raise UserError if an option was given that is of rows."""
    options = [*(["--tokens"] if tokens else []), *([f"--limit {limit}"] if limit is not None else [])]
    if options:
        fix = " ".join(["tw show rows", shell_word(run), *options])
        raise UserError("it is of rows, and `rows` was not said", where=options[0], fix=fix)


def _is_run(text: str) -> bool:
    return any(run.path.parent.name == text for run in all_runs())


# ── a run ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _show_run(story: Story, json_output: bool) -> None:
    if json_output:
        print_json(run_as_json(story))
        return
    print_text("\n".join(_opening(story)))
    print()
    head = ("stage", "kind", "what happened", "time", "result")
    print_table(head, [_stage_cells(story, stage) for stage in story.stages], right=(3,), whole=(0, 1))
    print()
    print_text("\n".join(_closing(story)))


def run_as_json(story: Story) -> dict[str, Any]:
    """Return the run as data: state, finding, and each stage with its result and verdicts."""
    return {
        "run": story.name,
        "folder": str(story.run.path),
        "status": story.status,
        "finding": headline(story),
        "verdict": story.comparison.verdict if story.comparison else None,
        "seconds": round(story.seconds, 1),
        "error": story.state.get("error"),
        "stages": [_stage_as_json(stage) for stage in story.stages],
    }


def _stage_as_json(stage: Stage) -> dict[str, Any]:
    record = stage.record
    return {
        "id": stage.id,
        "kind": stage.kind,
        "status": stage.status,
        "reused_from": stage.reused_from,
        "why": stage.why,
        "seconds": stage.spent_seconds,
        "fingerprint": record.fingerprint if record else None,
        "result": record.result if record else None,
        "verdicts": [verdict.model_dump(mode="json") for verdict in record.verdicts] if record else [],
    }


def _opening(story: Story) -> list[str]:
    started = words.moment(story.state.get("started"))
    lines = [f"{story.name}  {story.status}  {started}  {words.took(story.seconds)} of work", headline(story)]
    if story.status != "done":
        lines += [f"{status_sentence(story)} {what_to_do(story)}" if story.comparison else what_to_do(story)]
        lines += [str(story.state["error"])] if story.state.get("error") else []
    return lines


def _stage_cells(story: Story, stage: Stage) -> list[str]:
    return [stage.id, stage.kind, stage.what_happened, words.took(stage.spent_seconds), _stage_result(story, stage)]


def _stage_result(story: Story, stage: Stage) -> str:
    """Return what a finished stage made, in a few words."""
    if dataset := story.datasets.get(stage.id):
        return f"{words.plural(dataset.train_rows, 'row')} to train on, {words.count(dataset.test_rows)} held out"
    if trained := story.trained.get(stage.id):
        losses = f"{words.significant(trained.first_loss)} → {words.significant(trained.last_loss)}"
        return f"{words.plural(trained.steps, 'step')}, loss {losses}"
    if scores := story.scores.get(stage.id):
        return ", ".join(
            f"{words.metric_label(s.metric)} {words.Unit.of((s.low, s.high)).value(s.value)}" for s in scores.summary
        )
    if comparison := story.comparisons.get(stage.id):
        return f"{comparison.candidate} against {comparison.baseline}: {comparison.verdict}"
    return ""


def _closing(story: Story) -> list[str]:
    if not story.judged:
        lines = ["no gate has judged yet"]
    elif not story.not_passed:
        lines = [f"{words.plural(len(story.judged), 'gate')} judged, none warned or failed"]
    else:
        lines = [line for judged in story.not_passed for line in _gate_lines(judged)]
    page = story.run.path / REPORT_NAME
    return [*lines, f"report: {page}" if page.is_file() else f"report: `tw report {story.word}` writes it"]


def _gate_lines(judged: Judged) -> list[str]:
    verdict = judged.verdict
    head = f"{judged.outcome}: {verdict.name} ({judged.stage}): {verdict.measured}; the bound is {verdict.bound}"
    return [head, f"  {verdict.remedy}"] if verdict.remedy else [head]


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _data_stage(story: Story) -> Stage:
    """Return the first finished `data` stage.

    Raises:
        RunFolderError: there is none.
    """
    for stage in story.stages:
        if stage.id in story.datasets:
            return stage
    raise RunFolderError("no `data` stage of this run is done", where=story.name, fix="give the `tw run` command again")


def training_rows(story: Story, limit: int) -> list[ChatRow]:
    """Return the first training rows of a run."""
    return list(islice(story.datasets[_data_stage(story).id].part("train"), limit))


def token_rows(story: Story, limit: int) -> list[SampleRow]:
    """Return the first training rows as tokens: from samples.json while it has enough, else rendered again."""
    stage = _data_stage(story)
    samples: Samples | None = read_samples(stage.folder)
    if samples and len(samples.rows) >= limit:
        return samples.rows[:limit]
    from tunewright.chat.render import Renderer  # tokenizers and templates: only for rows beyond the kept samples
    from tunewright.chat.show import marked_rows
    from tunewright.models.find import tokenizer_folder

    model = (stage.record.section.get("model") if stage.record else None) or story.model
    renderer = Renderer.from_folder(tokenizer_folder(model))
    marked = marked_rows(training_rows(story, limit), renderer, limit)
    return [SampleRow(id=row_id, pieces=[Piece(*piece) for piece in pieces]) for row_id, pieces in marked]


def _show_rows(rows: list[ChatRow], json_output: bool) -> None:
    if json_output:
        print_json({"rows": [row.model_dump(mode="json") for row in rows]})
        return
    for row in rows:
        print_text("\n".join([*_row_lines(row), ""]))


def _row_lines(row: ChatRow) -> list[str]:
    tools = ", ".join(tool.get("function", tool).get("name", "?") for tool in row.tools or ())
    head = f"── {row.id}  source {row.source or '–'}, group {row.group or '–'}"
    return [head, *([f"tools: {tools}"] if tools else []), *(_message_line(message) for message in row.messages)]


def _message_line(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    said = str(message.get("content") or "")
    shown = f"{said} {json.dumps(calls, ensure_ascii=False)}".strip() if calls else said
    return f"{message.get('role', '?')}: {shown}"


def _show_tokens(rows: list[SampleRow], json_output: bool) -> None:
    if json_output:
        print_json({"rows": [{"id": row.id, "pieces": [list(piece) for piece in row.pieces]} for row in rows]})
        return
    for row in rows:
        print_text(f"── {row.id}: {row.trained_tokens} of {words.plural(len(row.pieces), 'token')} trained")
        _print_pieces(row)
        print()


def _print_pieces(row: SampleRow) -> None:
    """Print a whole row: trained stretches in colour, token by token, or between marks."""
    if has_colour():
        _print_coloured(row)
        return
    runs = [("".join(run.head), run.trained) for run in stretches(row.pieces, longest=len(row.pieces))]
    print_text("".join(f"⟦{text}⟧" if trained else text for text, trained in runs))


def _print_coloured(row: SampleRow) -> None:
    from rich.console import Console
    from rich.text import Text

    text = Text()
    for index, piece in enumerate(row.pieces):
        trained = ("black on green", "black on bright_green")[index % 2]  # two shades: one sees where tokens end
        text.append(words.printable(piece.text), style=trained if piece.trained else "dim")
    Console(highlight=False, soft_wrap=True).print(text)
