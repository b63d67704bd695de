"""Rows from the Berkeley Function-Calling Leaderboard, v4, read from the installed package `bfcl-eval`.

The package is not imported (its own requirements clash with everything); only its data files are read: questions with
their functions, and for each argument the list of acceptable values. The target is the first acceptable call. BFCL
writes Python's type names into its schemas; they become JSON Schema.

Data: Patil et al. 2025, "The Berkeley Function Calling Leaderboard", Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import read_jsonl
from tunewright.errors import EnvironmentProblem
from tunewright.sources.dropped import Dropped

PACKAGE = "bfcl-eval"
TESTED_VERSION = "2026.3.23"
NO_ACCEPTABLE_VALUE = "no acceptable value"

# BFCL's type names that are not JSON Schema's. `any` is said in JSON Schema by naming no type.
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
# In a list of acceptable values it means: the argument may be left out.
_LEFT_OUT = ""


class NoAcceptableValueError(LookupError):
    """The list of acceptable values is empty: a fault of the data, so there is no right call."""


def read_bfcl(categories: Sequence[str]) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of `categories`, in the order of the files.

    Raises:
        EnvironmentProblem: the package is not installed, or lacks a file; says how to install it.
    """
    root = _data_folder()
    for category in categories:
        name = f"BFCL_v4_{category}.json"
        answers = {row["id"]: row["ground_truth"] for _, row in read_jsonl(root / "possible_answer" / name)}
        for _, question in read_jsonl(root / name):
            yield _row(question, answers[question["id"]][0], category)


def installed_version() -> str:
    """Return the version of the installed package.

    Raises:
        EnvironmentProblem: it is not installed; says how.
    """
    return _distribution().version


def _distribution() -> metadata.Distribution:
    try:
        return metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise EnvironmentProblem(
            f"the package {PACKAGE} is not installed: it carries the Berkeley Function-Calling data",
            fix=f"pip install --no-deps {PACKAGE}=={TESTED_VERSION}",
        ) from None


def _data_folder() -> Path:
    distribution = _distribution()
    folder = Path(str(distribution.locate_file("bfcl_eval/data")))
    if not folder.is_dir():
        raise EnvironmentProblem(
            f"{PACKAGE} {distribution.version} has no folder bfcl_eval/data", where=str(folder.parent),
            fix=f"pip install --no-deps --force-reinstall {PACKAGE}=={TESTED_VERSION}",
        )  # fmt: skip
    return folder


def _row(question: dict[str, Any], answer: dict[str, dict[str, list[Any]]], category: str) -> ChatRow | Dropped:
    ((name, acceptable),) = answer.items()
    try:
        arguments = first_acceptable(acceptable)
    except NoAcceptableValueError:
        return Dropped(NO_ACCEPTABLE_VALUE, question["id"])
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return ChatRow(
        id=question["id"],
        messages=[*question["question"][0], {"role": "assistant", "content": None, "tool_calls": [call]}],
        tools=[_tool(function) for function in question["function"]],
        source="bfcl",
        group=name,  # rows of one function stay on one side of the split
        meta={"category": category, "possible_answer": answer},
    )


def first_acceptable(acceptable: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with the first acceptable value each; one whose first is "" is left out.

    Raises:
        NoAcceptableValueError: a list of acceptable values is empty.
    """
    chosen = {key: _first(values) for key, values in acceptable.items()}
    return {key: _resolved(value) for key, value in chosen.items() if value != _LEFT_OUT}


def _first(values: Any) -> Any:
    if not isinstance(values, list):  # some nested values are given plainly
        return values
    if not values:
        raise NoAcceptableValueError
    return values[0]


def _resolved(value: Any) -> Any:
    """Resolve a chosen value: a dictionary holds lists of acceptable values again, also inside a list."""
    if isinstance(value, dict):
        return first_acceptable(value)
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    return value


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {**function, "parameters": json_schema(function["parameters"])}}


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a BFCL parameter schema as JSON Schema. Only schemas are walked: a property may be called `type`."""
    out = {key: value for key, value in schema.items() if key != "type"}
    kind = schema.get("type")
    name = _JSON_TYPES.get(kind, kind) if isinstance(kind, str) else kind
    if name is not None:
        out = {"type": name, **out}
    if isinstance(schema.get("properties"), dict):
        out["properties"] = {key: json_schema(inner) for key, inner in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            out[key] = json_schema(schema[key])
    return out
