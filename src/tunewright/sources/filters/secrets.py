"""Keys, tokens, passwords and personal data in the texts of a row: masked, flagged, or the row is taken."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.recipe.data_sections import SecretsFilter
from tunewright.sources.filters.change import with_changed_texts
from tunewright.sources.filters.detectors import DETECTORS
from tunewright.sources.filters.protocol import Check, Removed

_SHOWN: Final = 4


@dataclass(frozen=True)
class Secret:
    """One find: its kind, and where it begins and ends."""

    kind: str
    begin: int
    end: int


def secrets_check(section: SecretsFilter) -> Check:
    """Return the check. A removed row's detail shows the kind and the first characters, never the secret."""
    kinds = frozenset(section.kinds)

    def check(row: ChatRow) -> ChatRow | Removed:
        found: list[tuple[str, str]] = []

        def mask(text: str) -> str:
            secrets = list(find_secrets(text, kinds))
            found.extend((secret.kind, text[secret.begin : secret.end]) for secret in secrets)
            return masked(text, secrets)

        changed = with_changed_texts(row, mask)
        if not found:
            return row
        if section.action == "remove":
            kind, text = found[0]
            return Removed(row, kind, f"{text[:_SHOWN]}…, {len(text)} characters")
        told = row.meta | {"secrets": sorted({kind for kind, _ in found})}
        return (changed if section.action == "mask" else row).model_copy(update={"meta": told})

    return check


def find_secrets(text: str, kinds: Collection[str] = ()) -> Iterator[Secret]:
    """Yield what is found, in order and without overlaps: of two that overlap, the one of the earlier detector.

    Args:
        text: any text.
        kinds: what to look for; empty: everything.
    """
    found: list[Secret] = []
    for detector in DETECTORS:
        wanted = not kinds or detector.kind in kinds
        if not wanted or (detector.anchors and not any(anchor in text for anchor in detector.anchors)):
            continue
        group = "secret" if "secret" in detector.pattern.groupindex else 0
        for match in detector.pattern.finditer(text):
            begin, end = match.span(group)
            free = all(end <= other.begin or begin >= other.end for other in found)
            if free and detector.holds(match.group(group)):
                found.append(Secret(detector.kind, begin, end))
    yield from sorted(found, key=lambda secret: secret.begin)


def masked(text: str, secrets: list[Secret]) -> str:
    """Return the text with `[kind]` in the place of each find."""
    pieces, at = [], 0
    for secret in secrets:
        pieces += [text[at : secret.begin], f"[{secret.kind}]"]
        at = secret.end
    return "".join([*pieces, text[at:]])
