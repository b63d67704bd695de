"""Make sense of what a run left behind. All of it may have been written by hostile code: nothing is believed but that
it is a value, and a value is believed only in so far as it is compared with another one.
"""

from __future__ import annotations

import json
import math
import signal
from typing import Any, cast, get_args

from tunewright.graders.sandbox.levels import Kind, Outcome
from tunewright.graders.sandbox.worker import Reply

MAX_DEPTH = 100  # of lists and objects: far below what makes Python's own encoders and comparisons give up
MAX_ERROR_CHARS = 600
_CLAIMED = set(get_args(Kind)) - {"ok", "sandbox_failed", "source_too_large"}


def read_calls(reply: Reply, wanted: int) -> list[Outcome]:
    """Return the outcomes of the first calls of a run: one a line, then one that tells how it ended before its time.

    All `wanted` are there if there is no more to hope for; fewer, if the calls that follow deserve another process.
    """
    printed = printable(reply.printed.decode(errors="replace"))
    if not reply.started:
        why = one_line(reply.answer.decode(errors="replace")) or "the child ended before it reached the code"
        return [Outcome.failed("sandbox_failed", why, printed, reply.seconds)] * wanted
    outcomes: list[Outcome] = []
    for line in reply.answer.split(b"\n")[:-1][:wanted]:
        outcome, stop = _read_line(line, printed, reply.seconds)
        if stop:
            return outcomes + [outcome] * (wanted - len(outcomes))
        outcomes.append(outcome)
    if len(outcomes) == wanted:
        return outcomes
    end = read_end(reply)
    again = end.kind in ("crash", "memory")
    return outcomes + [end] * (1 if again else wanted - len(outcomes))


def read_script(reply: Reply) -> Outcome:
    """Return the outcome of a script: its value is what it printed."""
    if not reply.started:
        return read_calls(reply, 1)[0]
    if reply.stop == "ended" and reply.status == 0:
        text = reply.answer.decode(errors="replace")
        return Outcome(text, None, "ok", printable(reply.printed.decode(errors="replace")), reply.seconds)
    if reply.stop == "ended" and reply.status is not None and reply.status > 0:
        last = reply.printed.rsplit(b"\n", 1)[-1]
        if last.startswith(b'{"kind"'):
            return _read_line(last, printable(reply.printed.decode(errors="replace")), reply.seconds)[0]
    return read_end(reply)


def read_end(reply: Reply) -> Outcome:
    """Return how a run ended that did not say all it was asked."""
    kind, error = _end(reply)
    return Outcome.failed(kind, error, printable(reply.printed.decode(errors="replace")), reply.seconds)


def _end(reply: Reply) -> tuple[Kind, str]:
    if reply.stop == "timeout":
        return "timeout", "it had not answered when its time was over"
    if reply.stop == "too_long":
        return "protocol", "its answer is too long"
    if reply.stop == "printed_too_much":
        return "protocol", "it printed too much"
    if reply.stop == "worker_died":
        return "crash", "the worker died with it"
    if reply.status is None or reply.stop == "complete":
        return "crash", "it closed its answer"
    if reply.status >= 0:
        return "crash", f"it ended itself with status {reply.status} and without an answer"
    name = signal.Signals(-reply.status).name if -reply.status in set(signal.Signals) else str(-reply.status)
    kinds: dict[str, Kind] = {"SIGXCPU": "timeout", "SIGKILL": "memory", "SIGSYS": "forbidden"}
    return kinds.get(name, "crash"), f"it was ended by {name}"


def _read_line(line: bytes, printed: str, seconds: float) -> tuple[Outcome, bool]:
    """Return one line's outcome, and whether the code says that nothing will follow."""
    try:
        said = parse(line)
    except ValueError as error:
        return Outcome.failed(
            "protocol", f"its answer is no JSON value: {one_line(str(error))}", printed, seconds
        ), False
    if isinstance(said, dict) and set(said) == {"value"}:
        return Outcome(said["value"], None, "ok", printed, seconds), False
    if isinstance(said, dict) and isinstance(said.get("error"), str) and said.get("kind") in _CLAIMED:
        kind = cast(Kind, said["kind"])
        return Outcome.failed(kind, one_line(said["error"]), printed, seconds), said.get("stop") is True
    return Outcome.failed("protocol", "it wrote something that is no answer", printed, seconds), False


def parse(text: bytes) -> Any:
    """Return JSON that hostile code wrote as a value that is safe to compare, to print and to write down again.

    Raises:
        ValueError: no JSON; not finite; deeper than MAX_DEPTH; a whole number of more than 4,300 digits; half of a
            surrogate pair.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        _check(value)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _check(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for part in level:
            if isinstance(part, str):
                if not part.isascii():
                    part.encode()  # UnicodeEncodeError is a ValueError
            elif isinstance(part, list):
                below += part
            elif isinstance(part, dict):
                below += [*part, *part.values()]
        if not below:
            return
        level = below
    raise ValueError("nested too deep")


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that is not finite")
    return number


def printable(text: str) -> str:
    """Return text that cannot steer a terminal or break a log: one unprintable character becomes one `\ufffd`."""
    clean = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text.replace("\t", "    "))
    return clean.strip()


def one_line(text: str) -> str:
    """Return the text of an error as one line of bounded length."""
    return " ".join(printable(text[: 4 * MAX_ERROR_CHARS]).split())[:MAX_ERROR_CHARS]
