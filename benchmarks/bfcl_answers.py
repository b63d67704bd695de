"""Answers to BFCL's rows for `bfcl_parity`: the right ones, ten kinds of wrong ones, and rows that are made up.

reads    the questions and acceptable answers of the installed `bfcl-eval`, as its files have them
gives    the same answers every time: each has a generator of its own, seeded by row, kind and number
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tunewright.sources.bfcl import CALL_CATEGORIES, NoAcceptableValueError, data_folder, first_acceptable
from tunewright.suites.bfcl import LEFT_OUT

Call = tuple[str, dict[str, Any]]
Calls = list[Call]
GOLD = "gold"


@dataclass(frozen=True)
class Entry:
    """One row as BFCL's files have it."""

    id: str
    category: str
    functions: list[dict[str, Any]]
    answers: list[dict[str, dict[str, list[Any]]]]

    def gold(self) -> Calls:
        """Return the first acceptable calls that their schemas allow."""
        schemas = {function["name"]: function["parameters"] for function in self.functions}
        return [
            (name, _first(acceptable, schemas[name])) for answer in self.answers for name, acceptable in answer.items()
        ]


def _first(acceptable: dict[str, list[Any]], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the first acceptable value of each argument, of those that the schema knows; a required one is given."""
    chosen: dict[str, Any] = {}
    for key in (key for key in acceptable if key in schema["properties"]):
        values = acceptable[key]
        if key in schema["required"]:
            values = [value for value in values if value != LEFT_OUT] or values
            chosen |= {key: LEFT_OUT} if LEFT_OUT in values else {}
        try:
            chosen |= first_acceptable({key: values})
        except NoAcceptableValueError:
            continue
    return chosen


def entries() -> Iterator[Entry]:
    """Yield every Python row that wants a call."""
    root = data_folder()
    for category in CALL_CATEGORIES:
        name = f"BFCL_v4_{category}.json"
        questions = (root / name).read_text(encoding="utf-8").splitlines()
        answers = (root / "possible_answer" / name).read_text(encoding="utf-8").splitlines()
        known = {row["id"]: row["ground_truth"] for row in map(json.loads, answers)}
        for question in map(json.loads, questions):
            yield Entry(question["id"], category, question["function"], known[question["id"]])


# ── corruptions: each returns an answer that differs, or None where this answer cannot be corrupted so ───────────────


def _one_argument(calls: Calls, draw: random.Random) -> tuple[dict[str, Any], str] | None:
    places = [(arguments, key) for _, arguments in calls for key in arguments]
    return draw.choice(places) if places else None


def dropped_argument(calls: Calls, entry: Entry, draw: random.Random) -> Calls | None:
    if place := _one_argument(calls, draw):
        del place[0][place[1]]
    return calls if place else None


def wrong_type(calls: Calls, entry: Entry, draw: random.Random) -> Calls | None:
    if place := _one_argument(calls, draw):
        value = place[0][place[1]]
        others = [7, 7.0, -1.5, "seven", str(value), True, None, [], [7], ["a"], [{"k": 1}], {}, {"k": 1}, [value]]
        place[0][place[1]] = draw.choice([other for other in others if type(other) is not type(value)])
    return calls if place else None


def renamed_function(calls: Calls, entry: Entry, draw: random.Random) -> Calls:
    place = draw.randrange(len(calls))
    names = [f["name"] for f in entry.functions] + [calls[place][0] + "x", calls[place][0].replace(".", "_") + "_"]
    other = draw.choice([name for name in names if name != calls[place][0]])
    return [*calls[:place], (other, calls[place][1]), *calls[place + 1 :]]


def renamed_argument(calls: Calls, entry: Entry, draw: random.Random) -> Calls | None:
    if place := _one_argument(calls, draw):
        place[0][place[1].upper() if place[1] != place[1].upper() else place[1] + "x"] = place[0].pop(place[1])
    return calls if place else None


def permuted(calls: Calls, entry: Entry, draw: random.Random) -> Calls:
    """Shuffle the calls, the arguments of each, and the items of their lists and dictionaries."""
    return draw.sample([(name, _shuffled(arguments, draw)) for name, arguments in calls], len(calls))


def _shuffled(value: Any, draw: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: _shuffled(inner, draw) for key, inner in draw.sample(list(value.items()), len(value))}
    if isinstance(value, list):
        return [_shuffled(inner, draw) for inner in draw.sample(value, len(value))]
    return value


def extra_call(calls: Calls, entry: Entry, draw: random.Random) -> Calls:
    """Add a call, or leave all but one out: another count."""
    more = [*calls, draw.choice(calls)]
    return draw.choice([more, calls[:-1], calls[:1]]) if len(calls) > 1 else draw.choice([more, more, []])


def changed_value(calls: Calls, entry: Entry, draw: random.Random) -> Calls | None:
    if place := _one_argument(calls, draw):
        place[0][place[1]] = _changed(place[0][place[1]], draw)
    return calls if place else None


def _changed(value: Any, draw: random.Random) -> Any:
    """Change a value within its type; some changes of text are ones that BFCL forgives."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return draw.choice([value + 1, -value, float(value), value * 1.5])
    if isinstance(value, str):
        spaced = value.replace(" ", draw.choice(" ,./-_*^"))
        quoted = value.translate({ord("'"): '"', ord('"'): "'"})
        return draw.choice([value + "x", value.upper(), spaced, quoted, f"^{value}.", value[1:], value + "'"])
    if isinstance(value, list) and value:
        place = draw.randrange(len(value))
        return draw.choice(
            [value[:-1], [*value, value[0]], [*value[:place], _changed(value[place], draw), *value[place + 1 :]]]
        )
    if isinstance(value, dict) and value:
        key = draw.choice(list(value))
        less = {other: inner for other, inner in value.items() if other != key}
        wrong = {other: _changed(inner, draw) for other, inner in less.items()}
        return draw.choice([less, wrong, {**value, "more": 1}, {**value, key: _changed(value[key], draw)}])
    return [1] if isinstance(value, list) else {"more": 1} if isinstance(value, dict) else 0


def extra_argument(calls: Calls, entry: Entry, draw: random.Random) -> Calls:
    """Add an argument that the schema knows, or the acceptable answer, or neither."""
    _, arguments = draw.choice(calls)
    known = [key for f in entry.functions for key in f["parameters"]["properties"]]
    acceptable = {
        key: values for answer in entry.answers for values in answer.values() for key, values in values.items()
    }
    key = draw.choice([*known, *acceptable, "more"])
    arguments.setdefault(key, _any_of(acceptable.get(key, [1]), draw))
    return calls


def two_faults(calls: Calls, entry: Entry, draw: random.Random) -> Calls | None:
    """Which fault is told first?"""
    for corrupt in draw.choices((dropped_argument, wrong_type, renamed_argument, changed_value, extra_argument), k=2):
        if (changed := corrupt(calls, entry, draw)) is not None:
            calls = changed
    return calls


def other_acceptable(calls: Calls, entry: Entry, draw: random.Random) -> Calls:
    """Take any acceptable value for each argument: no corruption, the other right answers."""
    return [
        (name, {key: _any_of(values, draw) for key, values in acceptable.items() if draw.random() < 0.8})
        for answer in entry.answers
        for name, acceptable in answer.items()
    ]


def _any_of(values: Any, draw: random.Random) -> Any:
    """Choose one of the acceptable values; a dictionary holds lists of them again."""
    if not isinstance(values, list) or not values:
        return values
    return _resolved(draw.choice(values), draw)


def _resolved(value: Any, draw: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: _any_of(inner, draw) for key, inner in value.items()}
    return [_resolved(item, draw) for item in value] if isinstance(value, list) else value


CORRUPTIONS = (
    dropped_argument, wrong_type, renamed_function, renamed_argument, permuted, extra_call, changed_value,
    extra_argument, two_faults, other_acceptable,
)  # fmt: skip


# ── rows that are made up: small schemas and values, so that rules meet which never do in the data ───────────────────

MADE_UP_ROWS = 10_000
"""a draw"""
_TEXTS = ("a", "A", "a b", "a-b", "ab^", "it's", 'it"s', "b")


def made_up(draw: random.Random) -> tuple[Entry, Calls]:
    """Return a row and an answer to it, mostly near to right."""
    category = draw.choice(CALL_CATEGORIES)
    functions = [_function(name, draw) for name in ("f", "g.h")[: draw.randint(1, 2)]]
    chosen = draw.choices(functions, k=draw.randint(1, 2) if "parallel" in category else 1)
    if category in ("simple_python", "live_simple"):
        functions = chosen
    answers = [{function["name"]: _acceptable(function, draw)} for function in chosen]
    entry = Entry("made up", category, functions, answers)
    calls = other_acceptable([], entry, draw)
    if draw.random() < 0.5:
        corrupt = draw.choice((dropped_argument, wrong_type, changed_value, extra_argument, two_faults))
        calls = corrupt(calls, entry, draw) or calls
    return entry, calls


def _function(name: str, draw: random.Random) -> dict[str, Any]:
    properties = {key: _schema(draw) for key in "xyz"[: draw.randint(1, 3)]}
    required = [key for key in properties if draw.random() < 0.4]
    return {"name": name, "parameters": {"type": "dict", "properties": properties, "required": required}}


def _acceptable(function: dict[str, Any], draw: random.Random) -> dict[str, list[Any]]:
    """Return acceptable values of a function's arguments; as in the data, some are not known there or not here."""
    schemas = {**function["parameters"]["properties"], "w": {"type": "integer"}}
    return {key: _options(kind, draw) for key, kind in schemas.items() if draw.random() < (0.1 if key == "w" else 0.95)}


def _schema(draw: random.Random) -> dict[str, Any]:
    kind = draw.choice(("string", "integer", "float", "boolean", "dict", "array", "array", "tuple", "any"))
    inner = draw.choice(("string", "integer", "float", "boolean", "dict"))
    return {"type": kind, "items": {"type": inner}} if kind in ("array", "tuple") else {"type": kind}


def _options(schema: dict[str, Any], draw: random.Random) -> list[Any]:
    """Return one to three acceptable values, in a tenth of cases of another type, and maybe "" among them."""
    if draw.random() < 0.1:
        schema = _schema(draw)
    options = [_value(schema, draw) for _ in range(draw.randint(1, 3))]
    return draw.sample([*options, LEFT_OUT], len(options) + 1) if draw.random() < 0.4 else options


def _value(schema: dict[str, Any], draw: random.Random) -> Any:
    kind = schema["type"]
    if kind in ("array", "tuple"):
        return [_value(schema["items"], draw) for _ in range(draw.randint(0, 2))]
    if kind == "dict":
        return {key: _options({"type": draw.choice(("string", "integer"))}, draw) for key in "kl"[: draw.randint(0, 2)]}
    plain = {"integer": (0, 1, 2), "float": (0.5, 1.0, 1, 2), "boolean": (True, False)}
    return draw.choice(plain.get(kind, _TEXTS))


def answers_of(entry: Entry, draws: int) -> Iterator[tuple[str, Calls]]:
    """Yield (kind, answer): the gold one, then each corruption drawn `draws` times, the same ones every time."""
    yield GOLD, entry.gold()
    for corrupt in CORRUPTIONS:
        for number in range(draws):
            draw = random.Random(f"{entry.id} {corrupt.__name__} {number}")
            fresh: Calls = json.loads(json.dumps(entry.gold()))
            changed = corrupt([(name, arguments) for name, arguments in fresh], entry, draw)
            if changed is not None:
                yield corrupt.__name__, changed
