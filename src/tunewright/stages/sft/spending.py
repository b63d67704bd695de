"""Training that stops when the run's budget is spent: after a whole step, with a checkpoint of it."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from tunewright.artifacts.spending import Purse
from tunewright.errors import BudgetSpent


class StopWhenSpent(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Ends training at the first step after which nothing is left, unless it is the last; must come after `Recorder`.

    Args:
        purse: of the run; None for no budget.
    """

    def __init__(self, purse: Purse | None):
        self.purse, self.stopped_at = purse, 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint and for the end."""
        if self.purse is not None and self.purse.spent() and state.global_step < state.max_steps:
            self.stopped_at = state.global_step
            control.should_log = control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say that it is not done.

        Raises:
            BudgetSpent: it was ended before its last step.
        """
        if self.purse is not None and self.stopped_at:
            raise BudgetSpent(self.purse.told(), kept=f"step {self.stopped_at} of {state.max_steps}")
