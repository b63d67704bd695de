"""Suite `tool-calls`: does the model call the right function with the right arguments, and nothing where nothing fits?

Over the rows whose reference is one or more calls:

    valid_json     1 if the answer has a call region and every region parses to {name, arguments}
    name_match     1 if the multiset of called names equals the reference's
    args_exact     1 if the multiset of calls, name and arguments, equals the reference's
    call_f1        F1 of the calls, matched exactly as multisets: under equality that is the optimal assignment
    schema_valid   1 if valid_json, every name is an offered tool's and its arguments fit that tool's JSON Schema
    arg_f1         F1 of the triples (name, key, value), calls assigned to calls so that most triples agree
    called         1 if the answer has a call that can be read
    args_bfcl      BFCL's own, laxer verdict; over the rows of BFCL that `suites/bfcl.py` can judge, irrelevance too

Over the rows whose reference calls nothing:

    no_call        1 if the answer tries none, not even a malformed one. With `called` it is the table of calls wanted
                   and made: a model that never calls, or always does, is perfect in one and nothing in the other

Arguments are compared as JSON values: key order does not matter, 1 equals 1.0 (JSON Schema's number), true is not 1,
and strings are compared as they are. Each metric is a mean over rows; `call_f1` and `arg_f1` are so macro-averaged.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, Literal, get_args

from pydantic import Field

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import canonical
from tunewright.chat.render import Renderer
from tunewright.chat.tool_calls import ParsedAnswer, Parser, ToolCall, ToolFormat, find_parser, model_parser
from tunewright.chat.tools import normalize_tools
from tunewright.recipe.sections import EvaluateSection
from tunewright.suites import MAIN_METRIC
from tunewright.suites.bfcl import bfcl_verdict
from tunewright.suites.options import Options, read_options
from tunewright.suites.protocol import Metric, Scored, Suite
from tunewright.suites.tool_schema import schema_error

Failure = Literal[
    "no call",
    "malformed call",
    "too few calls",
    "too many calls",
    "unknown function",
    "wrong function",
    "missing argument",
    "extra argument",
    "wrong type",
    "wrong value",
    "unexpected call",
]
FAILURES: Final[tuple[Failure, ...]] = get_args(Failure)
"""the closed list of failure classes, in the order in which they are looked for"""

Key = tuple[str, str]
"""a call as name and JSON text: equal where the calls are equal as JSON values"""


def score_tool_calls(answer: str, row: ChatRow, parser: Parser | None = None) -> Scored:
    """Score the calls in `answer` against those of the row's reference message.

    Args:
        answer: what the model wrote.
        row: its last message is the reference; `tools` are what was offered.
        parser: reads the format in which the model writes calls; Hermes if None.
    """
    tools = normalize_tools(row.tools)
    parsed = (parser or find_parser("hermes"))(answer, tools)
    judged = bfcl_verdict(parsed, row)
    bfcl = {} if judged is None else {"args_bfcl": float(judged.valid)}
    expected = reference_calls(row)
    if not expected:
        return _score_no_call(parsed, bfcl)
    compared = _Comparison(parsed, expected, {tool["function"]["name"]: tool["function"] for tool in tools})
    failure, reason = compared.failure
    return Scored({**compared.scores, **bfcl}, reason, _shown(parsed), failure)


def reference_calls(row: ChatRow) -> list[ToolCall]:
    """Return the calls of the row's reference answer."""
    return [
        ToolCall(name=call["function"]["name"], arguments=call["function"]["arguments"])
        for call in row.answer.get("tool_calls") or ()
    ]


def _score_no_call(parsed: ParsedAnswer, bfcl: Mapping[str, float]) -> Scored:
    if not parsed.regions:
        return Scored({"no_call": 1.0, **bfcl}, "no call expected", _shown(parsed))
    names = ", ".join(sorted({call.name for call in parsed.calls})) or "malformed"
    return Scored({"no_call": 0.0, **bfcl}, f"unexpected call: {names}", _shown(parsed), "unexpected call")


def _shown(parsed: ParsedAnswer) -> Any:
    return [{"name": call.name, "arguments": call.arguments} for call in parsed.calls]


@dataclass(frozen=True)
class _Comparison:
    """An answer beside the calls it should have made."""

    parsed: ParsedAnswer
    reference: Sequence[ToolCall]
    functions: Mapping[str, Mapping[str, Any]]
    """name -> function, of the tools that were offered"""

    @cached_property
    def expected(self) -> Counter[Key]:
        return Counter(map(_key, self.reference))

    @cached_property
    def called(self) -> Counter[Key]:
        return Counter(map(_key, self.parsed.calls))

    @property
    def is_valid(self) -> bool:
        return self.parsed.regions > 0 and not self.parsed.malformed

    @property
    def is_exact(self) -> bool:
        return self.is_valid and self.called == self.expected

    @property
    def scores(self) -> dict[str, float]:
        schema = {"schema_valid": float(self.is_valid and self._fits_schemas())} if self.functions else {}
        return {
            "valid_json": float(self.is_valid),
            "name_match": float(self.is_valid and _names(self.expected) == _names(self.called)),
            "args_exact": float(self.is_exact),
            "call_f1": self._call_f1,
            **schema,
            "arg_f1": self._arg_f1(),
            "called": float(bool(self.parsed.calls)),
        }

    @property
    def _call_f1(self) -> float:
        right = (self.expected & self.called).total()
        return 2 * right / (len(self.reference) + self.parsed.regions)

    def _arg_f1(self) -> float:
        """Return the F1 of triples; where neither side has an argument there are none, and the calls are counted."""
        triples = sum(len(call.arguments) for call in (*self.reference, *self.parsed.calls))
        if not triples:
            return self._call_f1
        return 2 * _most_common_triples(self.reference, self.parsed.calls) / triples

    def _fits_schemas(self) -> bool:
        return all(
            call.name in self.functions
            and not schema_error(call.arguments, self.functions[call.name].get("parameters"))
            for call in self.parsed.calls
        )

    @property
    def failure(self) -> tuple[Failure | Literal[""], str]:
        """The failure class, "" for a right answer, and the reason in words."""
        if self.is_exact:
            return "", "exact"
        if self.parsed.regions == 0:
            return "no call", "no call"
        if self.parsed.malformed:
            return "malformed call", "malformed call"
        made, wanted = len(self.parsed.calls), len(self.reference)
        if made != wanted:
            return "too few calls" if made < wanted else "too many calls", f"wrong count: {made} calls for {wanted}"
        if (names := _names(self.called)) != _names(self.expected):
            unknown = self.functions and names.keys() - self.functions.keys()
            return "unknown function" if unknown else "wrong function", f"wrong function: {', '.join(sorted(names))}"
        failure, difference = _argument_difference(self.expected, self.called)
        return failure, f"wrong arguments: {difference}"


