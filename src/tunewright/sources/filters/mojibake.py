"""Text that was decoded with the wrong encoding, found and repaired by ftfy.

Only the encoding is mended: quotes, ligatures, line ends and HTML entities stay as the data has them. Most texts are
plain ASCII and cost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import MissingExtra
from tunewright.recipe.data_sections import MojibakeFilter
from tunewright.sources.filters.change import with_changed_texts
from tunewright.sources.filters.protocol import Check, Removed, excerpt
from tunewright.sources.text import whole

REASON: Final = "damaged characters"

# What UTF-8 looks like when it is read as Latin-1 or Windows-1252: a lead byte's letter and a continuation's. It only
# finds the texts worth a look; ftfy decides.
_MARKS: Final = re.compile(r"[ÂÃÅÄÐÑØÙà-ïð][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|�")


def mojibake_check(section: MojibakeFilter) -> Check:
    """Return the check: repairs what it can, and takes what still looks damaged.

    Raises:
        MissingExtra: ftfy is not installed.
    """
    repair = _repairer()

    def check(row: ChatRow) -> ChatRow | Removed:
        text = whole(row)
        if not looks_damaged(text):
            return row
        repaired = with_changed_texts(row, repair)
        left = whole(repaired)
        damaged = "�" in left or (section.action == "remove" and repaired is not row)
        return Removed(row, REASON, _around(text)) if damaged else repaired

    return check


def looks_damaged(text: str) -> bool:
    """True if a text is worth a look: it has what UTF-8 looks like in the wrong encoding."""
    return not text.isascii() and _MARKS.search(text) is not None


def _around(text: str) -> str:
    found = _MARKS.search(text)
    return excerpt(text[max(0, found.start() - 30) :], 60) if found else ""


def _repairer() -> Callable[[str], str]:
    try:
        import ftfy
    except ImportError as error:
        raise MissingExtra.of(error, "data") from None
    only_encoding: Any = ftfy.TextFixerConfig(
        unescape_html=False, remove_terminal_escapes=False, fix_latin_ligatures=False, fix_character_width=False,
        uncurl_quotes=False, fix_line_breaks=False, fix_surrogates=False, remove_control_chars=False,
        normalization=None, explain=False, max_decode_length=1_000_000,
    )  # fmt: skip

    def repair(text: str) -> str:
        if not looks_damaged(text):
            return text
        return str(ftfy.fix_text(text, config=only_encoding))

    return repair
