"""Rows, and policies that answer them by chance: 25 prompts, 8 answers each. The graders that see them are real."""

import json
import random

PROMPTS, ANSWERS = 25, 8
THINGS = ("apples", "books", "coins", "cups", "doors", "hats", "keys", "lamps", "maps", "nuts")


def sums(**columns):
    """Word problems with a worked solution as reference; `columns` are functions of (place, right number)."""
    found = []
    for place in range(PROMPTS):
        a, b = 11 + 7 * place, 23 + 3 * place
        things = THINGS[place % len(THINGS)]
        found.append(
            {
                "id": f"s{place}",
                "messages": [
                    {"role": "user", "content": f"There are {a} {things}, and {b} more come. How many are there?"}
                ],
                "reference": f"There are {a} + {b} = {a + b} {things}.\n#### {a + b}",
                **{name: make(place, a + b) for name, make in columns.items()},
            }
        )
    return found


def number_of(row):
    return int(row["reference"].rpartition("#### ")[2])


def answers_to_sums(rows, seed=0, right=lambda place, chance: 0.2 + 0.5 * (place % 6) / 5, say=None):
    """Answer each row ANSWERS times: with probability `right(place)` the right number, in words of any length."""
    chance = random.Random(seed)
    say = say or (lambda row, number, ok, chance: _worked(number, chance))
    found = {}
    for place, row in enumerate(rows):
        share = right(place, chance)
        oks = [chance.random() < share for _ in range(ANSWERS)]
        wrong = [number_of(row) + chance.choice((-10, -1, 1, 2, 10, 100)) for _ in oks]
        found[row["id"]] = [
            say(row, number_of(row) if ok else other, ok, chance) for ok, other in zip(oks, wrong, strict=True)
        ]
    return found


def _worked(number, chance):
    thinking = " ".join(
        chance.choice(("so", "we", "add", "both", "then", "count", "all")) for _ in range(chance.randint(3, 60))
    )
    end = f"#### {number}" if chance.random() < 0.7 else f"It is {number}."
    return f"{thinking}\n{end}"


CITIES = ("Oslo", "Rome", "Cairo", "Lima", "Kyiv", "Doha", "Baku", "Riga", "Bonn", "Nice")


def calls():
    """Rows that want one tool call each, of ten functions."""
    found = []
    for place in range(PROMPTS):
        name = f"find_{THINGS[place % len(THINGS)]}"
        arguments = {"city": CITIES[place % 7], "count": place, "exact": place % 2 == 0}
        found.append(
            {
                "id": f"c{place}",
                "messages": [{"role": "user", "content": f"Please look for {THINGS[place % 10]}, {place} of them."}],
                "reference": _call(name, arguments),
            }
        )
    return found


def answers_to_calls(rows, seed=0):
    """Answer with no call, another function, or the right one with some arguments changed."""
    chance = random.Random(seed)
    found = {}
    for row in rows:
        right = json.loads(row["reference"].partition("\n")[2].partition("\n")[0])
        found[row["id"]] = [_try(right, chance) for _ in range(ANSWERS)]
    return found


def _try(right, chance):
    kind = chance.random()
    if kind < 0.2:
        return "I cannot look that up."
    if kind < 0.4:
        return _call("find_something", right["arguments"])
    arguments = {key: value if chance.random() < 0.55 else "unknown" for key, value in right["arguments"].items()}
    return _call(right["name"], arguments)


def _call(name, arguments):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"
