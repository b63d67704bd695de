"""The rows of the clean project: sixty tickets to a shop, and the department each belongs to.

Every ticket is worded differently, so that no training row gives a test row away; the answer hangs on words that stand
in many, so that a small model learns it in a few steps.
"""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

_THINGS = (
    "kettle lamp chair table mirror carpet curtain shelf oven fridge mixer toaster blanket pillow mattress clock radio "
    "camera printer scanner keyboard monitor speaker tent backpack bicycle helmet skateboard"
)
_TOWNS = (
    "Oslo Rome Cairo Lima Kyiv Doha Baku Riga Bonn Nice Turin Ghent Malmo Porto Seville Lyon Basel Graz Split Varna "
    "Tartu Gdansk Brno Cork Leeds Bergen Tampere Aarhus"
)
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"

_ASKED = {
    "shipping": (
        "The parcel with my {thing} never came to {town}; tracking has stood still since {day}.",
        "Please deliver the parcel to my office in {town}, the {thing} is needed before {day}.",
        "Tracking says {town} but I live elsewhere. Where did the parcel and its {thing} go on {day}?",
        "On {day} a neighbour in {town} saw the parcel, my {thing}, left out in the rain.",
    ),
    "billing": (
        "Two payments left my account on {day} for one invoice, a {thing} bought from {town}.",
        "Could the invoice for that {thing} carry the address of our branch in {town}? The payment was {day}.",
        "My payment of {day} bounced in {town}, although the {thing} is on the invoice.",
        "{day} I asked {town} for a discount; the invoice shows the full payment of the {thing}.",
    ),
    "repairs": (
        "It is broken again: since {day} the {thing} smells burnt, and {town} has no workshop under warranty.",
        "Warranty says two years. My broken {thing} from {town} lasted until {day}.",
        "Could someone in {town} look at a broken {thing}? I hold a warranty card, free on {day}.",
        "{day} morning: one {thing}, broken, {town} shop, warranty number faded. What now?",
    ),
}


def tickets(count: int = 60) -> list[Row]:
    """Return `count` chat rows, the departments taking turns."""
    return [ticket(place) for place in range(count)]


def ticket(place: int) -> Row:
    """Return the ticket of number `place`."""
    department = list(_ASKED)[place % 3]
    turn = place // 3
    text = _ASKED[department][turn % 4].format(
        thing=_nth(_THINGS, place * 5 + turn),
        town=_nth(_TOWNS, place * 11 + 3 * turn),
        day=_nth(_DAYS, place + turn),
    )
    return chat(f"t{place}", text, f"Department: {department}.")


def _nth(words: str, place: int) -> str:
    """Return the word at `place`, beginning again behind the last."""
    all_words = words.split()
    return all_words[place % len(all_words)]


def chat(name: str, *turns: str, system: str = "") -> Row:
    """Return a chat row of user and assistant in turn."""
    messages = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    messages += [{"role": roles[place % 2], "content": text} for place, text in enumerate(turns)]
    return {"id": name, "messages": messages}


def texts(rows: list[Row]) -> list[str]:
    """Return every text of the rows, for a tokenizer to be trained on."""
    return [str(message.get("content") or "") for row in rows for message in row["messages"]]
