"""Graders as people write them: sound ones, and ones with a fault."""

import asyncio
import random

from tunewright.graders.number import find_number
from tunewright.graders.protocol import Grade

CHANCE = random.Random(7)
at_once = most_at_once = 0


def _right(answer, row):
    return find_number(answer, "auto") == find_number(row["reference"], "auto")


def right(answer, row):
    return _right(answer, row)


def told(answer, row):
    return {"score": 0.5, "reason": "half", "sub_scores": {"a": 1, "b": 0}}


def graded(answer, row):
    return Grade(0.25, "quarter")


async def slow(answer, row):
    global at_once, most_at_once
    at_once += 1
    most_at_once = max(most_at_once, at_once)
    await asyncio.sleep(0.02)
    at_once -= 1
    return _right(answer, row)


def nothing(answer, row):
    return None


def raises(answer, row):
    return 1 / 0


def not_a_number(answer, row):
    return float("nan")


def words(answer, row):
    return "0.5"


# ── with a fault ────────────────────────────────────────────────────────────────────────────────────────────────────


def swallows_its_errors(answer, row):
    try:
        return float(row["expected"] in answer)  # there is no such column
    except KeyError:
        return 0.0


def out_of_ten(answer, row):
    return 10.0 if _right(answer, row) else 2.0


def moody(answer, row):
    return 0.2 * _right(answer, row) + 0.8 * CHANCE.random() * ("#" in answer or "It is " in answer)
