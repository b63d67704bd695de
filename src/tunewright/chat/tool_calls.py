"""Read tool calls out of an answer: the door to the strict parsers in `tool_parsers/`.

Every region counts: as a call if it holds a name and an object of arguments, else as malformed, so that the valid-JSON
rate can be measured. Answers come from a model and may be anything: no input crashes a parser or takes more than linear
time. Which format a model writes is found by letting its own chat template write a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

from tunewright.chat.tool_parsers import hermes, llama_json, mistral, pythonic, qwen_coder
from tunewright.chat.tool_parsers.hermes import CLOSE, OPEN
from tunewright.chat.tool_parsers.parsed import ParsedAnswer, ToolCall, Tools
from tunewright.chat.tool_parsers.response_template import ResponseTemplate
from tunewright.errors import ModelError

if TYPE_CHECKING:
    from tunewright.chat.render import Renderer

__all__ = [
    "CLOSE", "FORMATS", "OPEN", "ParsedAnswer", "Parser", "ToolCall", "ToolFormat", "Tools", "detect_format",
    "find_parser", "model_parser", "parse_answer", "parse_tool_calls",
]  # fmt: skip

ToolFormat = Literal["hermes", "llama-json", "pythonic", "mistral", "qwen-coder"]


class Parser(Protocol):
    """Reads the calls of one answer. `tools` matter only to formats whose values have no types."""

    def __call__(self, text: str, tools: Tools = ()) -> ParsedAnswer:
        """Return what `text` holds; never raises."""


_PARSERS: Final[Mapping[ToolFormat, Parser]] = {
    "hermes": hermes.parse,
    "llama-json": llama_json.parse,
    "pythonic": pythonic.parse,
    "mistral": mistral.parse,
    "qwen-coder": qwen_coder.parse,
}
FORMATS: Final[tuple[ToolFormat, ...]] = get_args(ToolFormat)


def find_parser(format: ToolFormat) -> Parser:
    """Return the parser of a format."""
    return _PARSERS[format]


def parse_tool_calls(text: str) -> ParsedAnswer:
    """Read the tool calls in `text` in the Hermes form, in which `chat/tools.py` asks for them."""
    return hermes.parse(text)


def parse_answer(text: str, format: ToolFormat = "hermes", tools: Tools = ()) -> ParsedAnswer:
    """Read the tool calls in `text`, in order.

    Args:
        text: the answer.
        format: how the model writes calls. The default is what `chat/tools.py` asks models for that have no format of
            their own.
        tools: the tools that were offered, in OpenAI's form.
    """
    return find_parser(format)(text, tools)


_PROBE_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "tunewright_call",
        "description": "Probe.",
        "parameters": {"type": "object", "properties": {"tunewright_argument": {"type": "string"}}},
    },
}
# Text, since templates that write calls as Python put every value in quotes.
_PROBE_CALL: Final = ToolCall("tunewright_call", {"tunewright_argument": "seven"})


def detect_format(write: Callable[[Mapping[str, Any], Tools], str]) -> ToolFormat | None:
    """Return the format in which a model's own chat template writes a call, None if it writes none that is read here.

    Args:
        write: gives the text of an assistant message for tools: `Renderer.answer_text`. A renderer whose template has
            no place for tools writes Hermes.
    """
    function = {"name": _PROBE_CALL.name, "arguments": dict(_PROBE_CALL.arguments)}
    call = {"id": "probe0001", "type": "function", "function": function}  # Mistral wants ids of nine characters
    try:
        text = write({"role": "assistant", "content": None, "tool_calls": [call]}, [_PROBE_TOOL])
    except ModelError:  # the template refuses the probe
        return None
    reads = (name for name in FORMATS if _reads_back(parse_answer(text, name, [_PROBE_TOOL])))
    return next(reads, None)


def _reads_back(parsed: ParsedAnswer) -> bool:
    return parsed.calls == [_PROBE_CALL] and not parsed.malformed


def model_parser(renderer: Renderer) -> tuple[str, Parser]:
    """Return how a model's calls are read, by name, and the parser.

    Its own `response_template` comes first (needs transformers), then the format in which its chat template writes a
    call.

    Raises:
        ModelError: no parser here reads what the template writes: every call would count as none.
    """
    template = ResponseTemplate.of_folder(renderer.folder)
    if template is not None:
        from tunewright.chat.probe import QUESTION

        prompt = "".join(renderer.pieces(renderer.prompt([QUESTION])))  # for the field that a prompt may open
        return "response_template", partial(template.parse, prompt=prompt)
    found = detect_format(renderer.answer_text)
    if found is None:
        raise ModelError(
            "its chat template writes tool calls in a form that is not read here", where=str(renderer.folder),
            expected=" | ".join(FORMATS), fix="give the suite `tool-calls` the `format` that the model is to write",
        )  # fmt: skip
    return found, find_parser(found)
