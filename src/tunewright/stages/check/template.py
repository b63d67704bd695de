"""Part of `check`: the chat template of each model that is trained, held against its tokenizer and its embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import read_json
from tunewright.artifacts.verdict import Verdict
from tunewright.chat.folder import TokenizerFolder, read_folder
from tunewright.chat.lint import TemplateFacts, lint_template
from tunewright.chat.probe import QUESTION
from tunewright.chat.template import ChatTemplate
from tunewright.gates.format import control_tokens_are_real, control_tokens_trained, end_of_turn_stops, one_bos
from tunewright.gates.model import tokens_have_embeddings
from tunewright.gates.written import one_template, template_is_timeless
from tunewright.models.embeddings import EmbeddingFacts, embedding_facts

_DAYS = (datetime(2001, 2, 3, 4, 5, 6), datetime(2034, 12, 30, 21, 48, 59))  # no part of them is alike
EMBEDDINGS = ("embed", "wte", "lm_head")


def judge_template(
    folder: Path, measured: dict[str, Any], *, trains_embeddings: bool = False, calls_tools: bool | None = None
) -> list[Verdict]:
    """Return the verdicts on the template in `folder`.

    Args:
        folder: with the tokenizer; where weights stand beside it their embedding is looked at too.
        measured: takes the measurements.
        trains_embeddings: True where the run trains them.
        calls_tools: do the rows have tools, calls or results of them; None where no rows are known.

    Raises:
        ModelError: no tokenizer or template, or one that cannot be used.
    """
    found = read_folder(folder)
    facts = lint_template(found)
    embeddings = _embeddings(folder, found, facts)
    measured["template"] = asdict(facts)
    measured["embeddings"] = asdict(embeddings) if embeddings else None
    return [
        control_tokens_are_real(facts, calls_tools=calls_tools),
        one_bos(facts),
        end_of_turn_stops(facts),
        one_template(found.templates),
        template_is_timeless(*(_on(found, day) for day in _DAYS)),
        tokens_have_embeddings(*_beyond(found, facts)),
        control_tokens_trained(embeddings, trains_embeddings=trains_embeddings),
    ]


def calls_tools(rows: Sequence[ChatRow]) -> bool | None:
    """True if any row has tools, calls or results of them; None for no rows."""
    if not rows:
        return None
    return any(row.tools or any(one["role"] == "tool" or one.get("tool_calls") for one in row.messages) for row in rows)


def _beyond(found: TokenizerFolder, facts: TemplateFacts) -> tuple[dict[str, int], int | None]:
    """Return the tokens that may be written and have no row in the embedding, and how many rows that has.

    Special ones that the template does not write are left out: they are of other uses, as Gemma's for images.
    """
    rows = _embedding_rows(found.path)
    if rows is None:
        return {}, None
    used = {one.text for one in facts.written} | set(found.special_tokens.values())
    special = {token.content for token in found.tokenizer.get_added_tokens_decoder().values() if token.special}
    ids = {text: at for text, at in found.tokenizer.get_vocab().items() if at >= rows}
    return {text: at for text, at in ids.items() if text in used or text not in special}, rows


def _embedding_rows(folder: Path) -> int | None:
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    text = config.get("text_config")
    rows = (text if isinstance(text, dict) else config).get("vocab_size")
    return rows if isinstance(rows, int) else None


def _on(found: TokenizerFolder, day: datetime) -> str:
    """Return a question as the template writes it on a day."""
    template = ChatTemplate(found.template, {**found.special_tokens, "strftime_now": day.strftime}, str(found.path))
    return template.render([QUESTION], add_generation_prompt=True)


def _embeddings(folder: Path, found: TokenizerFolder, facts: TemplateFacts) -> EmbeddingFacts | None:
    tokens = {one.text: one.token_id for one in facts.written if one.token_id is not None}
    others = {token.content: key for key, token in found.tokenizer.get_added_tokens_decoder().items()}
    return embedding_facts(folder, tokens, others)
