"""Answers read the way a model's own `response_template` says, by transformers (5.13 on).

reads    tokenizer_config.json: the template, a declaration of what opens and closes each field
gives    a parser like the others, for a prompt: templates may open a field in the prompt, so they must see it

transformers parses a broken call to an error for the whole answer. Here what was read before it stands, and the rest is
one malformed region.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import read_json
from tunewright.chat.tool_parsers.parsed import MAX_CALL_CHARS, Collector, ParsedAnswer, Tools, object_call
from tunewright.errors import MissingExtra, ModelError

FIELD = "tool_calls"
"""the field of a message that templates put calls in"""


class ResponseTemplate:
    """A model's own declaration of its answers.

    Args:
        template: the object under `response_template` in tokenizer_config.json.
        where: the file, for errors.

    Raises:
        ModelError: transformers does not take it. MissingExtra: transformers is not installed.
    """

    def __init__(self, template: dict[str, Any], where: str = "response_template"):
        try:
            from transformers.utils.chat_parsing import ResponseParser
            from transformers.utils.chat_parsing.response_templates import load_response_template
        except ImportError as error:
            raise MissingExtra.of(error, "train") from None
        try:
            self._template = load_response_template(template)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"its response_template cannot be used: {error}", where=where,
                             fix="mend it, or take it out of the file") from None  # fmt: skip
        self._parser = ResponseParser

    @classmethod
    def of_folder(cls, folder: Path) -> ResponseTemplate | None:
        """Return the template of the tokenizer in `folder`, or None where it has none."""
        path = folder / "tokenizer_config.json"
        config = read_json(path) if path.is_file() else {}
        template = config.get("response_template") if isinstance(config, dict) else None
        return None if template is None else cls(template, where=str(path))

    def parse(self, text: str, tools: Tools = (), prompt: str = "") -> ParsedAnswer:
        """Read the tool calls in `text`, the answer to `prompt`, in order; `tools` give untyped values their types."""
        found = Collector()
        if len(text) > MAX_CALL_CHARS:  # a template may hold any pattern: no promise of linear time beyond this
            found.region(text, None)
            return found.answer()
        rest = text
        try:
            parser = self._parser(self._template, prefix=prompt, tools=list(tools))
            for line in text.splitlines(keepends=True):
                _take(parser.feed(line), found)
                rest = rest[len(line) :]
            message, events = parser.finalize()
            _take(events, found)
            found.stray(str(message.get("content") or ""))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            found.region(rest, None)
        return found.answer()


def _take(events: list[dict[str, Any]], found: Collector) -> None:
    closed = (event["value"] for event in events if event["type"] == "region_close" and event["field"] == FIELD)
    for call in (call for value in closed for call in (value if isinstance(value, list) else [value])):
        function = call.get("function") if isinstance(call, dict) else None
        raw = json.dumps(call, ensure_ascii=False, default=str)  # as transformers read it: the text itself is gone
        found.region(raw, object_call(function, "arguments"))
