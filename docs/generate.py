"""Write the references that are made from the code: recipe.md, recipe.schema.json, cli.md, errors.md.

    python docs/generate.py            write them
    python docs/generate.py --check    write nothing; exit 1 if one is stale

Nothing here depends on the machine, the terminal or the day, so the same code always gives the same files.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from tunewright import errors
from tunewright.cli.main import PROGRAM, VERBS, command_of, help_text
from tunewright.errors import TunewrightError
from tunewright.recipe.explain import Entry, example_for, tag_of, walk
from tunewright.recipe.schema import recipe_schema
from tunewright.recipe.sections import EXAMPLES, MAKES, PARTS, SECTIONS, Header

HERE = Path(__file__).parent
HEAD = "<!-- written by docs/generate.py: change the code and run `make docs` -->\n"
HELP_WIDTH = 100
TAG_HELP = "which of the kinds this is"


def main(arguments: list[str]) -> int:
    """Write all references, or check them; return the exit code."""
    stale = [name for name in REFERENCES if _read(HERE / name) != _text(name)]
    if "--check" in arguments:
        print("\n".join(f"docs/{name} is stale: make docs" for name in stale), end="\n" if stale else "")
        return 1 if stale else 0
    for name in stale:
        (HERE / name).write_text(_text(name), encoding="utf-8")
        print(f"wrote docs/{name}")
    return 0


def _text(name: str) -> str:
    head = HEAD if name.endswith(".md") else ""  # JSON has no comments
    return head + REFERENCES[name]()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


# ── recipe.md ───────────────────────────────────────────────────────────────────────────────────────────────────────


def recipe_reference() -> str:
    """Return docs/recipe.md: a table for the header, for each stage, and for each mapping inside a stage."""
    opening = (
        "# Recipe\n\nA recipe is a header and a list of stages. Every key below may also be set from the command line, "
        "by the id of its stage: `--set sft.learning_rate=2e-5`. A list is entered by index: "
        "`--set data.sources.0.path=rows.jsonl`.\n"
    )
    example = _yaml("\n".join([EXAMPLES["recipe"], EXAMPLES["model"], EXAMPLES["stages"]]))
    header = f"## Header\n\n{_table(list(walk(Header)))}"
    return "\n".join([opening, example, header, *(_stage(kind) for kind in SECTIONS)])


def _stage(kind: str) -> str:
    """Describe a stage: what it is, an example, its keys; then the mappings inside it."""
    section = SECTIONS[kind]
    owners: dict[type[BaseModel], list[Entry]] = {}
    for entry in walk(section, (kind,)):
        owners.setdefault(entry.owner, []).append(entry)
    makes = ", ".join(f"`{kind}.{part}`" for part in PARTS.get(kind, ())) or MAKES[kind]
    parts = [
        f"## {kind}\n",
        f"{_doc(section)}\n",
        f"Makes: {makes}.\n",
        _yaml(EXAMPLES[kind]),
        _table(owners.pop(section)),
    ]
    return "\n".join([*parts, *(_inner(owner, entries) for owner, entries in owners.items())])


def _inner(owner: type[BaseModel], entries: list[Entry]) -> str:
    tag = f", `type: {tag_of(owner)}`" if tag_of(owner) else ""
    place = ".".join(part for part in entries[0].path[:-1] if part != "0")
    return f"### {place}{tag}\n\n{_doc(owner)}\n\n{_table(entries)}"


def _table(entries: list[Entry]) -> str:
    rows = [
        f"| `{entry.name}` | {_cell(entry.type)} | {_default(entry)} | {_cell(entry.help or TAG_HELP)} |"
        for entry in entries
    ]
    return "\n".join(["| key | type | default | what it is |", "|---|---|---|---|", *rows, *_examples(entries), ""])


def _default(entry: Entry) -> str:
    if entry.default is None:
        return "must be given"
    return "" if entry.default in ("null", '""') else f"`{entry.default}`"


def _examples(entries: list[Entry]) -> list[str]:
    lines = [example_for(entry.path) for entry in entries if ".".join(entry.path) in EXAMPLES and len(entry.path) > 1]
    return ["", "Examples: " + ", ".join(f"`{line}`" for line in lines)] if lines else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _doc(owner: type) -> str:
    return inspect.cleandoc(owner.__doc__ or "")


def _yaml(text: str) -> str:
    return f"```yaml\n{text}\n```\n"


# ── cli.md ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def cli_reference() -> str:
    """Return docs/cli.md: what `--help` prints, for `tw` and for each verb."""
    verbs = [f"## {PROGRAM} {name}\n\n```text\n{_verb_help(name)}\n```\n" for name in VERBS]
    return "\n".join(["# Command line\n", f"```text\n{help_text()}\n```\n", *verbs])


def _verb_help(name: str) -> str:
    command = command_of(name)
    context = command.make_context(
        f"{PROGRAM} {name}", [], resilient_parsing=True, terminal_width=HELP_WIDTH, max_content_width=HELP_WIDTH
    )
    return "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())


# ── errors.md ───────────────────────────────────────────────────────────────────────────────────────────────────────


def error_reference() -> str:
    """Return docs/errors.md: the tree of errors with exit codes."""
    opening = (
        "# Errors\n\nWhat Tunewright raises on purpose, and the exit code of `tw`. Every message says where, what was "
        "seen, what was expected, and what to do next. `--json` prints it as one JSON object. Anything else that ends "
        "a command is a bug: it comes with a traceback and exit code 3.\n"
    )
    lines = ["| error | exit code | meaning |", "|---|---|---|", *_error_rows(TunewrightError, 0)]
    codes = [f"- `{code}`: {meaning}" for code, meaning in EXIT_CODES.items()]
    return "\n".join([opening, *lines, "", "## Exit codes\n", *codes, ""])


EXIT_CODES = {
    errors.EXIT_DONE: "done",
    errors.EXIT_GATE: "a gate failed, or a comparison came out worse",
    errors.EXIT_USER: "what the user wrote or pointed at is wrong",
    errors.EXIT_BUG: "a bug, or the machine: disk full, a library missing",
    errors.EXIT_INTERRUPTED: "stopped by Ctrl-C; the same command goes on",
}


def _error_rows(error: type[TunewrightError], depth: int) -> list[str]:
    summary = _doc(error).partition("\n\n")[0].replace("\n", " ")
    row = f"| {'&nbsp;' * 4 * depth}`{error.__name__}` | {error.exit_code} | {_cell(summary)} |"
    children = [child for child in error.__subclasses__() if child.__module__ == errors.__name__]
    return [row, *(line for child in children for line in _error_rows(child, depth + 1))]


def schema_reference() -> str:
    """Return docs/recipe.schema.json, which the recipes of this repository point their editors at."""
    return json.dumps(recipe_schema(), ensure_ascii=False, indent=2) + "\n"


REFERENCES: dict[str, Callable[[], str]] = {
    "recipe.md": recipe_reference,
    "recipe.schema.json": schema_reference,
    "cli.md": cli_reference,
    "errors.md": error_reference,
}

if __name__ == "__main__":
    os.environ["NO_COLOR"] = "1"
    sys.exit(main(sys.argv[1:]))
