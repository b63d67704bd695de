"""Chat templates: a model's own Jinja code that turns messages into text, run in a sandbox.

Same environment as `transformers` gives them (trimmed blocks, loop controls, `tojson`, `raise_exception`,
`strftime_now`, `{% generation %}`), so that the text is the same to the byte; tests compare. A template comes from
the internet: it sees plain values only, cannot change them or reach Python, and its size, its output and what it may
do are bounded (`sandbox.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.utils import Namespace

from tunewright.chat.sandbox import Sandbox
from tunewright.errors import ModelError

Messages = Sequence[Mapping[str, Any]]
Span = tuple[int, int]

# The longest chat templates of released models are near 30,000 characters (gpt-oss, Qwen3.5).
MAX_TEMPLATE_CHARS = 500_000
# Twice the text of a million-token context at 8 characters a token.
MAX_OUTPUT_CHARS = 16_000_000
MAX_TOLD_CHARS = 1_000  # of a template's own words in an error
MAX_PATTERN_CHARS = 200  # of a date's format


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
        self._sandbox = _environment()
        self._tracker = self._sandbox.extensions[GenerationTracker.identifier]
        try:
            with self._sandbox.counting():
                self._template = self._sandbox.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise ModelError(f"the chat template has a syntax error in line {error.lineno}: {error.message}",
                             where=where, fix="mend chat_template.jinja") from None  # fmt: skip
        except RecursionError:
            raise ModelError("the chat template is nested too deep to compile", where=where) from None
        except Exception as error:  # Jinja lets through what Python says of the code that it makes of the template
            raise ModelError(f"the chat template cannot be compiled: {_told(error)}", where=where,
                             fix="mend chat_template.jinja") from None  # fmt: skip

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
        with self._sandbox.counting():  # the tracker of generation blocks belongs to one rendering at a time
            assert isinstance(self._tracker, GenerationTracker)
            self._tracker.begin()
            try:
                for chunk in self._template.generate(values):
                    self._tracker.add(chunk)
            except Exception as error:  # template code can raise whatever Python can; Ctrl-C still works
                raise self._refusal(error) from None
            return self._tracker.text(), self._tracker.spans

    def _refusal(self, error: BaseException) -> ModelError:
        if isinstance(error, _Raised):  # the template's own `raise_exception`: its words are for the user
            return ModelError(
                f"the chat template refuses the conversation: {_told(error)}", where=self.where,
                fix="change the messages to what the model's template takes",
            )  # fmt: skip
        return ModelError(
            f"the chat template fails: {_told(error)}", where=self.where,
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


def _told(error: BaseException) -> str:
    return str(error)[:MAX_TOLD_CHARS] or type(error).__name__


def _raise_exception(message: object) -> None:
    raise _Raised(str(message) if isinstance(message, str | int | float) else type(message).__name__)


def _strftime_now(pattern: str) -> str:
    if len(pattern) > MAX_PATTERN_CHARS:
        raise SecurityError("it writes the date in a very long format")
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


def _environment() -> Sandbox:
    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTracker, loopcontrols])
    functions: dict[str, Callable[..., Any] | object] = {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "dict": _TemplateDict(),
        "namespace": _TemplateNamespace,
    }
    environment.globals.update(functions)
    environment.add_filter("tojson", _tojson)
    return environment