def _key(call: ToolCall) -> Key:
    return call.name, _text(call.arguments)


def _text(value: Any) -> str:
    """Return text that is equal where JSON values are: `canonical` makes 1.0 and 1 the same, and keeps true apart."""
    return json.dumps(canonical(value), sort_keys=True, ensure_ascii=False)


def _names(calls: Counter[Key]) -> Counter[str]:
    names: Counter[str] = Counter()
    for (name, _), count in calls.items():
        names[name] += count
    return names


def _most_common_triples(reference: Sequence[ToolCall], calls: Sequence[ToolCall]) -> int:
    """Return how many (name, key, value) agree when each call is assigned to at most one of the reference, at best."""
    wanted, given = [_arguments(call) for call in reference], [_arguments(call) for call in calls]
    common = [
        [len(want & give) if one.name == other.name else 0 for other, give in zip(calls, given, strict=True)]
        for one, want in zip(reference, wanted, strict=True)
    ]
    if min(len(wanted), len(given)) <= 1:
        return max((max(row, default=0) for row in common), default=0)
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(common, maximize=True)
    return sum(common[row][column] for row, column in zip(rows, columns, strict=True))


def _arguments(call: ToolCall) -> set[tuple[str, str]]:
    return {(key, _text(value)) for key, value in call.arguments.items()}


def _argument_difference(expected: Counter[Key], called: Counter[Key]) -> tuple[Failure, str]:
    """Return the class and the words for the first calls that differ."""
    wanted, given = json.loads(min(expected - called)[1]), json.loads(min(called - expected)[1])
    missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    shared = wanted.keys() & given.keys()
    retyped = any(_kind(wanted[key]) != _kind(given[key]) for key in shared)
    changed = sorted(key for key in shared if wanted[key] != given[key])
    parts = [
        f"{word} {', '.join(keys)}"
        for word, keys in (("missing", missing), ("extra", extra), ("value of", changed))
        if keys
    ]
    failure: Failure = (
        "missing argument" if missing else "extra argument" if extra else "wrong type" if retyped else "wrong value"
    )
    return failure, "; ".join(parts) or "types differ"


def _kind(value: Any) -> type:
    """Return a JSON value's type; numbers are of one."""
    return float if type(value) is int else type(value)


# ── the suite ───────────────────────────────────────────────────────────────────────────────────────────────────────

_CALL = "rows that expect a call"
_METRICS: Final = (
    Metric("valid_json", _CALL),
    Metric("name_match", _CALL),
    Metric("args_exact", _CALL),
    Metric("call_f1", _CALL, binary=False),
    Metric("schema_valid", "rows that expect a call and offer tools"),
    Metric("arg_f1", _CALL, binary=False),
    Metric("called", _CALL),
    Metric("args_bfcl", "rows of BFCL"),
    Metric("no_call", "rows that expect no call"),
)


class ToolCallsOptions(Options):
    """Options of the suite."""

    format: ToolFormat = Field(default="hermes", description="how the model writes calls")


def tool_calls_suite(format: ToolFormat | Parser = "hermes") -> Suite:
    """Return the suite for a model's format of calls.

    Args:
        format: a name of FORMATS (`chat.tool_calls.detect_format` finds a model's), or a parser, as of a
            `response_template`. Served models are read as Hermes, in which the backend writes down their calls.
    """
    parser = find_parser(format) if isinstance(format, str) else format
    return Suite(
        name="tool-calls",
        metrics=_METRICS,
        score=partial(score_tool_calls, parser=parser),
        main_metric=MAIN_METRIC["tool-calls"],
    )


def make_suite(name: str, options: Mapping[str, Any]) -> Suite:
    """Return the suite.

    Raises:
        SuiteError: an option is wrong.
    """
    return tool_calls_suite(read_options(ToolCallsOptions, options, f"suite {name}").format)


SUITE = tool_calls_suite()


def reading_calls(suite: Suite, section: EvaluateSection, renderer: Renderer | None) -> tuple[Suite, str]:
    """Return the suite with the parser of the model's own format of tool calls, and its name; "" for other suites.

    Answers of servers come in Hermes form: the backend writes down the calls that it is given.
    """
    if section.suite != "tool-calls":
        return suite, ""
    if "format" in section.options or section.backend != "hf" or renderer is None:
        return suite, str(section.options.get("format", "hermes"))
    name, parser = model_parser(renderer)
    return tool_calls_suite(parser), name
