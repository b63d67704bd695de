"""BFCL's verdict on an answer: the rules of the Berkeley Function-Calling Leaderboard's AST checker, for Python rows.

Laxer than `args_exact`: each argument has a list of acceptable values, strings are compared without blanks, case and
some punctuation, and an argument may be left out where its list says so. The rules are kept as they are, the odd ones
too (calls in parallel are matched greedily, types are Python's, checked one level deep, a list item is compared with
`==`), so that verdict and error type are those of `bfcl_eval.eval_checker.ast_eval.ast_checker` 2026.3.23; a test and
benchmarks/bfcl_parity.py compare. Where theirs fails with an exception, this says `wrong`, with the nearest type.

reads    a row's tools (JSON Schema, from which BFCL's own type names follow) and `meta`:
         category          the name of the BFCL file, as in CATEGORIES
         possible_answer   `{function: {argument: [acceptable, …]}}`, or a list of these for calls in parallel;
                           "" among the values: the argument may be left out
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.tool_calls import ParsedAnswer, ToolCall

NO_CALL_CATEGORIES: Final = ("irrelevance", "live_irrelevance")
CATEGORIES: Final = (
    "simple_python", "multiple", "parallel", "parallel_multiple",
    "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", *NO_CALL_CATEGORIES,
)  # fmt: skip

LEFT_OUT: Final = ""
"""among acceptable values it means: the argument may be left out"""

# A schema without a type is BFCL's `any`, which its checker takes for a string.
_PYTHON_TYPES: Final[dict[Any, type]] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict, None: str,
}  # fmt: skip
_UNIMPORTANT: Final = re.compile(r"[ ,./\-_*^]")

Acceptable = Mapping[str, Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """Whether an answer passes, and BFCL's error type where it does not ("" where it does)."""

    error_type: str = ""

    @property
    def valid(self) -> bool:
        """True if the answer passes."""
        return not self.error_type


def bfcl_verdict(parsed: ParsedAnswer, row: ChatRow) -> Verdict | None:
    """Return BFCL's verdict on an answer, or None for a row that is not BFCL's.

    A malformed region makes the answer one that cannot be decoded, as in most of BFCL's own decoders. On a row that
    wants no call it then passes there, since only calls that can be read count.
    """
    category, possible = row.meta.get("category"), row.meta.get("possible_answer")
    if category in NO_CALL_CATEGORIES:
        return Verdict("irrelevance_error:decoder_success" if parsed.calls else "")
    if category not in CATEGORIES or not possible:
        return None
    if parsed.malformed or not parsed.regions:
        return Verdict("ast_decoder:decoder_failed")
    answers = [possible] if isinstance(possible, Mapping) else list(possible)
    return Verdict(check_calls(parsed.calls, row.tools or (), answers, category))


def check_calls(calls: Sequence[ToolCall], tools: Tools, answers: Sequence[Acceptable], category: str) -> str:
    """Return BFCL's error type for calls of an AST category, "" if they pass.

    Args:
        calls: what the model called.
        tools: what it was offered, in OpenAI's form.
        answers: the acceptable calls, one function each.
        category: one of CATEGORIES that wants a call.
    """
    if "parallel" in category:
        return _check_parallel(calls, tools, answers)
    kind = "multiple" if "multiple" in category else "simple"
    if len(calls) != (len(answers) if kind == "multiple" else 1):
        return f"{kind}_function_checker:wrong_count"
    function = _function(tools, next(iter(answers[0]))) if kind == "multiple" else tools[0]["function"]
    return _check_call(calls[0], function, answers[0])


def _check_parallel(calls: Sequence[ToolCall], tools: Tools, answers: Sequence[Acceptable]) -> str:
    """Match each acceptable call with the first free call that passes for it."""
    if len(calls) != len(answers):
        return "parallel_function_checker_no_order:wrong_count"
    free = list(calls)
    for answer in answers:
        function = _function(tools, next(iter(answer)))
        match = next((place for place, call in enumerate(free) if not _check_call(call, function, answer)), None)
        if match is None:
            return "parallel_function_checker_no_order:cannot_find_match"
        del free[match]
    return ""


def _function(tools: Tools, name: str) -> Mapping[str, Any]:
    return next((tool["function"] for tool in tools if tool["function"]["name"] == name), {"name": name})


