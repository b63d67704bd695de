"""Which rows of a recipe are trained on and which are evaluated, so that the one can be compared with the other.

A stage reads only what stands above it. So of two `data` stages the lower one compares: its train rows with what is
evaluated of the upper one, and its test rows with what is trained on of the upper one. Suites that bring their own rows
stand for no stage, and are compared by every `data` stage that is trained on. Where nothing trains, all of them are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunewright.recipe.data_sections import OwnRows
from tunewright.recipe.sections import MAKES, DataSection, EvaluateSection, StageSection

Stages = Sequence[tuple[str, StageSection]]


def with_evaluation_sets(stages: Stages) -> list[tuple[str, StageSection]]:
    """Return the stages with `held_out`, `trained_on` and `suites` of every `data` section filled in, where left open.

    Args:
        stages: resolved: each has its id and its seed.
    """
    trained = _trained(stages)
    evaluated = [ref for ref in _evaluated(stages) if ref not in trained]
    suites = tuple(_own_rows(stages))
    filled: list[tuple[str, StageSection]] = []
    above: set[str] = set()
    for kind, section in stages:
        if isinstance(section, DataSection):
            section = _filled(section, above, trained, evaluated, suites)
            above.add(section.id)
        filled.append((kind, section))
    return filled


def _filled(
    section: DataSection, above: set[str], trained: list[str], evaluated: list[str], suites: tuple[OwnRows, ...]
) -> DataSection:
    is_trained_on = not trained or f"{section.id}.train" in trained
    is_evaluated = f"{section.id}.test" in evaluated
    found = {
        "held_out": tuple(ref for ref in evaluated if is_trained_on and _stage(ref) in above),
        "trained_on": tuple(ref for ref in trained if is_evaluated and _stage(ref) in above),
        "suites": suites if is_trained_on else (),
    }
    return section.model_copy(update={name: value for name, value in found.items() if getattr(section, name) is None})


def _stage(ref: str) -> str:
    return ref.partition(".")[0]


def _trained(stages: Stages) -> list[str]:
    return _unique(getattr(section, "rows", None) for kind, section in stages if MAKES[kind] == "adapter")


def _evaluated(stages: Stages) -> list[str]:
    return _unique(section.rows for _, section in stages if isinstance(section, EvaluateSection))


def _own_rows(stages: Stages) -> Iterator[OwnRows]:
    told: list[OwnRows] = []
    for _, section in stages:
        if isinstance(section, EvaluateSection) and section.rows is None:
            own = OwnRows(suite=section.suite, options=section.options, limit=section.limit, seed=section.seed or 0)
            if own not in told:  # one suite asked before and after training
                told.append(own)
                yield own


def _unique(refs: Iterator[str | None]) -> list[str]:
    return list(dict.fromkeys(ref for ref in refs if ref))
