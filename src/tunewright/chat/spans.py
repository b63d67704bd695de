"""Where the assistant's turns stand in a rendered conversation: exactly, or a refusal. Never a guess.

A turn begins where the prompt before it ends (the conversation up to there, rendered with the generation prompt) and
ends with its end-of-turn token. Where the template writes earlier turns differently once later ones follow (Qwen3
drops their thinking), the turn is found by rendering the whole conversation once more with a marker in its place:
what stands before and after the marker must be what stands there in the real text. Blocks of `{% generation %}` say
which part of a turn is trained; the end-of-turn always is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunewright.chat.probe import MARKER
from tunewright.chat.template import ChatTemplate, Messages, Span
from tunewright.errors import ModelError


@dataclass(frozen=True)
class Turn:
    """One turn of the assistant, in characters of the rendered text."""

    begin: int
    """where the generation prompt ends"""
    end: int
    """behind the end-of-turn token"""
    trained: tuple[Span, ...]
    """what is trained: parts of begin…end, the last of which reaches `end`"""


@dataclass(frozen=True)
class Dialect:
    """What is true of a template for every conversation.

    `header` is what it writes in front of an earlier answer, as far as that is the generation prompt too; `stops` are
    the texts of the end-of-turn tokens.
    """

    template: ChatTemplate
    header: str
    stops: tuple[str, ...]


@dataclass(frozen=True)
class RenderedText:
    """A conversation as text, with what it was rendered from (messages and tools as the template takes them)."""

    dialect: Dialect
    messages: Messages
    tools: Messages | None
    text: str
    blocks: tuple[Span, ...]
    is_prompt: bool = False

    def turns(self) -> list[Turn]:
        """Return the assistant's turns, in order.

        Raises:
            ModelError: the template gives no exact answer for one of them; names the message.
        """
        indices = [index for index, message in enumerate(self.messages) if message["role"] == "assistant"]
        turns: list[Turn] = []
        for number, index in enumerate(indices):
            turn = self._turn(index, number, len(indices))
            self._check(turn, index, after=turns[-1].end if turns else 0)
            turns.append(turn)
        return turns

    def _turn(self, index: int, number: int, count: int) -> Turn:
        try:
            begin = self._begin(index)
            end = self._end(index, begin)
        except ModelError:
            is_answer = index == len(self.messages) - 1  # its prompt must be exact; a block cannot make it so
            if is_answer or len(self.blocks) != count:
                raise
            begin, block_end = self.blocks[number]
            end = self._behind_stop(begin, block_end)
        return Turn(begin, end, self._trained(begin, end))

    def _begin(self, index: int) -> int:
        prompt = self._render(self.messages[:index], add_generation_prompt=True)
        if self.text.startswith(prompt):
            return len(prompt)
        if index == len(self.messages) - 1:
            raise self._prompt_differs(index, prompt)
        before, _ = self._around_marker(index)
        return self._behind_header(before, index)

    def _behind_header(self, before: str, index: int) -> int:
        header = self.dialect.header
        at = before.rfind(header) + len(header)
        # What stands between the header and the content is written by the template for this content alone (an empty
        # thinking block), so it may differ; what stands before must not.
        if not header or at < len(header) or not self.text.startswith(before[:at]):
            raise self._inexact(index, "it stands elsewhere once later messages follow")
        return at

    def _end(self, index: int, begin: int) -> int:
        is_last = index == len(self.messages) - 1
        upto = self.text if is_last else self._render(self.messages[: index + 1])
        if self.text.startswith(upto):
            return self._behind_stop(begin, len(upto))
        _, after = self._around_marker(index)
        if not self.text.endswith(after):
            raise self._inexact(index, "what follows it depends on what it says")
        return self._behind_stop(begin, len(self.text) - len(after))

    def _behind_stop(self, begin: int, end: int) -> int:
        """Return where the end-of-turn token of the text begin…end ends, be it inside or right behind."""
        turn = self.text[begin:end].rstrip()
        if any(turn.endswith(stop) for stop in self.dialect.stops):
            return begin + len(turn)
        rest = self.text[end:]
        gap = len(rest) - len(rest.lstrip())
        found = [stop for stop in self.dialect.stops if rest.startswith(stop, gap)]
        return end + gap + len(max(found, key=len)) if found else end

    def _trained(self, begin: int, end: int) -> tuple[Span, ...]:
        parts = [(max(left, begin), min(right, end)) for left, right in self.blocks if left < end and right > begin]
        if not parts:
            return ((begin, end),)
        return (*parts[:-1], (parts[-1][0], end))

    def _around_marker(self, index: int) -> tuple[str, str]:
        changed = [*self.messages]
        changed[index] = {"role": "assistant", "content": MARKER}
        before, *after = self._render(changed, add_generation_prompt=self.is_prompt).split(MARKER)
        if len(after) != 1:
            raise self._inexact(index, "the template does not write its content once")
        return before, after[0]

    def _render(self, messages: Messages, add_generation_prompt: bool = False) -> str:
        return self.dialect.template.render(messages, self.tools, add_generation_prompt=add_generation_prompt)

    def _check(self, turn: Turn, index: int, after: int) -> None:
        """Refuse a turn that lies before the last one, or that does not hold what the message says."""
        if not after <= turn.begin < turn.end <= len(self.text):
            raise self._inexact(index, "its turn is empty or runs into another")
        said = self.text[turn.begin : turn.end]
        missing = [part for part in _said_by(self.messages[index]) if part not in said]
        if missing:
            raise self._inexact(index, f"the template leaves out or changes {missing[0][:60]!r}")

    def _prompt_differs(self, index: int, prompt: str) -> ModelError:
        """Say where the prompt and the conversation part: mostly at a <think> that only one of them opens."""
        pairs = enumerate(zip(prompt, self.text, strict=False))
        at = next((at for at, (left, right) in pairs if left != right), min(len(prompt), len(self.text)))
        return self._inexact(
            index,
            f"the prompt ends in {prompt[at:][:60]!r} where the conversation goes on with {self.text[at:][:60]!r}",
            "give the answer its thinking in `reasoning_content`, or mend the generation prompt in chat_template.jinja",
        )

    def _inexact(self, index: int, why: str, fix: str = "") -> ModelError:
        return ModelError(
            f"no exact mask for message {index}: {why}",
            where=self.dialect.template.where,
            expected="a template that writes the prompt the same whether or not an answer follows",
            fix=fix
            or "mark the assistant's text with {% generation %} in chat_template.jinja, or make a row of each answer",
        )


def _said_by(message: Mapping[str, Any]) -> list[str]:
    """Return what the turn of `message` must show: its text behind the thinking, and the names of its calls."""
    content = str(message.get("content") or "").split("</think>")[-1].strip()
    names = [call["function"]["name"] for call in message.get("tool_calls") or ()]
    return [part for part in (content, *names) if part]
