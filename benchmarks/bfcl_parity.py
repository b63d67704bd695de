"""Is our verdict BFCL's? Every Python row of BFCL v4, right and corrupted answers, our checker beside theirs.

    python -m benchmarks.bfcl_parity               every row, five draws of each corruption
    python -m benchmarks.bfcl_parity --draws 1     a quick look; tests/benchmarks/test_bfcl_parity.py runs it

Theirs is `ast_checker` of the installed `bfcl-eval`, on its own files: questions, acceptable answers, type names. Of
its imports only the table of models is replaced, which would bring every vendor's client and is asked one thing (does
the model write `_` for `.` in names: no). Ours sees the tools as the data stage makes them, in JSON Schema.

An answer counts as equal if verdict and error type are. Where theirs fails with an exception there is nothing to
compare; such answers are counted apart.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from benchmarks.bfcl_answers import MADE_UP_ROWS, Calls, Entry, answers_of, entries, made_up
from tunewright.chat.tool_calls import ToolCall
from tunewright.sources.bfcl import tool_of
from tunewright.suites.bfcl import check_calls

MADE_UP = "made up"


def theirs() -> Callable[[Entry, Calls], str]:
    """Return BFCL's checker: a row and an answer in, the error type out, "" for an answer that passes.

    Nothing of the package stays in `sys.modules`.
    """
    name = "bfcl_eval.constants.model_config"
    stub = ModuleType(name)
    stub.MODEL_CONFIG_MAPPING = defaultdict(lambda: argparse.Namespace(underscore_to_dot=False))
    sys.modules[name] = stub
    try:
        from bfcl_eval.constants.enums import Language
        from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
    finally:
        for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "bfcl_eval"]:
            del sys.modules[loaded]

    def error_type(entry: Entry, calls: Calls) -> str:
        output = json.loads(json.dumps([{name: arguments} for name, arguments in calls]))
        result = ast_checker(entry.functions, output, entry.answers, Language.PYTHON, entry.category, "any")
        return "" if result["valid"] else str(result["error_type"])

    return error_type


# ── comparison ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Tally:
    """What came out for one kind of answer."""

    answers: int = 0
    passed: int = 0
    """by their verdict"""
    crashed: int = 0
    """theirs failed with an exception"""
    different: list[tuple[str, str, str]] = field(default_factory=list)
    """row, their error type, ours"""
    error_types: Counter[str] = field(default_factory=Counter)


def compare(draws: int) -> dict[str, Tally]:
    """Return a tally for each kind of answer, over all rows."""
    ask = theirs()
    tallies: dict[str, Tally] = defaultdict(Tally)
    for entry in entries():
        for kind, calls in answers_of(entry, draws):
            _compare(entry, calls, ask, tallies[kind])
    for number in range(draws * MADE_UP_ROWS):
        _compare(*made_up(random.Random(f"made up {number}")), ask, tallies[MADE_UP])
    return dict(tallies)


def _compare(entry: Entry, calls: Calls, ask: Callable[[Entry, Calls], str], tally: Tally) -> None:
    tools = [tool_of(function) for function in entry.functions]
    made = [ToolCall(name, arguments) for name, arguments in calls]
    ours = check_calls(made, tools, entry.answers, entry.category)
    tally.answers += 1
    try:
        found = ask(entry, calls)
    except (TypeError, KeyError, AttributeError, IndexError):
        tally.crashed += 1
        return
    tally.passed += not found
    tally.error_types[found] += 1
    if found != ours:
        tally.different.append((entry.id, found, ours))


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5, help="answers a row and kind of corruption")
    draws = parser.parse_args(arguments).draws
    print(f"{'answers':18} {'compared':>9} {'they pass':>9} {'they crash':>10} {'different':>9}  error types")
    tallies = compare(draws)
    for kind, tally in tallies.items():
        compared = tally.answers - tally.crashed
        print(f"{kind:18} {compared:9,} {tally.passed:9,} {tally.crashed:10,} {len(tally.different):9,}  "
              f"{len(set(tally.error_types) - {''})}")  # fmt: skip
    for kind, tally in tallies.items():
        for row, found, ours in tally.different[:20]:
            print(f"different: {kind} of {row}: theirs {found or 'valid'}, ours {ours or 'valid'}")


if __name__ == "__main__":
    main(sys.argv[1:])
