"""Part of `check`: prompts as training, evaluation and serving see them, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.verdict import Verdict
from tunewright.backends.served_prompts import ServedPrompts
from tunewright.chat.folder import read_folder
from tunewright.chat.parity import Asked, View, as_json, ask, by_gguf, by_transformers, parity_hash, shown_by, view
from tunewright.chat.render import Renderer, Tools
from tunewright.chat.template import Messages
from tunewright.gates.format import renders_alike
from tunewright.models.find import gguf_file
from tunewright.models.gguf import read_gguf_chat
from tunewright.recipe.sections import EvaluateSection

COMPARED = 24  # conversations, spread over the rows; a server is asked for each

Shown = Callable[[Sequence[int]], str]


def judge_parity(
    folder: Path,
    model: str,
    rows: Sequence[ChatRow],
    evaluations: Sequence[EvaluateSection],
    serving: Sequence[str],
    measured: dict[str, Any],
) -> list[Verdict]:
    """Return the verdict on how prompts are rendered.

    Args:
        folder: with tokenizer and template.
        model: as the recipe names it; a GGUF's own template is compared too.
        rows: conversations to compare; some are taken, spread over all.
        evaluations: the stages that ask this model.
        serving: URLs of running servers, .gguf files.
        measured: takes the measurements, `parity` and `prompts_sha256`.

    Raises:
        ModelError, EnvironmentProblem: a way of serving that is named and cannot be asked.
    """
    renderer, shown = Renderer.from_folder(folder), shown_by(read_folder(folder))
    step = max(1, len(rows) // COMPARED)
    asked = ask(renderer, ((row.id, row.messages, row.tools) for row in rows[::step][:COMPARED]))
    views = [
        *_in_evaluation(folder, asked, evaluations, shown),
        view("transformers", asked, by_transformers(folder), shown),
        *_in_serving(folder, model, asked, serving, shown),
    ]
    measured["parity"] = as_json(views)
    measured["prompts_sha256"] = parity_hash(asked)
    return [renders_alike(views)]


def _in_evaluation(
    folder: Path, asked: Sequence[Asked], evaluations: Sequence[EvaluateSection], shown: Shown
) -> Iterator[View]:
    """Yield how each evaluation that differs from those before it renders the prompts."""
    seen = set()
    for section in evaluations:
        served = section.backend != "hf" and "chat" in {
            part.path for part in (section.endpoint, section.server) if part
        }
        served = served or (section.backend == "server" and section.server is None)
        how = (served, section.system, str(section.template_kwargs))
        if how in seen or (section.backend == "openai" and section.model is None):
            continue
        seen.add(how)
        chosen = section.system is not None or bool(section.template_kwargs)
        render = by_transformers(folder) if served else _by_renderer(folder, section)
        yield view(f"evaluation `{section.id}`", asked, render, shown, as_they_stand=True, chosen=chosen)


def _by_renderer(folder: Path, section: EvaluateSection) -> Callable[[Messages, Tools | None], list[int]]:
    renderer = Renderer.from_folder(folder, section.template_kwargs)

    def render(messages: Messages, tools: Tools | None) -> list[int]:
        own = [message for message in messages if message["role"] != "system"]
        system = [{"role": "system", "content": section.system}] if section.system else []
        return renderer.prompt(messages if section.system is None else [*system, *own], tools)

    return render


def _in_serving(
    folder: Path, model: str, asked: Sequence[Asked], serving: Sequence[str], shown: Shown
) -> Iterator[View]:
    own = gguf_file(model)
    files = [*([own] if own else []), *(Path(name) for name in serving if name.endswith(".gguf"))]
    for file in files:
        yield view(f"template of {file.name}", asked, by_gguf(read_gguf_chat(file), folder), shown)
    for url in (name for name in serving if not name.endswith(".gguf")):
        with ServedPrompts(url) as served:
            yield view(url, asked, served, shown)
