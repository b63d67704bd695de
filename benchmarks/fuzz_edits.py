"""Hostile inputs: real ones, changed.

    edited      a few changes to the bytes of a real input, or to a node of its JSON
    pumped      one piece of a real input repeated until it is large: what is not linear in time shows here

Every change is four small numbers, so that hypothesis can draw them and shrink what it finds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

Edit = tuple[int, int, int, int]
"""which change, where (a share of the length), how long, with what"""

MAX_BYTES = 64_000

BYTES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\n\n", b"\t", b" ", b'"', b"'", b"\\", b"{", b"}", b"[", b"]",
    b"<",
    b">", b"(", b")", b",", b":", b";", b"-", b"#", b"&", b"*", b"%", b"{{", b"}}", b"{%", b"%}", b"9" * 5000, b"-1",
    b"1e999", b"NaN", b"Infinity", b"null", b"true", b"\xed\xa0\x80", "\N{SNOWMAN}\u2028\u0130\ufb03".encode(),
    b"&#" + b"9" * 5000 + b";", b"\\ud800", b'"\\ud800"', b"[" * 400, b'{"a":' * 400, b"../../../etc/passwd",
    b"a" * 300, b"/dev/zero", b"__class__", b"$ref",
)  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 10**320, 1.5, -0.0, 1e308, float("nan"), float("inf"),
    "", " ",
    "a", "\ud800", "\x00", "\x1b[31m", "é", "[1, 2", '{"a": 1}', "[]", "null", "9" * 5000, "a" * 5000, [], [[]], [None],
    [1], ["a"], [{}], {}, {"": None}, {"a": {}}, {"type": "text", "text": "a"}, {"role": "user", "content": "a"},
    {"name": "f", "arguments": {}}, [[[[[[[[[[[[]]]]]]]]]]]], "{{ item.a }}", "user", "assistant", "system", "tool",
    "<tool_call>", "../x", "*", "a:b", "json",
)  # fmt: skip


def edited(data: bytes, edits: Sequence[Edit], words: Sequence[bytes], seeds: Sequence[bytes]) -> bytes:
    """Return `data` with `edits` made, at most MAX_BYTES of it."""
    for edit in edits:
        data = _EDITS[edit[0] % len(_EDITS)](data, edit, words, seeds)[:MAX_BYTES]
    return data


def _place(data: bytes, edit: Edit) -> tuple[int, int]:
    begin = edit[1] * (len(data) + 1) >> 16
    return begin, min(len(data), begin + edit[2])


def _flip(data: bytes, edit: Edit, words: Sequence[bytes], seeds: Sequence[bytes]) -> bytes:
    begin, _ = _place(data, edit)
    return data[:begin] + bytes([edit[3] & 255]) + data[begin + 1 :]


def _delete(data: bytes, edit: Edit, words: Sequence[bytes], seeds: Sequence[bytes]) -> bytes:
    begin, end = _place(data, edit)
    return data[:begin] + data[end:]


def _repeat(data: bytes, edit: Edit, words: Sequence[bytes], seeds: Sequence[bytes]) -> bytes:
    begin, end = _place(data, edit)
    return data[:end] + data[begin:end] * (edit[3] % 50) + data[end:]


def _insert(data: bytes, edit: Edit, words: Sequence[bytes], seeds: Sequence[bytes]) -> bytes:
    begin, end = _place(data, edit)
    known = (*BYTES, *words)
    return data[:begin] + known[edit[3] % len(known)] + data[end if edit[2] % 2 else begin :]


def _splice(data: bytes, edit: Edit, words: Sequence[bytes], seeds: Sequence[bytes]) -> bytes:
    other = seeds[edit[3] % len(seeds)]
    begin, _ = _place(data, edit)
    from_, _ = _place(other, (0, 65535 - edit[1], 0, 0))
    return data[:begin] + other[from_:]


def _node(data: bytes, edit: Edit, words: Sequence[bytes], seeds: Sequence[bytes]) -> bytes:
    """Put a strange value, or none, in the place of a node of the JSON in one of the lines."""
    lines = data.split(b"\n")
    index = edit[1] % len(lines)
    try:
        value = json.loads(lines[index])
        nodes = list(_nodes(value))
        path = nodes[edit[2] % len(nodes)]
        choice = edit[3] % (len(VALUES) + 2)
        new = _with(value, path, choice)
        lines[index] = json.dumps(new, ensure_ascii=bool(edit[1] & 1)).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return _insert(data, edit, words, seeds)
    return b"\n".join(lines)


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from _nodes(item, (*path, key))


def _with(value: Any, path: tuple[Any, ...], choice: int) -> Any:
    if not path:
        return VALUES[choice] if choice < len(VALUES) else [value]
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if choice == len(VALUES):
        del inner[path[-1]]
    elif choice == len(VALUES) + 1 and isinstance(inner, dict):
        inner[f"{path[-1]}x"] = inner.pop(path[-1])
    else:
        inner[path[-1]] = VALUES[choice % len(VALUES)]
    return value


_EDITS = (_flip, _delete, _repeat, _insert, _insert, _splice, _node, _node, _node, _node)


def pumped(seeds: Sequence[bytes], words: Sequence[bytes], size: int) -> Iterator[bytes]:
    """Yield inputs of `size` bytes: a word of the format, or a line of a real input, again and again."""
    yield from ((word * size)[:size] for word in (*BYTES, *words) if len(word) < 60)
    for word in words:
        for seed in seeds[:1]:
            yield from (
                seed[:at] + (word * size)[:size] + seed[at:] for at in (len(seed) // 3, len(seed) // 2, len(seed))
            )
        yield from _pumped_json(seeds, word.decode("latin-1"), size)
    for seed in seeds:
        line = max(seed.split(b"\n"), key=len) + b"\n"
        yield seed + line * (size // len(line))


def _pumped_json(seeds: Sequence[bytes], word: str, size: int) -> Iterator[bytes]:
    """Yield real inputs in which one text, list or object is as large as `size`."""
    for seed in seeds:
        for number, line in enumerate(lines := seed.split(b"\n")):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            for path in list(_nodes(value))[:40]:
                if (large := _large(_at(value, path), word, size)) is not None:
                    new = json.dumps(_replaced(json.loads(line), path, large)).encode()
                    yield b"\n".join([*lines[:number], new, *lines[number + 1 :]])


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _large(node: Any, word: str, size: int) -> Any:
    if isinstance(node, str):
        return (word * (size // len(word) + 1))[:size]
    if isinstance(node, list) and node:
        return node * max(1, size // (20 * len(json.dumps(node))))
    if isinstance(node, dict) and node:
        return node | {f"{word}{number}": number for number in range(size // (len(word) + 12))}
    return None


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    _at(value, path[:-1])[path[-1]] = new
    return value
