"""Strict parsers of tool calls, one file a wire format; `chat/tool_calls.py` is their door.

Each has `parse(text, tools=()) -> ParsedAnswer`, takes any text in linear time and never raises. Strict: what its
format does not allow is counted as malformed, never mended, so that what a model writes can be told from what a server
makes of it.
"""
