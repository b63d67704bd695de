"""What each row of an evaluation is asked: messages, tokens, or texts whose log-probability is wanted.

reads    rows, worked examples, the section; the model's tokenizer and template
makes    one `Question` a row, with the hashes that pair rows between evaluations
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.fingerprint import fingerprint
from tunewright.artifacts.scores import answer_id
from tunewright.backends.protocol import Continuation, Prompt
from tunewright.backends.wire import prompt_hash
from tunewright.chat.render import Renderer
from tunewright.errors import DataError
from tunewright.recipe.sections import EvaluateSection
from tunewright.suites.protocol import Candidate, Suite

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """A row as it is asked. `prompt` is there to be answered, `pieces` to be scored by log-probability."""

    row: ChatRow
    prompt: Prompt
    prompt_sha256: str
    row_sha256: str
    reference: str
    template_sha256: str = ""
    pieces: tuple[Piece, ...] = ()

    def prompts(self, repeats: int) -> Iterator[Prompt]:
        """Yield the prompt once for every answer that is wanted."""
        for repeat in range(repeats):
            yield Prompt(answer_id(self.row.id, repeat), self.prompt.token_ids, self.prompt.messages, self.prompt.tools)


@dataclass(frozen=True)
class Piece:
    """A text to be scored, or a window of a long one. Pieces of one candidate follow each other."""

    candidate: str
    text: str
    continuation: Continuation


def questions(
    rows: Sequence[ChatRow],
    section: EvaluateSection,
    suite: Suite,
    shots: Sequence[ChatRow],
    renderer: Renderer | None,
    max_new_tokens: int,
) -> list[Question]:
    """Return every row as it is asked.

    Args:
        rows: with unique ids.
        section: says the system text and who answers.
        suite: says which texts are to be scored, where its mode is `log_probs`.
        shots: worked examples in front of every prompt.
        renderer: of the model that answers, with the section's `template_kwargs`; None where only a server has it.
        max_new_tokens: room that a prompt must leave in the model's context.

    Raises:
        DataError: two rows of one id, or a prompt that does not fit; names the row.
    """
    counts = Counter(answer_id(row.id, repeat) for row in rows for repeat in range(section.repeats))
    twice = next((key for key, count in counts.items() if count > 1), None)
    if twice is not None:
        raise DataError(f"two answers would have the id {twice!r}", expected="ids of rows that are unique")
    if renderer is None:
        return [_unrendered(row, section, shots) for row in rows]
    # what pairs rows is the row's own prompt: worked examples, system text and template settings are the system's
    plain = Renderer.from_folder(renderer.folder) if section.template_kwargs else renderer
    ask = _Asker(section, suite, shots, renderer, plain, section.system, max_new_tokens)
    return [ask(row) for row in rows]


def _unrendered(row: ChatRow, section: EvaluateSection, shots: Sequence[ChatRow]) -> Question:
    """Return a row as a server is asked that renders by a template nobody here knows."""
    messages = [*_as_messages(shots, section), *with_system(row.prompt, section.system)]
    prompt = Prompt(row.id, (), tuple(messages), tuple(row.tools) if row.tools else None)
    return Question(row, prompt, prompt_sha256=_row_hash(row), row_sha256=_row_hash(row), reference=_plain_answer(row))


def _row_hash(row: ChatRow) -> str:
    return fingerprint({"asked": prompt_hash(row.prompt, row.tools), "answer": row.answer})


def _plain_answer(row: ChatRow) -> str:
    """Return the reference as text, calls in Hermes form as backends give them."""
    calls = [json.dumps(call["function"], ensure_ascii=False) for call in row.answer.get("tool_calls") or ()]
    texts = [str(row.answer.get("content") or ""), *(f"<tool_call>\n{call}\n</tool_call>" for call in calls)]
    return "\n".join(text for text in texts if text)


def _as_messages(shots: Sequence[ChatRow], section: EvaluateSection) -> Messages:
    """Return worked examples as a server takes them: it renders one conversation, with one set of tools.

    Raises:
        DataError: an example has tools or a system text of its own.
    """
    own = next((shot for shot in shots if shot.tools or shot.messages[0]["role"] == "system"), None)
    if own is not None and not (section.endpoint and section.endpoint.path == "completions"):
        raise DataError(
            f"the worked example {own.id} has tools or a system text of its own",
            where=f"backend {section.backend}",
            expected="examples of user and assistant only: a server renders one conversation",
            fix="`shots: 0`, `backend: hf`, or an endpoint with `path: completions`",
        )
    return [message for shot in shots for message in shot.messages]


@dataclass(frozen=True)
class _Asker:
    section: EvaluateSection
    suite: Suite
    shots: Sequence[ChatRow]
    renderer: Renderer
    plain: Renderer
    system: str | None
    max_new_tokens: int

    def __call__(self, row: ChatRow) -> Question:
        row_sha256 = _row_hash(row)
        if self.suite.mode == "log_probs":
            assert self.suite.candidates is not None, f"suite {self.suite.name} has no candidates"
            texts = [(candidate, *self._continuation(candidate, row)) for candidate in self.suite.candidates(row)]
            pieces = tuple(self._pieces(texts, row))
            own = fingerprint([[one.text, self._alone(one, row) if self._frames else ids] for one, ids, _ in texts])
            reference = str(row.answer.get("content") or "")
            return Question(row, Prompt(row.id), own, row_sha256, reference, self.renderer.template_sha256, pieces)
        prompt = self._prompt(row)
        own_ids = list(prompt.token_ids)
        if self._frames:
            own_ids = self.plain.prompt(row.prompt, row.tools)
        reference = self.plain.answer_text(row.answer, row.tools)
        return Question(row, prompt, fingerprint(own_ids), row_sha256, reference, self.renderer.template_sha256)

    @property
    def _frames(self) -> bool:
        """True if something stands around a row that is no part of what is asked: its hash leaves that out."""
        return bool(self.shots) or self.system is not None or self.plain is not self.renderer

    def _prompt(self, row: ChatRow) -> Prompt:
        messages = with_system(row.prompt, self.system)
        ids = self.renderer.prompt(messages, row.tools, [(shot.messages, shot.tools) for shot in self.shots])
        limit = self.renderer.context_length if self.section.backend != "openai" else None
        if limit is not None and len(ids) + self.max_new_tokens > limit:
            raise DataError(
                f"its prompt has {len(ids)} tokens, and {self.max_new_tokens} more are to be generated",
                where=f"row {row.id}",
                expected=f"at most {limit} together: the model's context",
                fix="drop such rows with `overlong: drop` and a smaller `max_tokens:` in the data stage, or lower "
                "`shots:`",
            )
        if self.section.backend == "hf":
            return Prompt(row.id, tuple(ids))
        asked = [*_as_messages(self.shots, self.section), *messages]
        return Prompt(row.id, tuple(ids), tuple(asked), tuple(row.tools) if row.tools else None)

    # ── texts to be scored ──

    def _pieces(self, texts: Sequence[tuple[Candidate, list[int], int]], row: ChatRow) -> Iterator[Piece]:
        for number, (candidate, ids, start) in enumerate(texts):
            for part, (window, begin) in enumerate(_windows(ids, start, self.renderer.context_length, row.id)):
                scored = Continuation(f"{row.id}/{number}/{part}", window, begin)
                yield Piece(candidate.name, candidate.text, scored)

    def _alone(self, candidate: Candidate, row: ChatRow) -> list[int]:
        """Return the token ids of a text behind its row's own prompt."""
        messages = list(candidate.messages) if candidate.messages is not None else None
        return self.plain.continuation(candidate.text, messages, row.tools)[0]

    def _continuation(self, candidate: Candidate, row: ChatRow) -> tuple[list[int], int]:
        if candidate.messages is None:
            return self.renderer.continuation(candidate.text)
        messages = with_system(list(candidate.messages), self.system)
        shots = [(shot.messages, shot.tools) for shot in self.shots]
        return self.renderer.continuation(candidate.text, messages, row.tools, shots)


