"""Chat templates: a model's own Jinja code that turns messages into text, run in a sandbox.

Same environment as `transformers` gives them (trimmed blocks, loop controls, `tojson`, `raise_exception`,
`strftime_now`, `{% generation %}`), so that the text is the same to the byte; tests compare. A template comes from
the internet: it sees plain values only, cannot change them or reach Python, and its size and its output are bounded.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from tunewright.errors import ModelError

Messages = Sequence[Mapping[str, Any]]
Span = tuple[int, int]

# The longest chat templates of released models are near 30,000 characters (gpt-oss, Qwen3.5).
MAX_TEMPLATE_CHARS = 500_000
# Twice the text of a million-token context at 8 characters a token.
MAX_OUTPUT_CHARS = 16_000_000

# What template code can raise by itself. KeyboardInterrupt is not among them: Ctrl-C still works.
_TEMPLATE_FAULTS = (
    jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
    MemoryError, AssertionError,
)  # fmt: skip


class ChatTemplate:
    """A compiled chat template.

    Args:
        source: the Jinja code.
        variables: what it sees beside messages and tools: `bos_token`, `eos_token`, …
        where: the folder, for errors.

    Raises:
        ModelError: too long, or not valid Jinja; names the line.
    """

    def __init__(self, source: str, variables: Mapping[str, Any] | None = None, where: str = "chat template"):
        if len(source) > MAX_TEMPLATE_CHARS:
            raise ModelError(
                f"the chat template has {len(source):,} characters", where=where,
                expected=f"at most {MAX_TEMPLATE_CHARS:,}", fix="use the model's own template",
            )  # fmt: skip
        self.source, self.variables, self.where = source, dict(variables or {}), where
        self.sha256 = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        self._lock = threading.Lock()  # the tracker of generation blocks belongs to one rendering at a time
        environment = _environment()
        self._tracker = environment.extensions[GenerationTracker.identifier]
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise ModelError(f"the chat template has a syntax error in line {error.lineno}: {error.message}",
                             where=where, fix="mend chat_template.jinja") from None  # fmt: skip
        except RecursionError:
            raise ModelError("the chat template is nested too deep to compile", where=where) from None

    def render(
        self,
        messages: Messages,
        tools: Messages | None = None,
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        """Return the text of a conversation. See `render_with_blocks`."""
        return self.render_with_blocks(messages, tools, add_generation_prompt=add_generation_prompt)[0]

    def render_with_blocks(
        self,
        messages: Messages,
        tools: Messages | None = None,
        *,
        add_generation_prompt: bool = False,
    ) -> tuple[str, list[Span]]:
        """Return the text and the character span of each `{% generation %}` block in it, in order.

        Raises:
            ModelError: the template refuses the conversation (with its own words) or writes too much.
        """
        values = {**self.variables, "messages": list(messages), "tools": list(tools) if tools else None,
                  "documents": None, "add_generation_prompt": add_generation_prompt}  # fmt: skip
        with self._lock:
            assert isinstance(self._tracker, GenerationTracker)
            self._tracker.begin()
            try:
                for chunk in self._template.generate(values):
                    self._tracker.add(chunk)
            except _TEMPLATE_FAULTS as error:
                raise self._refusal(error) from None
            return self._tracker.text(), self._tracker.spans

    def _refusal(self, error: BaseException) -> ModelError:
        if isinstance(error, _Raised):  # the template's own `raise_exception`: its words are for the user
            return ModelError(
                f"the chat template refuses the conversation: {error.message}", where=self.where,
                fix="change the messages to what the model's template takes",
            )  # fmt: skip
        detail = str(error) or type(error).__name__
        return ModelError(
            f"the chat template fails: {detail}", where=self.where,
            fix="check the messages against the model's template, or mend chat_template.jinja",
        )  # fmt: skip


class GenerationTracker(Extension):
    """Collects the output of one rendering, and where its `{% generation %}` blocks stand."""

    tags = {"generation"}  # noqa: RUF012  # jinja2 declares it as a plain set

    def begin(self) -> None:
        """Forget the last rendering."""
        self.chunks: list[str] = []
        self.length = 0
        self.spans: list[Span] = []

    def add(self, chunk: str) -> None:
        """Take the next piece of output; stop a template that writes without end."""
        self.chunks.append(chunk)
        self.length += len(chunk)
        if self.length > MAX_OUTPUT_CHARS:
            raise SecurityError(f"it writes more than {MAX_OUTPUT_CHARS:,} characters")

    def text(self) -> str:
        """Return the whole output."""
        return "".join(self.chunks)

    def parse(self, parser: Parser) -> nodes.Node:
        """Turn `{% generation %}…{% endgeneration %}` into a call block."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_block"), [], [], body).set_lineno(line)

    def _block(self, caller: Macro) -> str:
        text = caller()
        self.spans.append((self.length, self.length + len(text)))
        return text


class _Raised(jinja2.TemplateError):
    """The template called `raise_exception`."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, and no way to fill the memory with one multiplication."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse a power, or a repetition, whose result would be too large to be text."""
        if operator == "**" and not abs(right) <= 64:
            raise SecurityError("it takes a very large power")
        sizes = [abs(side) if isinstance(side, int) else len(side) for side in (left, right) if hasattr(side, "__len__")
                 or isinstance(side, int)]  # fmt: skip
        repeats = hasattr(left, "__len__") or hasattr(right, "__len__")
        if operator == "*" and repeats and len(sizes) == 2 and sizes[0] * sizes[1] > MAX_OUTPUT_CHARS:
            raise SecurityError("it repeats a text too often")
        return super().call_binop(context, operator, left, right)


class _TemplateDict:
    """`dict` as templates may use it: it makes dictionaries and is not the type itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _TemplateNamespace(Namespace):
    """`namespace` without underscore names, which would lead to Python's internals."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # self is in args: a template may name an attribute `self`
        self, *rest = args
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _check_attribute(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_attribute(name)
        super().__setitem__(name, value)


def _check_attribute(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"it names a namespace attribute {name!r}")


def _raise_exception(message: str) -> None:
    raise _Raised(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML; chat templates expect plain JSON."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _environment() -> _Sandbox:
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTracker, loopcontrols])
    functions: dict[str, Callable[..., Any] | object] = {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "dict": _TemplateDict(),
        "namespace": _TemplateNamespace,
    }
    environment.globals.update(functions)
    environment.filters["tojson"] = _tojson
    return environment
