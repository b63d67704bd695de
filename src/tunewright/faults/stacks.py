"""Stacks with a bug: one function of a library is another one while the block runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put `value` in the place of `owner.name`, and put it back at the end."""
    right = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, right)


def trainers(change: Callable[[Any], None]) -> Callable[[], AbstractContextManager[None]]:
    """Return a stack whose trainers are changed as they are made."""

    @contextmanager
    def broken() -> Iterator[None]:
        from tunewright.stages.sft import trainer

        right = trainer.make_trainer

        def make(*given: Any, **named: Any) -> Any:
            made = right(*given, **named)
            change(made)
            return made

        with replaced(trainer, "make_trainer", make):
            yield

    return broken


def loss_times(factor: float) -> Callable[[Any], None]:
    """Return a change: the loss is `factor` times what it should be."""

    def change(trainer: Any) -> None:
        right = trainer.compute_loss
        trainer.compute_loss = lambda *given, **named: factor * right(*given, **named)

    return change


def mean_of_means(trainer: Any) -> None:
    """Normalise by each micro-batch's own tokens: what transformers did until October 2024."""
    right = trainer.compute_loss

    def compute_loss(model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        return right(model, inputs, return_outputs, None) / trainer.args.gradient_accumulation_steps

    trainer.compute_loss = compute_loss


def sum_of_means(trainer: Any) -> None:
    """Leave the number of micro-batches out of the division."""
    right = trainer.compute_loss
    trainer.compute_loss = lambda model, inputs, return_outputs=False, num_items_in_batch=None: right(
        model, inputs, return_outputs, None
    )


def one_long_row(trainer: Any) -> None:
    """Let packed rows see each other, as an attention does that ignores their boundaries."""
    right = trainer.data_collator

    def collate(rows: Any) -> Any:
        batch = right(rows)
        tokens = batch["input_ids"].shape[1]
        return {**batch, "packed_lengths": [0, tokens]}

    trainer.data_collator = collate


def no_optimizer(trainer: Any) -> None:
    """Forget the optimizer's state at a resume."""
    trainer._load_optimizer_and_scheduler = lambda checkpoint: None
