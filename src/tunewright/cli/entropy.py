"""`tw entropy`: what a model doubts, token by token, on any rows; or what a second one doubts more or less.

tw entropy MODEL ROWS            one model
tw entropy MODEL MODEL ROWS      the second against the first: base against tuned

Beside the page, in a folder of the page's name, stand tokens.jsonl (one token a line) and summary.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import make_folder, write_json
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.artifacts.tokens import TokenRow, write_tokens
from tunewright.cli.references import MODEL_FORMS, ROWS_FORMS, FoundModel, find_model, find_rows
from tunewright.cli.tables import print_json, print_table, print_text
from tunewright.errors import ModelError, UserError
from tunewright.progress import task
from tunewright.recipe.scaffold import shell_word
from tunewright.reports import words

DEFAULT_ROWS = 8
LABELS = ("A", "B")
HEAD = ("", "tokens", "mean entropy", "95% interval", "median", "mean NLL", "first choice")
RIGHT = (1, 2, 3, 4, 5, 6)


def entropy(
    models_and_rows: Annotated[
        list[str], typer.Argument(metavar="MODEL [MODEL] ROWS", help=f"a model: {MODEL_FORMS}. Rows: {ROWS_FORMS}")
    ],
    limit: Annotated[int, typer.Option("--limit", min=1, help="how many rows")] = DEFAULT_ROWS,
    output: Annotated[Path, typer.Option("--output", help="the page to write")] = Path("entropy.html"),
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show what one model, or a second against a first, knew in front of every token of some rows."""
    page = _page(output)
    *model_texts, rows_text = _arguments(models_and_rows)
    rows = list(islice(find_rows(rows_text), limit))
    models = [find_model(text) for text in model_texts]
    folder = make_folder(page.with_suffix(""))
    told = analyse(models, rows, rows_text, folder)
    from tunewright.reports.entropy import write_entropy_page

    write_entropy_page(folder, page)
    if json_output:
        print_json({**told, "page": str(page), "tokens": str(folder / "tokens.jsonl")})
    else:
        _print_summary(told)
        print(page)


def _page(output: Path) -> Path:
    """Return the page to write; its ending may be left out.

    Raises:
        UserError: it cannot be a file's name: `.`, `..` or `/`.
    """
    if output.name in ("", ".."):
        fix = f"--output {shell_word(str(output / 'entropy.html'))}"
        raise UserError("this is a folder", where=str(output), expected="the page to write", fix=fix)
    return output if output.suffix in (".html", ".htm") else output.with_name(f"{output.name}.html")


def _arguments(texts: list[str]) -> list[str]:
    """Return one or two models and the rows.

    Raises:
        UserError: too few or too many; says what is missing.
    """
    if len(texts) == 1:
        raise UserError(
            "no rows were named", where=f"tw entropy {texts[0]}", expected=ROWS_FORMS,
            fix=f"tw entropy {texts[0]} rows.jsonl",
        )  # fmt: skip
    if len(texts) > 3:
        raise UserError(f"{len(texts)} arguments", where="tw entropy", expected="one or two models, and then the rows")
    return texts


def analyse(models: Sequence[FoundModel], rows: Sequence[ChatRow], rows_from: str, folder: Path) -> dict[str, Any]:
    """Write tokens.jsonl and summary.json into `folder`; return the content of the latter.

    Raises:
        ModelError: a model cannot be loaded, or two models read the rows as different tokens.
        DataError: a row that a model cannot read.
    """
    from tunewright.stats.token_entropy import entropy_change, entropy_summary

    _check_same_tokens(models, rows)
    identities = [_identity(model) for model in models]
    rows_of = {label: _read(model, rows) for label, model in zip(LABELS, models, strict=False)}
    write_tokens(folder, rows_of)
    told = [
        {"label": label, "name": model.name, "identity": identity, "summary": asdict(entropy_summary(rows_of[label]))}
        for label, model, identity in zip(LABELS, models, identities, strict=False)
    ]
    change = asdict(entropy_change(*rows_of.values())) if len(models) > 1 else None
    summary = {"rows_from": rows_from, "models": told, "change": change}
    write_json(folder / "summary.json", summary)
    return summary