# ── one call ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_call(call: ToolCall, function: Mapping[str, Any], answer: Acceptable) -> str:
    acceptable = next(iter(answer.values()))
    parameters = function.get("parameters") or {}
    schemas = parameters.get("properties") or {}
    if call.name != function["name"]:
        return "simple_function_checker:wrong_func_name"
    if any(name not in call.arguments for name in parameters.get("required") or ()):
        return "simple_function_checker:missing_required"
    for name, value in call.arguments.items():
        if name not in schemas or name not in acceptable:
            return "simple_function_checker:unexpected_param"
        if error := _check_argument(value, schemas[name], acceptable[name]):
            return error
    if any(name not in call.arguments and LEFT_OUT not in values for name, values in acceptable.items()):
        return "simple_function_checker:missing_optional"
    return ""


def _check_argument(value: Any, schema: Mapping[str, Any], acceptable: Sequence[Any]) -> str:
    wanted = _python_type(schema)
    nested = _python_type(schema.get("items") or {}) if wanted is list else None
    value = _as_float(value) if wanted is float else value
    error, is_variable = _check_type(value, acceptable, wanted, nested)
    if error:
        return error
    if is_variable:  # the answer is a variable's name, not a value: equal or wrong
        return "" if value in acceptable else "value_error:others"
    if wanted is dict:
        return _check_dict(value, acceptable)
    if wanted is list:
        return _check_dicts(value, acceptable) if nested is dict else _check_list(value, acceptable)
    if wanted is str:
        options = [_plain(option) for option in acceptable if isinstance(option, str)]
        return "" if _plain(value) in options else "value_error:string"
    return "" if value in acceptable else "value_error:others"


def _python_type(schema: Mapping[str, Any]) -> type:
    kind = schema.get("type")
    return _PYTHON_TYPES.get(kind, str) if isinstance(kind, str | None) else str


def _as_float(value: Any) -> Any:
    """Return an integer as a float, where there is one so large."""
    try:
        return float(value) if type(value) is int else value
    except OverflowError:
        return value


def _check_type(value: Any, acceptable: Sequence[Any], wanted: type, nested: type | None = None) -> tuple[str, bool]:
    """Return the error, "" if there is none, and if the value stands for a variable.

    It does where the acceptable values are of another type than the schema's: then theirs counts.
    """
    theirs = next((type(option) for option in acceptable if option != LEFT_OUT), None)
    is_wanted = type(value) is wanted
    if is_wanted and (nested is None or any(_items_fit(value, option, nested) for option in acceptable)):
        return "", theirs is not None and theirs is not wanted
    if theirs is not None and type(value) is theirs:
        return ("type_error:nested" if is_wanted else ""), True
    return "type_error:simple", False


def _items_fit(values: Sequence[Any], option: Any, nested: type) -> bool:
    return not isinstance(option, list) or all(not _check_type(value, option, nested)[0] for value in values)


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain(value: Any) -> Any:
    """Return text without case, blanks and some punctuation, with one kind of quotes; anything else as it is."""
    return _UNIMPORTANT.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _options(values: Any) -> list[Any]:
    """Return acceptable values made plain. Text is its characters: so the checker, which goes by index, sees it."""
    return [_plain(value) for value in values] if isinstance(values, list | str) else []


def _check_list(value: Sequence[Any], acceptable: Sequence[Any]) -> str:
    plain = [_plain(item) for item in value]
    return "" if any(plain == _options(option) for option in acceptable) else "value_error:list/tuple"


def _check_dict(value: Any, acceptable: Sequence[Any]) -> str:
    """Return "" if one acceptable dictionary fits, else the error of the last."""
    error = "dict_checker:unclear"
    for option in acceptable:
        if option != LEFT_OUT:
            error = _against_dict(value, option)
            if not error:
                break
    return error


def _against_dict(value: Any, option: Any) -> str:
    if not isinstance(value, dict) or not isinstance(option, Mapping):
        return "value_error:dict_key"
    error = ""
    for key, item in value.items():
        if key not in option:
            error = "value_error:dict_key"
            break
        if _plain(item) not in _options(option[key]):
            error = "value_error:dict_value"
            break
    # Looked for last, and told first: so the checker does it.
    is_missing = any(key not in value and LEFT_OUT not in _values(values) for key, values in option.items())
    return "value_error:dict_key" if is_missing else error


def _values(values: Any) -> Any:
    return values if isinstance(values, list | str | Mapping) else ()


def _check_dicts(value: Sequence[Any], acceptable: Sequence[Any]) -> str:
    """Return "" if one acceptable list fits, dictionary by dictionary in order, else the error of the last."""
    error = "list_dict_checker:unclear"
    for option in acceptable:
        if len(value) != len(_values(option)):
            error = "value_error:list_dict_count"
            continue
        errors = (_check_dict(item, [inner]) for item, inner in zip(value, option, strict=True))
        error = next((found for found in errors if found), "")
        if not error:
            break
    return error
