"""A few training rows that are held out of training, answered and scored while it runs: does the loss mean the task?

reads    dev rows (`held_out.py`), the model as it trains
writes   dev.jsonl (one line a measurement: step, loss on the dev rows, score with its interval) and dev_answers.jsonl
         (the answers of the last one, for people)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import JsonlAppender, write_jsonl
from tunewright.backends.hf import HfBackend
from tunewright.backends.protocol import Prompt, Sampling
from tunewright.chat.render import Renderer
from tunewright.errors import UserError
from tunewright.kernels.packed_attention import ATTENTION
from tunewright.recipe.sections import Dev
from tunewright.stages.sft.progress import finite
from tunewright.stats.intervals import metric_interval
from tunewright.suites.protocol import Suite, cluster_of, find_suite

MEASUREMENTS = 4  # beside that of step 0
NAME, ANSWERS = "dev.jsonl", "dev_answers.jsonl"

Example = dict[str, list[Any]]


class DevWatch(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Measures loss and score of the dev rows at step 0, every so many steps, and at the end.

    Training is not touched: answers are greedy, the loss is taken without gradients, and no random number is drawn. So
    a run with dev rows ends in the adapter of one that was merely trained without those rows.

    Args:
        trainer: whose model is measured.
        rows: the dev rows, and `examples`, the same rendered for training.
        examples: see there.
        section: the `dev:` block.
        renderer: of the model.
        folder: the stage's folder.
        start_step: the step that training resumes from, 0 for a fresh start.
    """

    def __init__(
        self,
        trainer: Any,
        rows: Sequence[ChatRow],
        examples: Sequence[Example],
        section: Dev,
        renderer: Renderer,
        folder: Path,
        start_step: int,
    ):
        self.trainer, self.rows, self.examples = trainer, rows, examples
        self.section, self.renderer, self.folder = section, renderer, folder
        self.suite = scoring_suite(section)
        self.start_step = start_step
        path = folder / NAME
        with JsonlAppender(path) as log:
            kept = [line for line in log.existing if 0 < start_step >= line["step"]]
        write_jsonl(path, kept)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the model as it comes."""
        if self.start_step == 0:
            self.measure(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure where a measurement is due."""
        every = self.section.every or max(1, state.max_steps // MEASUREMENTS)
        if state.global_step % every == 0 or state.global_step >= state.max_steps:
            self.measure(state.global_step)

    def measure(self, step: int) -> None:
        """Write one line to dev.jsonl, and the answers."""
        answers = self._answers()
        scored = [self.suite.score(answer, row) for answer, row in zip(answers, self.rows, strict=True)]
        metric = self.suite.main_metric
        counted = [
            (one.scores[metric], row) for one, row in zip(scored, self.rows, strict=True) if metric in one.scores
        ]
        values = [value for value, _ in counted]
        line: dict[str, Any] = {"step": step, "loss": self.trainer.mean_nll(self.examples), "metric": metric}
        line |= {"rows": len(values), "score": sum(values) / len(values) if values else None}
        if values:
            low, high = metric_interval(values, [cluster_of(row, self.suite.cluster) for _, row in counted])
            line |= {"low": low, "high": high}
        with JsonlAppender(self.folder / NAME) as log:
            log.append([{key: finite(value) for key, value in line.items()}])
        told = zip(self.rows, answers, scored, strict=True)
        write_jsonl(
            self.folder / ANSWERS,
            (
                {"step": step, "id": row.id, "answer": answer, "scores": one.scores, "reason": one.reason}
                for row, answer, one in told
            ),
        )

    def _answers(self) -> list[str]:
        """Let the model in training answer, and put it back as it was."""
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        base = model.get_base_model()
        attention, was_training = base.config._attn_implementation, model.training
        model.eval()
        if attention == ATTENTION:
            base.set_attn_implementation("sdpa")  # packed attention trains; it has no cache
        try:
            backend = HfBackend(base, self.renderer.stop_token_ids, self.renderer.pad_token_id, len(self.rows))
            prompts = [Prompt(row.id, tuple(self.renderer.prompt(row.prompt, row.tools))) for row in self.rows]
            sampling = Sampling(self.suite.longest_answer(self.section.max_new_tokens))
            found = {one.id: one for batch in backend.generate(prompts, sampling) for one in batch}
        finally:
            base.set_attn_implementation(attention)
            model.train(was_training)
        return [self.renderer.decode(list(found[row.id].token_ids)) for row in self.rows]


def scoring_suite(section: Dev) -> Suite:
    """Return the suite of a `dev:` block.

    Raises:
        UserError: it asks for log-probabilities, or its main metric is not one of single rows.
    """
    suite = find_suite(section.suite, section.options)
    names = {metric.name for metric in suite.metrics}
    if suite.mode != "generate" or suite.main_metric not in names:
        raise UserError(
            "it does not score one answer at a time", where=f"dev: suite {suite.name}",
            expected="a suite that scores what a model writes, row by row: tool-calls, exact-match, …",
        )  # fmt: skip
    return suite
