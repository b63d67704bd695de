"""`tw lint MODEL [ROWS]`: a chat template held against its tokenizer, and the text and labels of rows against both."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from tunewright.artifacts.verdict import Verdict
from tunewright.cli.check import verdict_lines
from tunewright.cli.references import ROWS_FORMS, find_rows
from tunewright.cli.tables import print_json, print_text
from tunewright.errors import EXIT_GATE

DEFAULT_ROWS = 1000


def lint(
    model: Annotated[str, typer.Argument(help="an alias, a model folder, a .gguf file or a hub id")],
    rows: Annotated[str | None, typer.Argument(help=ROWS_FORMS)] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="how many rows are looked at")] = DEFAULT_ROWS,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Hold a chat template, and the text and labels of rows, against the model's tokenizer."""
    verdicts = lint_model(model, rows, limit)
    if json_output:
        print_json({"model": model, "rows": rows, "verdicts": [one.model_dump(mode="json") for one in verdicts]})
    else:
        print_text("\n".join(verdict_lines(verdicts)))
    if any(one.stops for one in verdicts):
        raise typer.Exit(EXIT_GATE)


def lint_model(model: str, rows: str | None, limit: int) -> list[Verdict]:
    """Return the verdicts on a model, and on rows where some are named.

    Raises:
        ModelError: there is no such model, or its template cannot be used. DataError: rows that cannot be read.
    """
    from tunewright.models.find import tokenizer_folder
    from tunewright.stages.check.labels import judge_rows
    from tunewright.stages.check.template import calls_tools, judge_template

    folder, measured = tokenizer_folder(model), dict[str, Any]()
    found = [] if rows is None else list(islice(find_rows(rows), limit))
    verdicts = judge_template(folder, measured, calls_tools=calls_tools(found))
    if rows is not None:
        verdicts += judge_rows(folder, found, measured)
    return verdicts
