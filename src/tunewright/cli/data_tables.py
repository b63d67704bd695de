"""What `tw data` prints for people: rows kept as bars, what was taken and why, and the first rows of each reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunewright.cli.tables import print_table, print_text
from tunewright.reports import words

if TYPE_CHECKING:
    from tunewright.artifacts.verdict import Verdict
    from tunewright.sources.overlap import Overlap
    from tunewright.stages.data.prune import Pruned
    from tunewright.stages.data.shape import Difference

BAR_CELLS = 24
SHOWN_PAIRS = 10
SHOWN_CHARS = 100
_EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, cells: int = BAR_CELLS) -> str:
    """Return a share as a bar of so many cells, to an eighth of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * cells * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def print_pruned(done: Pruned) -> None:
    """Print the rows after each filter, the reasons, and examples."""
    lines = [["read", words.count(done.rows_read), "", bar(1.0), _listed(done.rows_dropped)]]
    for step in done.steps:
        changed = [f"{words.count(step.changed)} changed"] if step.changed else []
        told = ", ".join([*changed, *filter(None, [_listed(step.removed)])])
        taken = step.rows_in - step.rows_kept
        share = step.rows_kept / done.rows_read if done.rows_read else 0.0
        lines.append(
            [step.filter, words.count(step.rows_kept), f"−{words.count(taken)}" if taken else "", bar(share), told]
        )
    print_table(("filter", "rows left", "taken", "", "why"), lines, (1, 2))
    for step in done.steps:
        for example in step.examples:
            detail = f" ({example.detail})" if example.detail else ""
            print_text(f"  {example.reason}{detail}: {example.id}: {example.text[:SHOWN_CHARS]}")
    rate = done.rows_read / done.seconds if done.seconds else 0.0
    print_text(f"{done.output}: {words.plural(done.rows_kept, 'row')}, {words.count(rate)} rows/s")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{words.count(count)} {reason}" for reason, count in counts.items())


def print_stats(told: dict[str, Any]) -> None:
    """Print what rows are."""
    for path, form in told["formats"].items():
        print_text(f"{path}: {form}")
    lines = [[name.replace("_", " "), words.count(told[name])]
             for name in ("rows", "groups", "duplicates", "with_tools", "with_calls")]  # fmt: skip
    print_table(("", ""), lines, (1,))
    turns = ", ".join(f"{count} with {turns}" for turns, count in told["turns"].items())
    print_text(f"answers a row: {turns}")
    spread = [
        [name, *(words.count(told[key][measure]) for measure in ("median", "p95", "longest", "sum"))]
        for name, key in (("question", "question_chars"), ("answer", "answer_chars"))
    ]
    print_table(("characters", "median", "95%", "longest", "all"), spread, (1, 2, 3, 4))


def print_diff(found: Difference) -> None:
    """Print how many rows came, went and changed, with the first ids."""
    named = (("only before", found.only_before), ("only after", found.only_after), ("changed", found.changed))
    lines = [[name, words.count(len(ids)), ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")] for name, ids in named]
    print_table(("", "rows", "ids"), [*lines, ["same", words.count(found.same), ""]], (1,))


def print_overlaps(verdict: Verdict, pairs: Sequence[Overlap]) -> None:
    """Print the verdict and the first pairs."""
    print_text(f"{verdict.status}: {verdict.measured}")
    for pair in pairs[:SHOWN_PAIRS]:
        print_text(f"  {pair.kind} {pair.share:.0%}\n    test  {pair.test_id}: {pair.test_text}")
        print_text(f"    train {pair.train_id}: {pair.train_text}")
    if verdict.remedy:
        print_text(f"fix: {verdict.remedy}")
