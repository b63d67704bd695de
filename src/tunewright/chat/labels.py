"""Label audit: is exactly what the assistant says trained? Found out by another way than the mask was made.

reads    conversations, the token ids and mask that training will use
gives    `LabelAudit`s, one a row

The mask comes from spans.py. Here it is held against two other ways to find out. By contents: the conversation is
rendered once more with a marker in the place of every content; what stands between the markers is the template's own,
so the places of all contents in the real text are known exactly. By prompts: what lies between the tokens of a prompt
and the next end-of-turn is an answer, and nothing else is. The first does not hold for templates that write by content
(thinking, calls of their own form), the second not for those that rewrite history; a row has to pass where one holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import Any

from tunewright.chat.lint import CONTROL_TEXT
from tunewright.chat.render import Renderer, Tools
from tunewright.chat.template import Messages
from tunewright.errors import ModelError

Place = tuple[str, int, int]
"""role, and the characters begin…end of a content"""


@dataclass(frozen=True)
class LabelAudit:
    """What training makes of one row."""

    row: str
    source: str
    tokens: int
    trained: int
    ends: int
    """answers that an end-of-turn token follows"""
    ends_masked: int
    """of them those whose end-of-turn is not trained, as where padding is the end-of-turn and was masked by its id"""
    ends_open: bool
    """the last trained token is no end-of-turn, or none is trained"""
    verified: bool
    """False where neither way works: then the next two numbers are 0 and say nothing"""
    prompt_trained: int = 0
    """trained tokens that no answer holds: what others say, headers"""
    answer_masked: int = 0
    """tokens of answers that are not trained, ends of turns left out"""


def audit(
    renderer: Renderer,
    row: str,
    source: str,
    messages: Messages,
    tools: Tools | None,
    token_ids: Sequence[int],
    trained: Sequence[bool],
) -> LabelAudit:
    """Hold a mask against what the messages say.

    Args:
        renderer: of the model.
        row: its id.
        source: where it comes from.
        messages: the conversation.
        tools: its tools.
        token_ids: the conversation as tokens.
        trained: the mask to be judged, one a token; it need not come from `renderer`.
    """
    pieces = renderer.pieces(token_ids)
    places = content_places(renderer, messages, tools, "".join(pieces))
    stops = set(renderer.stop_token_ids)
    starts = [0, *accumulate(map(len, pieces))]
    turns = _turns_by_prompts(renderer, messages, tools, token_ids, stops)
    ends = [end - 1 for _, end in turns or () if token_ids[end - 1] in stops]
    if turns is None:
        ends = [*_ends(token_ids, starts, pieces, places or (), stops)]
    prompt, answer = _wrong(places or (), starts, pieces, trained)
    outside, inside = _wrong_by_turns(turns, ends, pieces, trained) if turns else (0, 0)
    last = next((token for token, on in zip(reversed(token_ids), reversed(trained), strict=True) if on), None)
    return LabelAudit(
        row=row,
        source=source,
        tokens=len(token_ids),
        trained=sum(trained),
        ends=len(ends),
        ends_masked=sum(not trained[at] for at in ends),
        ends_open=last not in stops,
        verified=bool(places or turns),
        prompt_trained=max(prompt, outside),
        answer_masked=max(answer, inside),
    )


def _wrong(
    places: Sequence[Place], starts: Sequence[int], pieces: Sequence[str], trained: Sequence[bool]
) -> tuple[int, int]:
    """Return the trained tokens of what others say, and those of the assistant that are not trained."""
    prompt = answer = 0
    for role, left, right in places:
        inside = [at for at, piece in enumerate(pieces) if left <= starts[at] < right and piece]
        on = sum(trained[at] for at in inside)
        prompt += on if role != "assistant" else 0
        answer += len(inside) - on if role == "assistant" else 0
    return prompt, answer


def _turns_by_prompts(
    renderer: Renderer, messages: Messages, tools: Tools | None, token_ids: Sequence[int], stops: set[int]
) -> list[tuple[int, int]] | None:
    """Return where each answer begins and ends, in tokens; None where a prompt is no prefix of the conversation."""
    turns = []
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or index == 0 or messages[index - 1]["role"] == "assistant":
            continue
        prompt = renderer.prompt(messages[:index], tools)
        if list(token_ids[: len(prompt)]) != prompt:
            return None
        end = next((at for at in range(len(prompt), len(token_ids)) if token_ids[at] in stops), len(token_ids) - 1)
        turns.append((len(prompt), end + 1))
    return turns


def _wrong_by_turns(
    turns: Sequence[tuple[int, int]], ends: Sequence[int], pieces: Sequence[str], trained: Sequence[bool]
) -> tuple[int, int]:
    """Return the trained tokens outside of the turns, and those inside that are not trained, ends not counted.

    Blanks and control tokens right behind an end-of-turn may be either: Phi-3 closes a conversation with two of them.
    """
    inside = {at for begin, end in turns for at in range(begin, end)}
    either = set[int]()
    for _, end in turns:
        closing = takewhile(lambda at: not pieces[at].strip() or trained[at], range(end, len(pieces)))
        either |= {at for at in closing if not pieces[at].strip() or CONTROL_TEXT.fullmatch(pieces[at])}
    outside = sum(on for at, on in enumerate(trained) if at not in inside and at not in either)
    return outside, sum(not trained[at] for at in inside - set(ends))


def _ends(
    ids: Sequence[int], starts: Sequence[int], pieces: Sequence[str], places: Sequence[Place], stops: set[int]
) -> Iterator[int]:
    """Yield the end-of-turn token of each answer: the first token with a text behind it, if it is one."""
    for role, _, right in places:
        behind = (at for at in range(len(ids)) if starts[at] >= right and (pieces[at].strip() or ids[at] in stops))
        at = next(behind, None)
        if role == "assistant" and at is not None and ids[at] in stops:
            yield at


# ── where contents stand ────────────────────────────────────────────────────────────────────────────────────────────

_MARK = "TwMark{}x"
_MARKS = re.compile(r"TwMark(\d+)x")


def content_places(renderer: Renderer, messages: Messages, tools: Tools | None, text: str) -> list[Place] | None:
    """Return where the content of each message stands in `text`, in order; None where that cannot be told exactly."""
    sent, sent_tools = renderer.as_sent(messages, tools)
    if any(message.get("tool_calls") or _thinks(message) for message in sent):
        return None
    marked = [{**message, "content": _MARK.format(at)} for at, message in enumerate(sent)]
    try:
        skeleton = renderer.text_of(marked, sent_tools)
    except ModelError:
        return None
    parts = _MARKS.split(skeleton)
    said = [str(message.get("content") or "") for message in sent]
    return _matched(parts[::2], [int(number) for number in parts[1::2]], said, sent, text)


def _matched(
    own: Sequence[str], order: Sequence[int], said: Sequence[str], messages: Messages, text: str
) -> list[Place] | None:
    """Put the contents between the template's own parts; the result must be `text`, trimmed contents allowed."""
    places, at = list[Place](), len(own[0])
    if not text.startswith(own[0]) or sorted(order) != list(range(len(messages))):
        return None
    for part, number in zip(own[1:], order, strict=True):
        found = next((form for form in _forms(said[number]) if text.startswith(form + part, at)), None)
        if found is None:
            return None
        places.append((messages[number]["role"], at, at + len(found)))
        at += len(found) + len(part)
    return places if at == len(text) else None


def _forms(content: str) -> list[str]:
    """How templates write a content: as it is, or trimmed."""
    return [content, content.strip(), content.lstrip(), content.rstrip()]


def _thinks(message: Mapping[str, Any]) -> bool:
    return any(message.get(name) for name in ("reasoning_content", "thinking", "reasoning"))