def _windows(ids: list[int], start: int, limit: int | None, row_id: str) -> Iterator[tuple[tuple[int, ...], int]]:
    """Cut a text that is longer than the context so that each token is scored once, behind half a context or more."""
    if limit is not None and start >= limit:
        raise DataError(f"its prompt has {start} tokens", where=f"row {row_id}", expected=f"fewer than {limit}")
    size, begin = limit or len(ids), 0
    while True:
        end = min(len(ids), begin + size)
        yield tuple(ids[begin:end]), start - begin
        if end == len(ids):
            return
        start, begin = end, end - size // 2


def with_system(messages: Messages, system: str | None) -> Messages:
    """Return the messages with `system` in place of their own system text; as they are where it is None."""
    if system is None:
        return messages
    own = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": system}, *own] if system else own


def pick_shots(rows: Rows | None, section: EvaluateSection) -> list[ChatRow]:
    """Return the worked examples: `section.shots` rows drawn with the seed from the shortest quarter, one a group.

    The shortest quarter, since every prompt pays for them; one a group, so that they differ.
    """
    if rows is None or section.shots == 0:
        return []
    by_length = sorted(rows.load(), key=lambda row: (len(str(row.messages)) + len(str(row.tools)), row.id))
    short = by_length[: max(2 * section.shots, len(by_length) // 4)]
    random.Random(section.seed).shuffle(short)
    one_a_group = list({row.group: row for row in short}.values())
    if len(one_a_group) < section.shots:
        raise DataError(
            f"{len(one_a_group)} groups to draw {section.shots} worked examples from",
            where=str(rows.path),
            fix="ask for fewer `shots:`",
        )
    return one_a_group[: section.shots]
