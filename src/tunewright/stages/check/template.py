"""Part of `check`: the chat template of each model that is trained, held against its tokenizer and its embeddings."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from tunewright.artifacts.verdict import Verdict
from tunewright.chat.folder import TokenizerFolder, read_folder
from tunewright.chat.lint import TemplateFacts, lint_template
from tunewright.chat.probe import QUESTION
from tunewright.chat.template import ChatTemplate
from tunewright.gates.format import control_tokens_are_real, control_tokens_trained, end_of_turn_stops, one_bos
from tunewright.gates.written import one_template, template_is_timeless
from tunewright.models.embeddings import EmbeddingFacts, embedding_facts

_DAYS = (datetime(2001, 2, 3, 4, 5, 6), datetime(2034, 12, 30, 21, 48, 59))  # no part of them is alike
EMBEDDINGS = ("embed", "wte", "lm_head")


def judge_template(folder: Path, measured: dict[str, Any], *, trains_embeddings: bool = False) -> list[Verdict]:
    """Return the verdicts on the template in `folder`.

    Args:
        folder: with the tokenizer; where weights stand beside it their embedding is looked at too.
        measured: takes the measurements.
        trains_embeddings: True where the run trains them.

    Raises:
        ModelError: no tokenizer or template, or one that cannot be used.
    """
    found = read_folder(folder)
    facts = lint_template(found)
    embeddings = _embeddings(folder, found, facts)
    measured["template"] = asdict(facts)
    measured["embeddings"] = asdict(embeddings) if embeddings else None
    return [
        control_tokens_are_real(facts),
        one_bos(facts),
        end_of_turn_stops(facts),
        one_template(found.templates),
        template_is_timeless(*(_on(found, day) for day in _DAYS)),
        control_tokens_trained(embeddings, trains_embeddings=trains_embeddings),
    ]


def _on(found: TokenizerFolder, day: datetime) -> str:
    """Return a question as the template writes it on a day."""
    template = ChatTemplate(found.template, {**found.special_tokens, "strftime_now": day.strftime}, str(found.path))
    return template.render([QUESTION], add_generation_prompt=True)


def _embeddings(folder: Path, found: TokenizerFolder, facts: TemplateFacts) -> EmbeddingFacts | None:
    tokens = {one.text: one.token_id for one in facts.written if one.token_id is not None}
    others = {token.content: key for key, token in found.tokenizer.get_added_tokens_decoder().items()}
    return embedding_facts(folder, tokens, others)
