"""Several answers of a model to each row, for a dry run: sampled at temperature 1, as training will sample them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunewright.backends.protocol import Backend, Prompt, Sampling
from tunewright.chat.render import Renderer
from tunewright.errors import DataError
from tunewright.graders.protocol import Row
from tunewright.graders.rows import prompt_of, row_id

BATCH_SIZE = 32


@dataclass(frozen=True)
class Policy:
    """A model that can be asked: its backend, and how its answers become text."""

    backend: Callable[[], Backend]
    """loads the model; only called when there is something left to answer"""
    renderer: Renderer

    def prompts(self, rows: Sequence[Row], answers_a_row: int) -> list[Prompt]:
        """Return the prompts: each row's as often as answers are asked for, with ids of their own, `row#0`, `row#1`, …

        Raises:
            DataError: a row without a question.
        """
        found = []
        for row in rows:
            messages = prompt_of(row)
            if not messages:
                raise DataError("nothing to ask a model", where=f"row {row_id(row)}", expected="messages, or a prompt")
            tools = row.get("tools") if isinstance(row, dict) else getattr(row, "tools", None)
            ids = tuple(self.renderer.prompt(messages, tools))
            found += [Prompt(id=f"{row_id(row)}#{k}", token_ids=ids) for k in range(answers_a_row)]
        return found

    def answer(
        self, prompts: Sequence[Prompt], sampling: Sampling, done: AbstractSet[str] = frozenset()
    ) -> Iterator[list[tuple[str, str]]]:
        """Yield (prompt id, text) of the prompts that are not done, batch by batch; those that failed are left out."""
        if all(prompt.id in done for prompt in prompts):
            return
        for batch in self.backend().generate(prompts, sampling, done):
            yield [
                (one.id, one.text if one.text is not None else self.renderer.decode(list(one.token_ids)))
                for one in batch
                if one.error is None and one.id not in done
            ]


def local_policy(
    ref: str,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    adapter: Path | None = None,
    batch_size: int = BATCH_SIZE,
) -> Policy:
    """Return a model on this machine as a policy.

    Args:
        ref: alias, folder, GGUF file or hub id.
        precision: as in recipes.
        adapter: the folder of a LoRA adapter on it, or None.
        batch_size: answers generated together.

    Raises:
        ModelError: no such model.
    """
    from tunewright.models.find import model_folder

    folder = model_folder(ref)
    renderer = Renderer.from_folder(folder)

    def load() -> Backend:
        from tunewright.backends.hf import HfBackend
        from tunewright.kernels.packed_linear import pack_linears
        from tunewright.models.load import load_model
        from tunewright.models.precision import resolve_precision

        model = pack_linears(load_model(folder, resolve_precision(precision), adapter))
        return HfBackend(model, renderer.stop_token_ids, renderer.pad_token_id, batch_size)

    return Policy(load, renderer)


def by_row(answers: dict[str, str]) -> dict[str, list[str]]:
    """Return answers by row, from answers by prompt id (`row#k`), in the order of k."""
    found: dict[str, dict[int, str]] = {}
    for name, text in answers.items():
        row, _, number = name.rpartition("#")
        found.setdefault(row, {})[int(number)] = text
    return {row: [texts[number] for number in sorted(texts)] for row, texts in found.items()}
