"""The range of a `multi` grader's formula, where each part may have any score of its own range.

Interval arithmetic over the tree is never too narrow, and exact while each part stands in the formula once; else it may
be too wide: `a - 0.2 * a * b` never falls below 0, though each of its terms could. Then the parts that stand there more
than once are fixed at points, first at their ends, where most formulas are extreme, and if what is found there is less
than the interval, on a grid that closes in on the lowest and on the highest value (`a * (1 - a)` is highest between).
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from tunewright.graders.formula import BINARY, FUNCTIONS, Formula, FormulaError

Range = tuple[float, float]
Point = tuple[float, ...]

MAX_CORNERS = 12  # parts: 4096 corners
_STEPS = {1: 33, 2: 9, 3: 5, 4: 3}  # parts on the grid -> points along each; with more parts the interval stands
_ROUNDS = 30  # each halves the grid: down to a billionth of the range


def bounds_of(formula: Formula, ranges: Mapping[str, Range]) -> Range | None:
    """Return the lowest and the highest value of `formula`, or None where it has none that is known.

    A formula without a value for some scores (`a / b`) has the range of its corners that have one.

    Args:
        formula: of the grader.
        ranges: part -> its lowest and its highest score.
    """
    box = {name: ranges[name] for name in formula.names}
    try:
        widest = _interval(formula.tree, box)
    except (ArithmeticError, ValueError):
        return _of_corners(formula, box)
    counts = Counter(node.id for node in ast.walk(formula.tree) if isinstance(node, ast.Name))
    often = [name for name in box if counts[name] > 1]
    return _narrowed(formula, box, often, widest) if 0 < len(often) <= MAX_CORNERS else widest


def _of_corners(formula: Formula, box: Mapping[str, Range]) -> Range | None:
    if len(box) > MAX_CORNERS:
        return None
    found = []
    for corner in product(*box.values()):
        try:
            found.append(formula(dict(zip(box, corner, strict=True))))
        except FormulaError:
            continue
    return (min(found), max(found)) if found else None


def _narrowed(formula: Formula, box: Mapping[str, Range], often: Sequence[str], widest: Range) -> Range:
    """Return the range with the parts that stand there more than once fixed, at all points that are looked at."""

    def at(point: Point) -> Range:
        fixed = {name: (score, score) for name, score in zip(often, point, strict=True)}
        return _interval(formula.tree, {**box, **fixed})

    ends = [box[name] for name in often]
    corners = [at(corner) for corner in product(*ends)]
    low, high = min(low for low, _ in corners), max(high for _, high in corners)
    if len(often) not in _STEPS:
        return (low, high) if _close(low, widest[0]) and _close(high, widest[1]) else widest
    if not _close(low, widest[0]):
        low = min(low, _lowest(lambda point: at(point)[0], ends))
    if not _close(high, widest[1]):
        high = max(high, -_lowest(lambda point: -at(point)[1], ends))
    return low, high


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)


def _lowest(value: Callable[[Point], float], ends: Sequence[Range]) -> float:
    """Return the lowest value on a grid that is halved around the lowest point found."""
    best, centre = math.inf, tuple((low + high) / 2 for low, high in ends)
    for halvings in range(_ROUNDS):
        axes = [
            _axis(middle, (high - low) / 2 ** (halvings + 1), (low, high), _STEPS[len(ends)])
            for middle, (low, high) in zip(centre, ends, strict=True)
        ]
        found, point = min((value(point), point) for point in product(*axes))
        if found < best:
            best, centre = found, point
    return best


def _axis(middle: float, radius: float, ends: Range, steps: int) -> list[float]:
    low, high = max(ends[0], middle - radius), min(ends[1], middle + radius)
    return [low + (high - low) * step / (steps - 1) for step in range(steps)]


def _interval(node: ast.AST, box: Mapping[str, Range]) -> Range:
    """Return bounds of a part of the formula.

    Raises:
        ArithmeticError, ValueError: it has no value somewhere in the box.
    """
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number), float(number)
        case ast.Name(id=name):
            return box[name]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            low, high = _interval(inner, box)
            return -high, -low
        case ast.UnaryOp(operand=inner):
            return _interval(inner, box)
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(type(op), _interval(left, box), _interval(right, box))
        case ast.Call(func=ast.Name(id=function), args=args):
            return _applied(function, [_interval(argument, box) for argument in args])
    raise FormulaError("unreachable: the formula was checked")


def _combined(op: type[ast.operator], left: Range, right: Range) -> Range:
    """Every operator is extreme at the ends of its operands; a power of what may be negative, at 0 too."""
    inside = left[0] < 0 < left[1]
    if op is ast.Div and right[0] <= 0 <= right[1]:
        raise ZeroDivisionError
    if op is ast.Pow and left[0] < 0 and right[0] != right[1]:
        raise ValueError("a root of a negative number")
    bases = (*left, 0.0) if op is ast.Pow and inside else left
    values = [BINARY[op](one, other) for one in bases for other in right]
    if not all(map(math.isfinite, values)):
        raise OverflowError
    return min(values), max(values)


def _applied(function: str, arguments: Sequence[Range]) -> Range:
    """Every function rises with each of its arguments, but `abs`."""
    if function == "abs":
        ((low, high),) = arguments
        return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
    lows, highs = zip(*arguments, strict=True)
    return float(FUNCTIONS[function](*lows)), float(FUNCTIONS[function](*highs))
