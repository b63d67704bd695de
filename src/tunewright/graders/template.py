"""Templates of graders: `{{ item.answer }}` and `{{ sample.output_tools[0].function.name }}` in a text.

A strict renderer for exactly what OpenAI's grader files use: a namespace, then keys and indexes. No filters, no
expressions, no code; what is filled in is never read as a template again. A variable that is not there is an error and
never an empty text: of `item` it is `invalid_variable_error`, of `sample` `sample_parse_error`, for then the answer
lacks it.

A template that is one variable and nothing else can also be taken as the value itself (`value_of`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tunewright.graders.protocol import ErrorKind, Sample

SAMPLE_VARIABLES = ("output_text", "output_json", "output_tools", "choices")
MAX_TEMPLATE_CHARS = 100_000
MAX_RENDERED_CHARS = 2_000_000
MAX_PATH_CHARS = 200

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# One step of a path: .name, .0, [0], ["any key"]. No two alternatives begin alike, so matching is linear.
_STEP = re.compile(r"""\.([A-Za-z0-9_-]+)|\[(-?\d{1,9})\]|\["([^"\]]*)"\]|\['([^'\]]*)'\]""")


class Unscored(Exception):
    """Raised inside a grader when an answer cannot be scored; becomes the `error` of its grade."""

    def __init__(self, kind: ErrorKind, detail: str):
        super().__init__(detail)
        self.kind: ErrorKind = kind
        self.detail = detail


@dataclass(frozen=True)
class Variable:
    """One `{{ … }}`: a namespace and the steps into it."""

    text: str
    namespace: str
    steps: tuple[str | int, ...]


def check_template(text: str) -> str:
    """Return `text` if it is a right template.

    Raises:
        ValueError: braces that do not close, a namespace other than item and sample, a variable `sample` does not have.
    """
    pieces(text)
    return text


@lru_cache(maxsize=1024)
def pieces(template: str) -> tuple[str | Variable, ...]:
    """Return the literal texts and variables of a template, in order. Linear in its length.

    Raises:
        ValueError: as `check_template`.
    """
    if len(template) > MAX_TEMPLATE_CHARS:
        raise ValueError(f"a template of {len(template)} characters; at most {MAX_TEMPLATE_CHARS}")
    found: list[str | Variable] = []
    at = 0
    while (begin := template.find("{{", at)) >= 0:
        end = template.find("}}", begin)
        if end < 0:
            raise ValueError(f"`{template[begin : begin + 40]}` is never closed by `}}}}`")
        found += [template[at:begin], _variable(template[begin + 2 : end].strip())]
        at = end + 2
    found.append(template[at:])
    return tuple(piece for piece in found if piece != "")


def _variable(text: str) -> Variable:
    name = _NAME.match(text) if len(text) <= MAX_PATH_CHARS else None
    if name is None or name[0] not in ("item", "sample"):
        raise ValueError(f"`{{{{ {text[:60]} }}}}`: expected `item.…` or `sample.…`")
    steps: list[str | int] = []
    at = name.end()
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError(f"`{{{{ {text} }}}}`: cannot read `{text[at:]}`; expected `.name` or `[0]`")
        dotted, index, *quoted = step.groups()
        steps.append(int(index) if index is not None else dotted or quoted[0] or quoted[1] or "")
        at = step.end()
    if name[0] == "sample" and (not steps or steps[0] not in SAMPLE_VARIABLES):
        raise ValueError(f"`{{{{ {text} }}}}`: sample has {', '.join(SAMPLE_VARIABLES)}")
    if not steps:
        raise ValueError(f"`{{{{ {text} }}}}`: name a variable of item, as in `{{{{ item.answer }}}}`")
    return Variable(text, name[0], tuple(steps))


def render(template: str, sample: Sample, item: Mapping[str, Any]) -> str:
    """Return `template` with its variables filled in. Texts go in as they are, other values as JSON.

    Raises:
        Unscored: a variable is not there or is null, or the result is longer than MAX_RENDERED_CHARS.
    """
    parts = [piece if isinstance(piece, str) else _as_text(lookup(piece, sample, item)) for piece in pieces(template)]
    if sum(map(len, parts)) > MAX_RENDERED_CHARS:
        raise Unscored(
            "truncated_observation_error", f"the filled template is longer than {MAX_RENDERED_CHARS} characters"
        )
    return "".join(parts)


def value_of(template: str, sample: Sample, item: Mapping[str, Any]) -> Any:
    """Return the value of a template that is one variable; of any other, its text.

    Raises:
        Unscored: as `render`.
    """
    found = pieces(template)
    if len(found) == 1 and isinstance(found[0], Variable):
        return lookup(found[0], sample, item)
    return render(template, sample, item)


def lookup(variable: Variable, sample: Sample, item: Mapping[str, Any]) -> Any:
    """Return the value of a variable, which is never None.

    Raises:
        Unscored: it is not there, or null.
    """
    value: Any = item if variable.namespace == "item" else _SampleView(sample)
    for step in variable.steps:
        value = _step_into(value, step)
        if value is None:
            raise _absent(variable, sample)
    return value


_READ: dict[str, Callable[[Sample], Any]] = {
    "output_text": lambda sample: sample.text,
    "output_json": lambda sample: sample.output_json,
    "output_tools": lambda sample: sample.output_tools,
    "choices": lambda sample: sample.as_json()["choices"],
}


class _SampleView(Mapping[str, Any]):
    """The sample's variables, each computed only when it is asked for."""

    def __init__(self, sample: Sample):
        self._sample = sample

    def __getitem__(self, key: str) -> Any:
        return _READ[key](self._sample)

    def __iter__(self) -> Iterator[str]:
        return iter(_READ)

    def __len__(self) -> int:
        return len(_READ)


def _step_into(value: Any, step: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(str(step))
    if isinstance(value, Sequence) and not isinstance(value, str):
        index = step if isinstance(step, int) else int(step) if step.isdecimal() and len(step) < 10 else None
        return value[index] if index is not None and -len(value) <= index < len(value) else None
    return None


def _absent(variable: Variable, sample: Sample) -> Unscored:
    if variable.namespace == "item":
        return Unscored("invalid_variable_error", f"the row has no `{variable.text}`")
    if variable.steps[0] == "output_json" and sample.output_json is None:
        return Unscored("sample_parse_error", "the answer is not JSON")
    return Unscored("sample_parse_error", f"the answer has no `{variable.text}`")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unscored("invalid_variable_error", f"a value that JSON cannot hold: {error}") from None
