"""Who says each token: the role of the message it stands in, or `template` for what the chat template writes itself.

For people who look at tokens, never for training: which tokens are trained is `Rendered.trained`, exactly. Here a
message that the template changes beyond recognition simply counts as the template's own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from tunewright.chat import tools as tool_text
from tunewright.chat.messages import plain
from tunewright.chat.render import Rendered, Renderer, Tools
from tunewright.chat.template import Messages

TEMPLATE = "template"
ROLES = ("system", "user", "assistant", "tool", TEMPLATE)


def token_roles(
    renderer: Renderer, rendered: Rendered, pieces: Sequence[str], messages: Messages, tools: Tools | None = None
) -> list[str]:
    """Return the role of each token of a rendered conversation.

    Args:
        renderer: rendered it.
        rendered: the conversation.
        pieces: the display text of each token, `renderer.pieces(rendered.token_ids)`.
        messages: what was rendered.
        tools: the tools of the conversation; where the template has no place for them they are the system's words.
    """
    if "".join(pieces) != rendered.text:  # a tokenizer that changes the text: only the mask is known
        return ["assistant" if trained else TEMPLATE for trained in rendered.trained]
    role_at = _roles_of_characters(rendered, _said(renderer, messages, tools))
    starts = [0, *accumulate(len(piece) for piece in pieces)][:-1]
    return [role_at[min(start, len(role_at) - 1)] for start in starts]


def _said(renderer: Renderer, messages: Messages, tools: Tools | None) -> list[tuple[str, str]]:
    """Return (role, text) of each message, tools offered in the system turn included."""
    prepared = [plain(message) for message in messages]
    if not renderer.tools_in_template:
        prepared = tool_text.offer_in_system(prepared, tool_text.normalize_tools(tools))
    return [(message["role"], str(message.get("content") or "").strip()) for message in prepared]


def _roles_of_characters(rendered: Rendered, said: Sequence[tuple[str, str]]) -> list[str]:
    """Return a role for each character: messages where their text is found, in order; answers exactly."""
    role_at, at = [TEMPLATE] * len(rendered.text), 0
    for role, text in said:
        if role == "assistant":
            at = next((right for left, right in rendered.spans if left >= at), at)
            continue
        left = rendered.text.find(text, at) if text else -1
        if left >= 0:
            at = left + len(text)
            role_at[left:at] = [role] * len(text)
    for left, right in rendered.spans:
        role_at[left:right] = ["assistant"] * (right - left)
    return role_at
