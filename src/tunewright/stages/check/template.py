"""Part of `check`: the chat template of each model that is trained, held against its tokenizer and its embeddings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunewright.artifacts.verdict import Verdict
from tunewright.chat.folder import TokenizerFolder, read_folder
from tunewright.chat.lint import TemplateFacts, lint_template
from tunewright.gates.format import control_tokens_are_real, control_tokens_trained, end_of_turn_stops, one_bos
from tunewright.models.embeddings import EmbeddingFacts, embedding_facts

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
        control_tokens_trained(embeddings, trains_embeddings=trains_embeddings),
    ]


def _embeddings(folder: Path, found: TokenizerFolder, facts: TemplateFacts) -> EmbeddingFacts | None:
    tokens = {one.text: one.token_id for one in facts.written if one.token_id is not None}
    others = {token.content: key for key, token in found.tokenizer.get_added_tokens_decoder().items()}
    return embedding_facts(folder, tokens, others)
