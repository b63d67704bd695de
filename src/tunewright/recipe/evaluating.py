"""Which fields of an `evaluate` section go together, and of its `require`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunewright.recipe.clashes import Clash

if TYPE_CHECKING:
    from tunewright.recipe.sections import Decision, EvaluateSection

_WANTS = {"openai": "endpoint", "server": "server"}


def clashes(section: EvaluateSection) -> Iterator[Clash]:
    """Yield the fields that cannot stand together."""
    if section.repeats > 1 and section.temperature == 0:
        seen = f"`repeats` is {section.repeats}, and with temperature 0 all answers to a row are the same"
        yield Clash("repeats", seen, "1, or a temperature above 0", example={"repeats": 4, "temperature": 0.7})
    if section.temperature == 0 and section.top_p is not None and section.top_p < 1:
        seen = f"`top_p` is {section.top_p:g}, and with temperature 0 nothing is drawn"
        yield Clash("top_p", seen, "1, or a temperature above 0", ("top_p", "1"))
    for backend, field in _WANTS.items():
        given = getattr(section, field) is not None
        if given and section.backend != backend:
            seen = f"`{field}` is given, and the backend is {section.backend}"
            yield Clash(field, seen, f"no `{field}`, or `backend: {backend}`", ("backend", backend))
    if section.backend == "openai" and section.endpoint is None:
        yield Clash("backend", "the backend is openai, and `endpoint` does not say whom to ask", "`endpoint`")


def decision_clashes(require: Decision) -> Iterator[Clash]:
    """Yield what is wrong between the bounds of a decision point."""
    if require.above is None and require.below is None:
        yield Clash("above", "a decision point without a bound decides nothing", "`above`, `below`, or both")
    if require.above is not None and require.below is not None and require.above >= require.below:
        seen = f"`above` is {require.above:g} and `below` is {require.below:g}: no score is both"
        yield Clash("below", seen, f"a number above {require.above:g}")
