"""What `tw grade` prints: a dry run as a table with its findings, and grades as short texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunewright.cli.tables import print_table, print_text
from tunewright.graders.protocol import Grade

SHOWN_CHARS = 70


def print_dry_run(found: Mapping[str, Any]) -> None:
    """Print what a dry run found: the measurements beside what is healthy, the verdict, and what to change."""
    print_table(("measured", "value", "healthy"), _lines(found["measured"]), (1,))
    print_text(f"{found['verdict']}: grader {found['grader']}")
    for finding in found["findings"]:
        print_text(
            f"  {finding['diagnosis']}: {finding['measured']} (healthy: {finding['bound']})\n    {finding['change']}"
        )


def _lines(m: Mapping[str, Any]) -> list[list[str]]:
    groups, check = m["groups"], m["check"]
    canned = {name: mean for name, mean in check["canned"].items() if mean is not None}
    worst = max(canned, key=lambda name: canned[name], default="")
    return [
        ["prompts x answers", f"{m['num_prompts']} x {groups['answers'] or 1}", "25 x 8"],
        ["mean", interval_text(m["mean"]), "0.25 to 0.65"],
        ["standard deviation", number_text(m["std"]), "0.10 to 0.25; scores of 0 and 1 up to 0.5"],
        ["share above 0", interval_text(m["above_zero"]), "more than 0.1 to 0.2"],
        ["share at full score", interval_text(m["at_full"]), "less than 0.3 to 0.5"],
        ["prompts whose answers all score the same", interval_text(groups["dead_share"]), "below 0.5"],
        ["deviation inside / between prompts", f"{groups['within']:.2f} / {groups['between']:.2f}", ""],
        ["share of the variance between prompts (ICC)", number_text(groups["icc"]), ""],
        ["distinct scores", str(m["num_values"]), "2 or more"],
        ["unscored: errors / not parsed", f"{m['error_share']:.1%} / {m['parse_share']:.1%}", "below 1% / 2%"],
        *([f"  {kind}", str(count), ""] for kind, count in m["errors"].items()),
        ["score and length inside prompts (Spearman)", number_text(m["length_correlation"]), ""],
        ["an empty phrase behind an answer adds", number_text(m["padding_gain"]), "at most 0.15"],
        ["own row against another row adds", interval_text(m["own_gain"]), "at least 15% of the mean"],
        ["noise of one answer graded again", number_text(m["repeat_noise"]), "reliability of at least 0.8"],
        ["gold answers at full score", number_text(check["gold"]["accepted"]), "1"],
        ["best canned answer" + (f": {worst}" if worst else ""), number_text(canned.get(worst)), "at most 0.1"],
        ["gold answer of another row", number_text(check["other_gold"]), "at most 0.5"],
        ["seconds a grade, mean / 95th percentile", f"{m['seconds']:.2g} / {m['seconds_p95']:.2g}", "at most 5"],
        ["USD a grade", f"{m['cost_usd']:.5f}", "at most 0.02"],
    ]


def score_text(found: Grade) -> str:
    """Return a score as it is shown; what has none is `unscored`."""
    return "unscored" if found.score is None else f"{found.score:.3g}"


def number_text(value: float | None) -> str:
    """Return a number with two digits behind the point, a dash for none."""
    return "–" if value is None else f"{value:.2f}"


def interval_text(share: Mapping[str, float] | None) -> str:
    """Return a share with its interval."""
    return "–" if share is None else f"{share['value']:.2f} ({share['low']:.2f} to {share['high']:.2f})"


def short_text(text: str) -> str:
    """Return a text in one line of at most SHOWN_CHARS."""
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_CHARS else flat[: SHOWN_CHARS - 1] + "…"