def _check_same_tokens(models: Sequence[FoundModel], rows: Sequence[ChatRow]) -> None:
    """Refuse two models of different tokenizers or templates before anything is loaded."""
    from tunewright.chat.render import Renderer
    from tunewright.models.find import model_folder

    renderers = [Renderer.from_folder(folder) for folder in {model_folder(model.base) for model in models}]
    for row in rows if len(renderers) > 1 else ():
        first, second = (renderer.conversation(row.messages, row.tools).token_ids for renderer in renderers)
        if first != second:
            raise ModelError(
                f"the two models read row {row.id} as different tokens, so nothing can be compared token by token",
                where=" and ".join(model.name for model in models),
                expected="one tokenizer and one chat template, as of a base and what was tuned from it",
                fix="look at each by itself: tw entropy MODEL ROWS",
            )


def _identity(model: FoundModel) -> str:
    """Return what the bytes of a model are, its adapter's included."""
    from tunewright.models.find import model_identity

    identity = model_identity(model.base)
    if model.base_identity not in ("", identity):
        raise ModelError(
            "the base model has changed since the adapter was trained on it",
            where=model.base,
            expected=model.base_identity,
            fix="bring back the base model, or train again",
        )
    weights = model.adapter / "adapter_model.safetensors" if model.adapter else None
    return f"{identity} + adapter:{sha256_file(weights)}" if weights and weights.is_file() else identity


def _read(model: FoundModel, rows: Sequence[ChatRow]) -> list[TokenRow]:
    """Return the rows as the model reads them."""
    from tunewright.chat.render import Renderer
    from tunewright.models.find import model_folder
    from tunewright.models.load import load_model
    from tunewright.models.precision import resolve_precision
    from tunewright.models.token_entropy import analyse_rows

    folder = model_folder(model.base)
    with task(f"reading {words.plural(len(rows), 'row')} ({model.name})", len(rows)) as bar:
        loaded = load_model(folder, resolve_precision("auto"), model.adapter)
        found = []
        for row in analyse_rows(loaded, Renderer.from_folder(folder), rows):
            found.append(row)
            bar.advance()
    return found


# ── what is printed ─────────────────────────────────────────────────────────────────────────────────────────────────


def _print_summary(told: dict[str, Any]) -> None:
    lines = []
    for model in told["models"]:
        named = f"{model['label']}: {model['name']}, " if told["change"] else ""
        summary = model["summary"]
        lines += [_cells(f"{named}{role}", measure) for role, measure in summary["by_role"].items()]
    print_table(HEAD, lines, RIGHT)
    print_text("\n".join(_sentences(told)))


def _cells(title: str, measure: dict[str, Any]) -> list[str]:
    return [
        title,
        words.count(measure["tokens"]),
        words.significant(measure["mean_entropy"]),
        _ends(measure["interval"]),
        words.significant(measure["median_entropy"]),
        words.significant(measure["mean_nll"]),
        words.percent(measure["accuracy"]),
    ]


def _ends(interval: Sequence[float] | None) -> str:
    return " to ".join(words.significant(end) for end in interval) if interval else "–"


def _sentences(told: dict[str, Any]) -> list[str]:
    summary = told["models"][-1]["summary"]
    forks = ", ".join(repr(fork["text"]) for fork in summary["forks"][:6])
    share = words.percent(sum(summary["nll_by_entropy_decile"][-2:]))
    lines = [f"the least sure fifth of the answer tokens carries {share} of the loss", f"forking tokens: {forks}"]
    change = told["change"]
    if change:
        difference = f"B − A: {words.significant(change['difference'])} nats of mean entropy"
        lines.insert(0, f"{difference}, 95% interval {_ends(change['interval'])}")
    return lines
