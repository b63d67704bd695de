"""Grader `tool_call`: are the answer's tool calls the right ones?

The reference is the row's own answer in the Hermes form, or a list of `{name, arguments}`. Arguments are compared as
JSON values: 1 equals 1.0, true is not 1, the order of keys does not matter, and strings are compared as they are.

    credit: exact   1 if the calls, as a multiset of name and arguments, are the reference's and none is malformed
    credit: name    1 if the multiset of called names is
    credit: f1      F1 of the calls; a malformed one counts as a call that is wrong
    credit: partial f1, where a call of the right name earns the share of its arguments that are right

Where the reference is to call nothing, an answer with words and without a call scores 1.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from tunewright.artifacts.fingerprint import canonical
from tunewright.chat.tool_calls import ToolCall, ToolFormat, parse_answer, parse_tool_calls
from tunewright.graders.base import SampleGrader
from tunewright.graders.protocol import Grade, Sample, parse_json
from tunewright.graders.spec import Context, GraderSpec, Template
from tunewright.graders.template import Unscored, value_of


class Spec(GraderSpec):
    """Compare tool calls."""

    type: Literal["tool_call"]
    reference: Template = Field(
        default="{{ item.reference }}", description="the right calls: text in the Hermes form, or a list of calls"
    )
    credit: Literal["exact", "name", "f1", "partial"] = Field(default="exact", description="what a near miss earns")
    format: ToolFormat = Field(default="hermes", description="how the model writes calls; the reference stays Hermes")


class ToolCalls(SampleGrader):
    """Compares the calls of an answer with the reference's."""

    type = "tool_call"

    def __init__(self, spec: Spec):
        super().__init__(spec.name)
        self._spec = spec

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return the score of the calls."""
        wanted = reference_calls(value_of(self._spec.reference, sample, item))
        parsed = parse_answer(sample.text, self._spec.format, item.get("tools") or ())
        if not wanted:
            return _without_calls(sample.text, parsed.regions)
        if not parsed.regions:
            return Grade(0.0, "no call")
        score = _CREDIT[self._spec.credit](parsed.calls, wanted, len(parsed.malformed))
        return Grade(score, "malformed call" if parsed.malformed else "right calls" if score == 1 else "other calls")


def _without_calls(text: str, regions: int) -> Grade:
    silent = not text.strip()
    return Grade(
        float(not regions and not silent),
        "a call where none is wanted" if regions else "empty" if silent else "no call",
    )


def reference_calls(value: Any) -> list[ToolCall]:
    """Return the calls of a reference.

    Raises:
        Unscored: it is neither text nor a list of calls.
    """
    if isinstance(value, str):
        return parse_tool_calls(value).calls
    try:
        return [_call(call.get("function", call)) for call in value]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Unscored("invalid_variable_error", "the reference is no list of {name, arguments}") from None


def _call(call: Mapping[str, Any]) -> ToolCall:
    arguments = parse_json(call["arguments"]) if isinstance(call["arguments"], str) else call["arguments"]
    return ToolCall(call["name"], dict(arguments))


# ── credit ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _exact(said: Sequence[ToolCall], wanted: Sequence[ToolCall], malformed: int) -> float:
    return float(not malformed and Counter(map(_key, said)) == Counter(map(_key, wanted)))


def _name(said: Sequence[ToolCall], wanted: Sequence[ToolCall], malformed: int) -> float:
    return float(not malformed and Counter(c.name for c in said) == Counter(c.name for c in wanted))


def _f1(said: Sequence[ToolCall], wanted: Sequence[ToolCall], malformed: int) -> float:
    right = (Counter(map(_key, said)) & Counter(map(_key, wanted))).total()
    return float(2 * right / (len(said) + malformed + len(wanted)))


def _partial(said: Sequence[ToolCall], wanted: Sequence[ToolCall], malformed: int) -> float:
    """Pair each call of the reference, in order, with the best call of its name that is still free."""
    free, earned = list(said), 0.0
    for call in wanted:
        shares = [(_shared(call, other), -place) for place, other in enumerate(free) if other.name == call.name]
        if shares:
            share, place = max(shares)
            earned += share
            del free[-place]
    return 2 * earned / (len(said) + malformed + len(wanted))


def _shared(wanted: ToolCall, said: ToolCall) -> float:
    """Return the share of the name and the arguments, of both calls together, that stand in both with one value."""
    names = wanted.arguments.keys() | said.arguments.keys()
    both = wanted.arguments.keys() & said.arguments.keys()
    same = sum(canonical(wanted.arguments[name]) == canonical(said.arguments[name]) for name in both)
    return float((1 + same) / (1 + len(names)))


_CREDIT: dict[str, Callable[[Sequence[ToolCall], Sequence[ToolCall], int], float]] = {
    "exact": _exact,
    "name": _name,
    "f1": _f1,
    "partial": _partial,
}


def _key(call: ToolCall) -> tuple[str, str]:
    return call.name, json.dumps(canonical(call.arguments), sort_keys=True, ensure_ascii=False)


def from_spec(spec: Spec, context: Context) -> ToolCalls:
    """Return the grader of a spec."""
    return ToolCalls(spec)
