"""The sentences and blocks of a text, by rules that fit on a page: no trained model, and the same on every machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# Words that end with a full stop in the middle of a sentence; single letters (initials, "e.g.") are told by their form.
_ABBREVIATIONS: Final = {
    "mr", "mrs", "ms", "dr", "prof", "st", "mt", "sr", "jr", "vs", "etc", "al", "inc", "ltd", "co", "corp", "no",
    "vol", "fig", "eq", "ca", "approx", "dept", "gen", "sen", "rep", "gov", "capt",
}  # fmt: skip
_QUOTES: Final = "\"'”’)]*_"
_ENDS: Final = re.compile(rf"[.!?…]+[{re.escape(_QUOTES)}]*(?=\s|$)|[。！？]+")
_ITEM: Final = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])\s")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text.

    A sentence ends at a run of . ! ? or … before white space, quotes and brackets behind it included, but not behind an
    abbreviation (`Mr.`, `e.g.`), an initial or the number of a list item, nor where a small letter follows full stops
    or a quotation; and at an empty line and before a list item.
    """
    return [sentence for block in blocks(text, _ITEM) for sentence in _sentences(block)]


def blocks(text: str, begin: re.Pattern[str] | None = None) -> Iterator[str]:
    """Yield the parts of a text between empty lines; a line that `begin` matches begins one too.

    Args:
        text: any text.
        begin: matches the beginning of a line, or nothing.
    """
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if block and (not line.strip() or (begin and begin.match(line))):
            yield "\n".join(block)
            block = []
        if line.strip():
            block.append(line)


def _sentences(block: str) -> Iterator[str]:
    begin = 0
    for end in _ENDS.finditer(block):
        if not _goes_on(block, begin, end):
            yield from _worded(block[begin : end.end()])
            begin = end.end()
    yield from _worded(block[begin:])


def _worded(text: str) -> list[str]:
    """Return `text` as the one sentence it is, or none where it has no letter or digit."""
    return [text.strip()] if any(character.isalnum() for character in text) else []


def _goes_on(block: str, begin: int, end: re.Match[str]) -> bool:
    """True if the marks at `end` are in the middle of the sentence that begins at `begin`."""
    marks = end[0].rstrip(_QUOTES)
    follows_small = block[end.end() : end.end() + 3].lstrip()[:1].islower()
    if follows_small and (marks != end[0] or not marks.strip(".…")):
        return True
    if marks != ".":
        return False
    word = (block[max(begin, end.start() - 20) : end.start()].split() or [""])[-1].lstrip("(\"'“")
    last = word.lower().rpartition(".")[2]
    is_initial = len(last) == 1 and last.isalpha() and (last not in ("i", "a") or "." in word)
    is_number_of_item = word.isdigit() and end.start() < 20 and block[: end.start()].strip() == word
    return last in _ABBREVIATIONS or is_initial or is_number_of_item
