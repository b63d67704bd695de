"""The formula of a `multi` grader: arithmetic over the scores of its parts, and nothing else.

Operators + - * / ^ (power, as in OpenAI's graders; ** is read too), functions min max abs floor ceil exp sqrt log,
numbers, and the names of the parts. The text is parsed with `ast` and walked; nothing is ever evaluated by Python.
Everything is a float, so nothing grows: what overflows is an error.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

MAX_CHARS = 2_000
MAX_NODES = 500

FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min, "max": max, "abs": abs, "floor": math.floor, "ceil": math.ceil, "exp": math.exp, "sqrt": math.sqrt,
    "log": math.log,
}  # fmt: skip
_MANY = ("min", "max")
BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: math.pow,
}


class FormulaError(ValueError):
    """A formula that cannot be read, or has no value for these scores."""


@dataclass(frozen=True)
class Formula:
    """A checked formula; `names` are the variables it uses, in order of their first use."""

    text: str
    names: tuple[str, ...]
    tree: ast.expr

    def __call__(self, values: Mapping[str, float]) -> float:
        """Return the value for these scores.

        Raises:
            FormulaError: it has none: division by zero, root of a negative number, overflow.
        """
        try:
            value = _value(self.tree, values)
        except (ArithmeticError, ValueError) as error:
            raise FormulaError(f"`{self.text}` has no value: {error}") from None
        if not math.isfinite(value):
            raise FormulaError(f"`{self.text}` has no finite value")
        return value


def parse_formula(text: str, names: Sequence[str]) -> Formula:
    """Return `text` as a formula over `names`.

    Raises:
        FormulaError: too long, not arithmetic, or a name that is none of these; shows the part that is wrong.
    """
    if len(text) > MAX_CHARS:
        raise FormulaError(f"a formula of {len(text)} characters; at most {MAX_CHARS}")
    try:
        # `^` binds weaker than `+` in Python; as `**` it has the precedence of a power.
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaError(f"`{text}` is no arithmetic") from None
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise FormulaError(f"a formula of {len(nodes)} parts; at most {MAX_NODES}")
    _check(tree, names)
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    used = [node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in functions]
    return Formula(text, tuple(dict.fromkeys(used)), tree)


def _check(node: ast.expr, names: Sequence[str]) -> None:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Name(id=name) if name in names:
            return
        case ast.Name(id=name):
            raise FormulaError(f"`{name}` is no grader; there are: {', '.join(names)}")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            _check(inner, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            _check(left, names)
            _check(right, names)
        case ast.Call(func=ast.Name(id=function), args=args, keywords=[]) if _fits(function, args):
            for argument in args:
                _check(argument, names)
        case _:
            raise FormulaError(
                f"`{ast.unparse(node)[:80]}` is not allowed; allowed: + - * / ^ and {', '.join(FUNCTIONS)}"
            )


def _fits(function: str, args: list[ast.expr]) -> bool:
    return function in FUNCTIONS and (len(args) >= 2 if function in _MANY else len(args) == 1)


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=op, operand=inner):
            return -_value(inner, values) if isinstance(op, ast.USub) else _value(inner, values)
        case ast.BinOp(left=left, op=op, right=right):
            return BINARY[type(op)](_value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id=function), args=args):
            return float(FUNCTIONS[function](*(_value(argument, values) for argument in args)))
    raise FormulaError("unreachable: the formula was checked")
