"""Rows from the Berkeley Function-Calling Leaderboard, v4, read from the installed package `bfcl-eval`.

The package is not imported (its own requirements clash with everything); only its data files are read: questions with
their functions, and for each argument the list of acceptable values. The target is the first acceptable call. BFCL
writes Python's type names into its schemas; they become JSON Schema. What BFCL's own verdict needs stays in `meta`:
`category`, and `possible_answer` as the file has it (`suites/bfcl.py`).

Rows of the irrelevance categories want no call; the data says no more, so the words of their answer are ours. Not read:
`live_relevance`, which wants some call and does not say which, so it has no answer to learn or to compare with.

Data: Patil et al. 2025, "The Berkeley Function Calling Leaderboard", Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import read_jsonl
from tunewright.errors import DataError, EnvironmentProblem
from tunewright.sources.dropped import Dropped

PACKAGE = "bfcl-eval"
TESTED_VERSION = "2026.3.23"
NO_ACCEPTABLE_VALUE = "no acceptable value"
NO_TOOLS = "no tools"
NO_CALL_ANSWER = "None of the available functions can do this."

# BFCL's type names that are not JSON Schema's. `any` is said in JSON Schema by naming no type.
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
NO_CALL_CATEGORIES = ("irrelevance", "live_irrelevance")
CALL_CATEGORIES = (
    "simple_python", "live_simple", "multiple", "parallel", "parallel_multiple",
    "live_multiple", "live_parallel", "live_parallel_multiple",
)  # fmt: skip
# In a list of acceptable values it means: the argument may be left out.
_LEFT_OUT = ""

Answer = dict[str, dict[str, list[Any]]]
"""function -> argument -> acceptable values"""


class NoAcceptableValueError(LookupError):
    """The list of acceptable values is empty: a fault of the data, so there is no right call."""


def read_bfcl(categories: Sequence[str]) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of `categories`, in the order of the files.

    Raises:
        EnvironmentProblem: the package is not installed, or lacks a file; says how to install it.
    """
    root = data_folder()
    for category in categories:
        yield from read_category(root, category)


def read_category(root: Path, category: str) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of one category, from the package's folder of data.

    Raises:
        EnvironmentProblem: a file is not there, or a row of it is not as BFCL writes it.
    """
    name = f"BFCL_v4_{category}.json"
    try:
        if category in NO_CALL_CATEGORIES:
            for _, question in read_jsonl(root / name):
                yield _row_without_call(question, category)
            return
        answers = {row["id"]: row["ground_truth"] for _, row in read_jsonl(root / "possible_answer" / name)}
        for _, question in read_jsonl(root / name):
            yield _row(question, answers[question["id"]], category)
    except (DataError, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise EnvironmentProblem(
            f"a file of {PACKAGE} cannot be read: {error}", where=str(root / name),
            fix=f"pip install --no-deps --force-reinstall {PACKAGE}=={TESTED_VERSION}",
        ) from None  # fmt: skip


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


def data_folder() -> Path:
    """Return the folder of the installed package's data files.

    Raises:
        EnvironmentProblem: the package is not installed, or has none.
    """
    distribution = _distribution()
    folder = Path(str(distribution.locate_file("bfcl_eval/data")))
    if not folder.is_dir():
        raise EnvironmentProblem(
            f"{PACKAGE} {distribution.version} has no folder bfcl_eval/data", where=str(folder.parent),
            fix=f"pip install --no-deps --force-reinstall {PACKAGE}=={TESTED_VERSION}",
        )  # fmt: skip
    return folder


def _row(question: dict[str, Any], answers: list[Answer], category: str) -> ChatRow | Dropped:
    try:
        calls = [_first_call(answer) for answer in answers]
    except NoAcceptableValueError:
        return Dropped(NO_ACCEPTABLE_VALUE, question["id"])
    return ChatRow(
        id=question["id"],
        messages=[*question["question"][0], {"role": "assistant", "content": None, "tool_calls": calls}],
        tools=[tool_of(function) for function in question["function"]],
        source="bfcl",
        group=calls[0]["function"]["name"],  # rows of one function, the first of several, stay on one side of the split
        meta={"category": category, "possible_answer": answers if "parallel" in category else answers[0]},
    )


def _first_call(answer: Answer) -> dict[str, Any]:
    ((name, acceptable),) = answer.items()
    return {"type": "function", "function": {"name": name, "arguments": first_acceptable(acceptable)}}


def _row_without_call(question: dict[str, Any], category: str) -> ChatRow | Dropped:
    tools = [tool_of(function) for function in question["function"]]
    if not tools:
        return Dropped(NO_TOOLS, question["id"])
    return ChatRow(
        id=question["id"],
        messages=[*question["question"][0], {"role": "assistant", "content": NO_CALL_ANSWER}],
        tools=tools,
        source="bfcl",
        group=tools[0]["function"]["name"],
        meta={"category": category},
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


def tool_of(function: dict[str, Any]) -> dict[str, Any]:
    """Return one of BFCL's functions as a tool in OpenAI's form."""
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
