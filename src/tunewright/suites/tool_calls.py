"""Suite `tool-calls`: does the model call the right function with the right arguments?

Definitions (each over the rows whose reference is one or more calls):

    valid_json   1 if the answer has a call region and every region parses to {name, arguments}
    name_match   1 if the multiset of called names equals the reference's
    args_exact   1 if the multiset of calls, name and arguments, equals the reference's
    call_f1      F1 of the calls, matched exactly as multisets

Arguments are compared as JSON values: key order does not matter, 1 equals 1.0 (JSON Schema's number), true is not 1,
and strings are compared as they are. BFCL's own, laxer verdict is another metric.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import canonical
from tunewright.chat.tool_calls import ParsedAnswer, ToolCall, parse_tool_calls
from tunewright.suites import MAIN_METRIC
from tunewright.suites.protocol import Metric, Scored, Suite

_ROWS = "rows that expect a call"


def score_tool_calls(answer: str, row: ChatRow) -> Scored:
    """Score the calls in `answer` against those of the row's reference message."""
    parsed = parse_tool_calls(answer)
    expected = Counter(_key(call) for call in reference_calls(row))
    if not expected:
        return Scored({}, "no call expected", _shown(parsed))
    called = Counter(_key(call) for call in parsed.calls)
    right = sum((expected & called).values())
    valid = parsed.regions > 0 and not parsed.malformed
    names_match = valid and _names(expected) == _names(called)
    exact = valid and called == expected
    scores = {
        "valid_json": float(valid),
        "name_match": float(names_match),
        "args_exact": float(exact),
        "call_f1": 2 * right / (sum(expected.values()) + parsed.regions) if parsed.regions else 0.0,
    }
    return Scored(scores, _reason(parsed, expected, called, exact), _shown(parsed))


def reference_calls(row: ChatRow) -> list[ToolCall]:
    """Return the calls of the row's reference answer."""
    return [
        ToolCall(name=call["function"]["name"], arguments=call["function"]["arguments"])
        for call in row.answer.get("tool_calls") or ()
    ]


def _key(call: ToolCall) -> tuple[str, str]:
    """A call as something that compares as JSON does: `canonical` makes 1.0 and 1 the same, and keeps true apart."""
    return call.name, json.dumps(canonical(call.arguments), sort_keys=True, ensure_ascii=False)


def _names(calls: Counter[tuple[str, str]]) -> Counter[str]:
    names: Counter[str] = Counter()
    for (name, _), count in calls.items():
        names[name] += count
    return names


def _reason(
    parsed: ParsedAnswer, expected: Counter[tuple[str, str]], called: Counter[tuple[str, str]], exact: bool
) -> str:
    """Return the failure class, and what differs."""
    if exact:
        return "exact"
    if parsed.regions == 0:
        return "no call"
    if parsed.malformed:
        return "malformed call"
    if sum(called.values()) != sum(expected.values()):
        return f"wrong count: {sum(called.values())} calls for {sum(expected.values())}"
    if _names(called) != _names(expected):
        return f"wrong function: {', '.join(sorted(_names(called)))}"
    return f"wrong arguments: {_argument_difference(expected, called)}"


def _argument_difference(expected: Counter[tuple[str, str]], called: Counter[tuple[str, str]]) -> str:
    wanted, given = json.loads(min(expected - called)[1]), json.loads(min(called - expected)[1])
    missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    changed = sorted(key for key in wanted.keys() & given.keys() if wanted[key] != given[key])
    parts = [
        f"{word} {', '.join(keys)}"
        for word, keys in (("missing", missing), ("extra", extra), ("value of", changed))
        if keys
    ]
    return "; ".join(parts) or "types differ"


def _shown(parsed: ParsedAnswer) -> Any:
    return [{"name": call.name, "arguments": call.arguments} for call in parsed.calls]


SUITE = Suite(
    name="tool-calls",
    metrics=(
        Metric("valid_json", _ROWS),
        Metric("name_match", _ROWS),
        Metric("args_exact", _ROWS),
        Metric("call_f1", _ROWS, binary=False),
    ),
    score=score_tool_calls,
    main_metric=MAIN_METRIC["tool-calls"],
)
