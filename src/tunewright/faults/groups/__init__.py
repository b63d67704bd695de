"""The planted faults, a file a group."""

from tunewright.faults.fault import Fault
from tunewright.faults.groups import base, budget, evaluation, graders, labels, merge, recipes, rows, stack, tokens

FAULTS: tuple[Fault, ...] = (
    *tokens.FAULTS,
    *labels.FAULTS,
    *rows.FAULTS,
    *graders.FAULTS,
    *base.FAULTS,
    *stack.FAULTS,
    *merge.FAULTS,
    *evaluation.FAULTS,
    *budget.FAULTS,
    *recipes.FAULTS,
)
