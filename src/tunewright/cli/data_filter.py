"""A filter as it stands on the command line of `tw data prune`: its type alone, or a mapping in YAML's flow style."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from tunewright.errors import RecipeError, UserError

if TYPE_CHECKING:
    from tunewright.recipe.data_sections import Filter

FILTER_FORMS = (
    "its type, or a mapping: `{type: near_duplicates, threshold: 0.7}`; in the order in which they are applied"
)


def filter_of(text: str) -> Filter:
    """Return the filter that a person means.

    Raises:
        UserError: no such filter, a setting that it does not have, or one that cannot be.
    """
    from tunewright.recipe.data_sections import Filter
    from tunewright.recipe.explain import nearest, tags
    from tunewright.recipe.faults import find_faults, validate

    value, kinds = _parsed(text), tags(get_args(Filter)[0])
    name = str(value.get("type") or "")
    if name not in kinds:
        close = nearest(name, kinds)
        raise UserError(
            f"no filter {name}" if name else f"{text!r} names no filter", where="--filter",
            expected=f"one of {', '.join(kinds)}; {FILTER_FORMS}", fix=f"did you mean {close}?" if close else None,
        )  # fmt: skip
    for fault in find_faults(kinds[name], value):
        settings = [field for field in kinds[name].model_fields if field != "type"]
        unknown = fault.type == "unknown"
        what = {"unknown": "is no setting", "missing": "is missing"}.get(fault.type, "cannot be that")
        raise UserError(
            f"{'.'.join(map(str, (name, *fault.path)))} {what}: {text}", where="--filter",
            expected=("one of " + ", ".join(settings) if settings else "no settings") if unknown else fault.expected,
        )  # fmt: skip
    found: Filter = validate(kinds[name], value)
    return found


def _parsed(text: str) -> dict[str, Any]:
    """Return what stands there, in JSON's types."""
    from tunewright.recipe.document import parse

    if not text.lstrip().startswith("{"):
        return {"type": text.strip()}
    try:
        document = parse(text, "--filter")
        if document.problems:
            raise RecipeError(document.problems)
    except RecipeError as error:
        raise UserError(f"{text!r}: {error.problems[0].seen}", where="--filter", expected=FILTER_FORMS) from None
    return dict(document.value)
