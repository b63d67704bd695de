"""Jinja for code from strangers: it sees plain values, cannot change them or reach Python, and it comes to an end.

Jinja's own sandbox keeps a template away from Python, but not from the clock or the memory: two nested loops run for
hours, and a short chain of `x ~ x` fills any machine. So everything that makes a value is counted here: loops, calls,
filters, operators, slices and joined texts. A rendering may make so much and take so long; then it ends with an error.

    sandbox = Sandbox()                    one a template: it counts for one rendering at a time
    with sandbox.counting(): …             compile, or render
"""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

# A row has at most 2 MB (sources/dropped.py), and no released template makes a text longer than the conversation.
MAX_VALUE_CHARS: Final = 4_000_000
MAX_ITEMS: Final = 1_000_000
# Of one rendering. 2,000 messages of 1,000 characters, gathered in a list and trimmed, make 15 million.
MAX_MADE: Final = 256_000_000
STEP: Final = 500  # what an iteration or a call counts beside what it makes: half a million of them are the most
MAX_SECONDS: Final = 10.0  # of this thread's processor; a rendering takes milliseconds
MAX_WIDTH: Final = 10_000
MAX_BITS: Final = 4_096  # of a whole number
_CLOCK_EVERY: Final = 64

# For web pages; what they cost cannot be told from the length of their input.
_NO_FILTERS: Final = ("pprint", "striptags", "urlize", "wordwrap", "xmlattr")


