"""`tw power`: how large a difference do so many rows show, and how many rows does a difference need?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tunewright.cli.tables import print_json, print_table
from tunewright.errors import UserError
from tunewright.reports import words

DIFFERENCES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2)
MOST_ROWS = 10**9
LEAST_SHARE = 1e-6  # what lies nearer to 0 or 1 is lost in the arithmetic
HEAD = ("true difference", "rows, paired", "rows a side, unpaired")


def power(
    rows: Annotated[int, typer.Option(help="rows that both systems answer", min=1, max=MOST_ROWS)] = 150,
    discordance: Annotated[float, typer.Option(help="share of the rows that exactly one side has right")] = 0.2,
    cluster_size: Annotated[float, typer.Option(help="mean number of rows a group", min=1, max=MOST_ROWS)] = 1.0,
    icc: Annotated[float, typer.Option(help="how much the rows of a group agree, 0 to 1", min=0, max=1)] = 0.0,
    power: Annotated[float, typer.Option(help="chance to show a difference that is there")] = 0.8,
    confidence: Annotated[float, typer.Option(help="1 - the chance to show one that is not there")] = 0.95,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Plan an evaluation: the least difference that so many rows show, and the rows that a difference needs."""
    for name, value in (("--discordance", discordance), ("--power", power), ("--confidence", confidence)):
        if not LEAST_SHARE <= value <= 1 - LEAST_SHARE:
            raise UserError(
                f"{value}", where=name, expected=f"a share between 0 and 1, no nearer to them than {LEAST_SHARE:g}",
                fix=f"{name} 0.8",
            )  # fmt: skip
    told = plan(rows, discordance, cluster_size, icc, power, confidence)
    if json_output:
        print_json(told)
        return
    print("\n".join(_sentences(told)))
    print_table(HEAD, [_cells(need) for need in told["needed"]], right=(0, 1, 2))


def plan(
    rows: int, discordance: float, cluster_size: float, icc: float, power: float, confidence: float
) -> dict[str, Any]:
    """Return all that is printed: `least_detectable` paired and unpaired, and the rows `needed` for DIFFERENCES.

    Unpaired figures are for rates near one half, where they are largest. A figure is None where no difference, or no
    number of rows, reaches the power.
    """
    from tunewright.stats import power as stats  # brings scipy: --help does not pay for it

    effect = stats.kish_effect(cluster_size, icc)
    unpaired = stats.least_detectable((0.5 * effect / rows) ** 0.5, power, confidence)
    asked = {"rows": rows, "discordance": discordance, "power": power, "confidence": confidence}
    return {
        **asked,
        "effective_rows": rows / effect,
        "least_detectable": {
            "paired": stats.least_detectable_paired(rows / effect, discordance, power, confidence),
            "unpaired": unpaired if unpaired <= 1 else None,
        },
        "needed": [
            {
                "difference": difference,
                "paired": _times(stats.paired_rows(difference, discordance, power, confidence), effect),
                "unpaired": _times(stats.normal_rows(difference, 0.5, power, confidence), effect),
            }
            for difference in DIFFERENCES
        ],
    }


def _times(rows: int | None, effect: float) -> int | None:
    return None if rows is None else -int(-rows * effect // 1)


def _sentences(told: dict[str, Any]) -> list[str]:
    least = {name: _points(value) for name, value in told["least_detectable"].items()}
    count = words.plural(told["rows"], "row")
    worth = "" if told["effective_rows"] == told["rows"] else f", worth {told['effective_rows']:.0f} that stand alone,"
    chance, sure, shares = (words.percent(told[name]) for name in ("power", "confidence", "discordance"))
    return [
        f"{count}{worth} show a true difference of {least['paired']} with {chance} power,",
        f"paired by row (exact McNemar, {sure} confidence, {shares} of the rows discordant).",
        f"Unpaired, with as many rows a side: {least['unpaired']}.",
        "",
    ]


def _points(difference: float | None) -> str:
    return "no size" if difference is None else f"{words.points(difference).lstrip('+')} or more"


def _cells(need: dict[str, Any]) -> list[str]:
    rows = [need["paired"], need["unpaired"]]
    return [words.points(need["difference"]).lstrip("+"), *("–" if n is None else words.count(n) for n in rows)]
