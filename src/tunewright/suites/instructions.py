"""Suite `instructions`: does the answer keep to the form that was asked for?

reads    `meta.instructions`, a list of {id, …arguments}; or IFEval's own `meta.instruction_id_list` and `meta.kwargs`.
         The ids and arguments stand in `instruction_checks.py` and docs/suites.md

    prompt_strict        1 if the answer follows every instruction of its prompt
    prompt_loose         the same, if any of eight forms of the answer does, instruction by instruction
    instruction_strict   share of all instructions of all prompts that are followed
    instruction_loose    the same with the eight forms

The eight forms: with or without its first line, with or without its last, with or without `*`. They forgive an opening
phrase and markdown, and some false answers too: the strict metrics decide.

Instructions of one prompt are not independent; the intervals of the last two are made over prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError
from tunewright.recipe.explain import nearest
from tunewright.suites import MAIN_METRIC
from tunewright.suites.instruction_checks import CHECKS, BadInstructionError, follows
from tunewright.suites.protocol import Metric, Scored, Suite

if TYPE_CHECKING:
    from tunewright.artifacts.scores import ScoreRow

Instruction = tuple[str, dict[str, Any]]
"""its id, and its arguments"""


def instructions_of(row: ChatRow) -> list[Instruction]:
    """Return the instructions of a row.

    Raises:
        DataError: there are none, or one that does not exist.
    """
    where = f"row {row.id}"
    if "instructions" in row.meta:
        listed = row.meta["instructions"]
    else:
        ids = row.meta.get("instruction_id_list") or []
        arguments = row.meta.get("kwargs") or [{}] * len(ids)
        if len(arguments) != len(ids):
            raise DataError(f"{len(ids)} instructions and {len(arguments)} `meta.kwargs`", where=where)
        listed = [{"id": name, **(own or {})} for name, own in zip(ids, arguments, strict=True)]
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) and "id" in one for one in listed):
        raise DataError("`meta.instructions` is no list of {id, …}", where=where, expected="one instruction or more")
    if unknown := [one["id"] for one in listed if one["id"] not in CHECKS]:
        close = nearest(str(unknown[0]), CHECKS)
        raise DataError(
            f"there is no instruction {unknown[0]!r}", where=where, fix=f"did you mean {close}?" if close else None
        )
    # IFEval's files hold every argument of every instruction, null where it has no meaning.
    return [(one["id"], {key: one[key] for key in one if key != "id" and one[key] is not None}) for one in listed]


def loose_forms(answer: str) -> Iterator[str]:
    """Yield the eight forms of an answer: with or without first line, last line, `*`."""
    lines = answer.split("\n")
    for kept in (lines, lines[1:], lines[:-1], lines[1:-1]):
        form = "\n".join(kept) if kept is lines else "\n".join(kept).strip()
        yield form
        yield form.replace("*", "")


def score_instructions(answer: str, row: ChatRow) -> Scored:
    """Score `answer` against the row's instructions."""
    try:
        asked = instructions_of(row)
        strict = [follows(answer, *instruction) for instruction in asked]
        forms = list(dict.fromkeys(loose_forms(answer)))
        loose = [any(follows(form, *instruction) for form in forms) for instruction in asked]
    except DataError as error:
        return Scored({}, "unscored", error=str(error))
    except BadInstructionError as error:
        return Scored({}, "unscored", error=f"row {row.id}: {error}")
    verdicts = [
        {"id": name, "strict": one, "loose": other} for (name, _), one, other in zip(asked, strict, loose, strict=True)
    ]
    scores = {
        "prompt_strict": float(all(strict)),
        "prompt_loose": float(all(loose)),
        "instruction_strict": sum(strict) / len(strict),
        "instruction_loose": sum(loose) / len(loose),
    }
    broken = [name for (name, _), one in zip(asked, strict, strict=True) if not one]
    failure = "" if not broken else "empty answer" if not answer.strip() else broken[0].partition(":")[0]
    return Scored(scores, f"{failure}: {', '.join(broken)}" if broken else "all followed", verdicts, failure)


def followed(rows: Sequence[ScoreRow], form: str) -> tuple[list[float], list[str]]:
    """Return 1 or 0 for every instruction of every scored row, and the row it belongs to: its cluster.

    Args:
        rows: scored rows.
        form: `strict` or `loose`.
    """
    pairs = [(float(one[form]), row.group or row.id) for row in rows if row.scores for one in row.parsed]
    return [value for value, _ in pairs], [cluster for _, cluster in pairs]


def per_instruction(rows: Sequence[ScoreRow]) -> dict[str, float]:
    """Return the two metrics that are means over instructions."""
    found = {}
    for form in ("strict", "loose"):
        values, _ = followed(rows, form)
        if values:
            found[f"instruction_{form}"] = sum(values) / len(values)
    return found


_INSTRUCTIONS: Final = "all instructions of all prompts"

SUITE = Suite(
    name="instructions",
    metrics=(
        Metric("prompt_strict", "all prompts"),
        Metric("prompt_loose", "all prompts"),
        Metric("instruction_strict", _INSTRUCTIONS, binary=False),
        Metric("instruction_loose", _INSTRUCTIONS, binary=False),
    ),
    score=score_instructions,
    main_metric=MAIN_METRIC["instructions"],
    aggregate=per_instruction,
)