class _Counting(CodeGenerator):
    """Writes a template's Python so that loops, comparisons, slices and `~` are counted: Jinja has no hook there."""

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        step = nodes.Call(nodes.EnvironmentAttribute("step"), [], [], None, None)
        node.body = [nodes.ExprStmt(step).set_lineno(node.lineno), *node.body]
        super().visit_For(node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        self.write("environment.made(")
        super().visit_Compare(node, frame)
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        self.write("environment.made(")
        super().visit_Getitem(node, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined(")
        if frame.eval_ctx.volatile:
            self.write("(markup_join if context.eval_ctx.volatile else str_join)")
        else:
            self.write("markup_join" if frame.eval_ctx.autoescape else "str_join")
        self.write(", (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox that counts. Arguments are those of `jinja2.Environment`."""

    code_generator_class = _Counting
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any):
        super().__init__(finalize=self._shown, **options)
        self._lock = threading.Lock()
        self._begin()
        del self.globals["lipsum"]
        known, self.filters = self.filters, {}
        for name, function in known.items():
            if name not in _NO_FILTERS:
                self.add_filter(name, function)

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Give templates a filter, counted as all are."""
        self.filters[name] = self._counted(name, function)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count for one compilation or rendering; others wait."""
        with self._lock:
            self._begin()
            yield

    def _begin(self) -> None:
        self._left = MAX_MADE
        self._calls = 0
        self._until = time.thread_time() + MAX_SECONDS

    # ── counting ──

    def step(self, size: int = 0) -> None:
        """Count one step, and `size` characters or items that it makes.

        Raises:
            SecurityError: it was too much, or took too long.
        """
        self._left -= STEP + size
        if self._left < 0:
            raise SecurityError("it does too much: more than a template needs for any conversation")
        self._calls += 1
        if self._calls % _CLOCK_EVERY == 0 and time.thread_time() > self._until:
            raise SecurityError(f"it takes more than {MAX_SECONDS:g} s")

    def made(self, value: Any) -> Any:
        """Count `value`, which was just made, and return it."""
        if isinstance(value, (str, bytes)):
            self._check_chars(len(value))
            self.step(len(value))
        elif isinstance(value, (list, tuple, dict)):
            if len(value) > MAX_ITEMS:
                raise SecurityError(f"it makes a list of more than {MAX_ITEMS:,} items")
            self.step(len(value))
        else:
            self.step()
        return value

    def _check_chars(self, size: int) -> None:
        if size > MAX_VALUE_CHARS:
            raise SecurityError(f"it makes a text of more than {MAX_VALUE_CHARS:,} characters")

    def will_write(self, value: Any, indent: int = 0) -> int:
        """Return about how many characters `value` is as text; values may hold one list many times.

        Raises:
            SecurityError: more than a value may have.
        """
        if isinstance(value, str):
            return len(value)
        total, level, depth = 0, [value], 0
        while level:
            total += sum(len(item) if isinstance(item, (str, bytes)) else 8 for item in level) + depth * indent * len(
                level
            )
            self._check_chars(total)
            self.step(len(level))
            level = [part for item in level for part in _parts(item)]
            depth += 1
        return total

    def _shown(self, value: Any) -> Any:
        """What Jinja calls for every value that is written out."""
        self.step(self.will_write(value))
        return value

    def concat(self, parts: Iterable[str]) -> str:  # Jinja has `"".join` here
        """Return the output of a macro or a block as one text."""
        kept, size = [], 0
        for part in parts:
            kept.append(part)
            size += len(part)
            self._check_chars(size)
        self.step(size)
        return "".join(kept)

    def joined(self, join: Callable[[Any], str], parts: tuple[Any, ...]) -> str:
        """Return what `~` makes of its parts."""
        self._check_chars(sum(self.will_write(part) for part in parts))
        text: str = self.made(join(parts))
        return text

    # ── what Jinja asks the sandbox ──

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function of the template, or a method of a value."""
        self.step()
        method = getattr(function, "__wrapped__", function)  # of str.format, which Jinja wraps
        owner = getattr(method, "__self__", None)
        if isinstance(owner, (str, bytes, int)):
            self._check_amplifier(method.__name__, owner, args, kwargs)
        return self.made(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse an operation whose result would be too large; count the others."""
        if operator in ("+", "*"):
            self._check_growth(operator, left, right)
        elif operator == "**" and _bits(left) * abs(right) > MAX_BITS:
            raise SecurityError("it takes a very large power")
        elif operator == "%" and isinstance(left, (str, bytes)):
            self._check_format(left, right)
        return self.made(super().call_binop(context, operator, left, right))

    def _check_growth(self, operator: str, left: Any, right: Any) -> None:
        sizes = [len(side) for side in (left, right) if hasattr(side, "__len__")]
        times = [abs(side) for side in (left, right) if isinstance(side, int)]
        if operator == "+":
            self._check_chars(sum(sizes))
        elif sizes and times and sizes[0] * times[0] > MAX_VALUE_CHARS:
            raise SecurityError("it repeats a text too often")
        elif not sizes and _bits(left) + _bits(right) > MAX_BITS:
            raise SecurityError("it makes a very large number")

    # ── filters, and methods of texts, by which a little becomes a lot ──

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        own = 1 if hasattr(function, "jinja_pass_arg") else 0  # Jinja's environment or context comes first

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            value, rest = args[own], args[own + 1 :]
            if name == "join":
                value = list(islice(value, MAX_ITEMS))
                self._check_joined(value, rest[0] if rest else kwargs.get("d", ""))
            else:
                self._check_amplifier(name, value, rest, kwargs)
            return self.made(function(*args[:own], value, *rest, **kwargs))

        return run

    def _check_amplifier(self, name: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [*args, *kwargs.values()]
        match name:
            case "center" | "ljust" | "rjust" | "zfill" | "batch" | "slice" | "round" | "to_bytes":
                _check_widths(given)
            case "expandtabs" | "indent":
                _check_widths(given)
                widest = max((part if isinstance(part, int) else len(part) for part in given if part), default=8)
                self._check_chars(len(value) + (value.count("\n") + value.count("\t") + 1) * widest)
            case "replace" if len(given) >= 2:
                old, new = str(given[0]), str(given[1])
                self._check_chars(len(text := str(value)) + text.count(old) * len(new))
            case "join" if given:
                self._check_joined(given[0], value)
            case "format" | "format_map":
                self._check_format(value, given)
            case "tojson":
                _check_widths(given)
                self.will_write(value, indent=max((part for part in given if isinstance(part, int)), default=0))
            case "string" | "escape" | "e" | "forceescape" | "urlencode" | "safe":
                self.will_write(value)
            case "sum" if not isinstance(kwargs.get("start", args[1] if len(args) > 1 else 0), (int, float)):
                raise SecurityError("it adds up what are no numbers")
            case "translate":
                raise SecurityError("it uses `translate`")

    def _check_joined(self, items: Any, separator: Any) -> None:
        if hasattr(items, "__len__"):
            self._check_chars(self.will_write(items) + len(items) * len(str(separator)))

    def _check_format(self, text: Any, given: Any) -> None:
        told = text.decode("latin-1") if isinstance(text, bytes) else str(text)
        if _WIDE.search(told):
            raise SecurityError("it formats with a very large width")
        self._check_chars(len(told) + (told.count("%") + told.count("{")) * self.will_write(given))


# `%*d`, `%99999d`, `{:{}}` and `{:99999}`
_WIDE: Final = re.compile(r"%[^a-zA-Z%]*?(?:\*|\d{5})|\{[^{}:]*:[^{}]*?(?:\{|\d{5})")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (part for pair in value.items() for part in pair)
    return value if isinstance(value, (list, tuple)) else ()


def _bits(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 64


def _check_widths(given: Iterable[Any]) -> None:
    for number in given:
        if (isinstance(number, int) and abs(number) > MAX_WIDTH) or (
            isinstance(number, str) and len(number) > MAX_WIDTH
        ):
            raise SecurityError("it asks for a very large width")
