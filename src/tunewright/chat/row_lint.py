"""Row lint: text inside messages that belongs to a template, this model's or another's.

reads    rows; the tokenizer's control tokens
gives    `RowFinding`s: which row, which message, which text

What a user wrote as `<|im_end|>` becomes the real token, and ends the turn there: for training a wrong lesson, for
serving an injection. What another family's template left (`[INST]`, `### Response:`) is learned as if people wrote so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.folder import TokenizerFolder
from tunewright.chat.lint import CONTROL_TEXT, TemplateFacts
from tunewright.chat.messages import plain

Kind = Literal["turn token", "special token", "foreign template", "foreign words"]

# Traces of templates that are no control tokens. Plain words count only in pairs, and people write even these.
FOREIGN = re.compile(r"\[/?INST\]|<<SYS>>|<</SYS>>|\[AVAILABLE_TOOLS\]|\[TOOL_CALLS\]|\[gMASK\]<sop>")
PAIRS = (
    ("### Instruction:", "### Response:"),
    ("### Human:", "### Assistant:"),
    ("\nUSER:", "\nASSISTANT:"),
    ("\nHuman:", "\n\nAssistant:"),
)
_ALSO_HTML = {"<s>", "</s>"}  # struck-out text


@dataclass(frozen=True)
class RowFinding:
    """A piece of a template in the text of a message."""

    row: str
    message: int
    role: str
    kind: Kind
    text: str


@dataclass(frozen=True)
class RowsFacts:
    """What was found in the text of some rows."""

    num_rows: int
    findings: tuple[RowFinding, ...]

    def rows_of(self, kind: Kind) -> dict[str, str]:
        """Return row id -> the first text of this kind in it."""
        found: dict[str, str] = {}
        for one in self.findings:
            if one.kind == kind:
                found.setdefault(one.row, one.text)
        return found


def lint_rows(rows: Iterable[ChatRow], folder: TokenizerFolder, facts: TemplateFacts) -> RowsFacts:
    """Look at the text of every message."""
    specials = {token.content for token in folder.tokenizer.get_added_tokens_decoder().values() if token.special}
    added = {token.content for token in folder.tokenizer.get_added_tokens_decoder().values()}
    turn = {one.text for one in facts.written if one.token_id is not None} & specials
    turn |= {facts.bos, facts.eos, facts.pad, *facts.served_stops} & specials
    look = _Look(turn, specials - turn, added, _any_of(specials))
    count, findings = 0, list[RowFinding]()
    for row in rows:
        count += 1
        findings += look(row)
    return RowsFacts(count, tuple(findings))


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern of these texts, the longest first; None for none."""
    ordered = sorted((text for text in texts if text), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


@dataclass(frozen=True)
class _Look:
    turn: set[str]
    """what ends or opens something in this model's template"""
    other: set[str]
    added: set[str]
    own: re.Pattern[str] | None

    def __call__(self, row: ChatRow) -> Iterator[RowFinding]:
        for index, message in enumerate(row.messages):
            text = _said(message)
            for kind, found in self._found(text, message["role"]):
                yield RowFinding(row.id, index, str(message["role"]), kind, found)

    def _found(self, text: str, role: str) -> Iterator[tuple[Kind, str]]:
        own = {found[0] for found in self.own.finditer(text)} if self.own else set[str]()
        yield from (("turn token", found) for found in sorted(own & self.turn))
        if role != "assistant":  # an answer may speak the model's own language: calls, channels
            yield from (("special token", found) for found in sorted(own & self.other))
        yield from (("foreign template", found) for found in self._foreign(text))
        pairs = (f"{left.strip()} … {right.strip()}" for left, right in PAIRS if left in text and right in text)
        yield from (("foreign words", found) for found in pairs)

    def _foreign(self, text: str) -> Iterator[str]:
        """Yield what another family's template writes and no person."""
        found = [match[0] for pattern in (FOREIGN, CONTROL_TEXT) for match in pattern.finditer(text)]
        found = [one for one in found if one not in _ALSO_HTML]
        if text.rstrip().endswith("</s>") and "<s>" not in text:
            found.append("</s>")
        yield from (one for one in dict.fromkeys(found) if one not in self.added)


def _said(message: Any) -> str:
    """Return the text of a message; the arguments of calls are values and count as well."""
    content = plain(message).get("content")
    calls = [str(call.get("function", {}).get("arguments", "")) for call in message.get("tool_calls") or ()]
    return "\n".join([content if isinstance(content, str) else "", *calls])
