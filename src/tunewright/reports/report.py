"""`report.html`: the run as one self-contained page. The verdict first, then everything it stands on.

reads    run.json, the recipe, every record; comparison, scores.jsonl, metrics.jsonl, samples.json
writes   report.html

One file, no request to anywhere: style sheet and script are inlined and a content security policy forbids the rest. A
part whose stage did not run is left out with a line that says why, so a stopped run has a report too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunewright.artifacts.comparison import Comparison
from tunewright.artifacts.rundir import RunFolder
from tunewright.artifacts.verdict import Status
from tunewright.reports import words
from tunewright.reports.differences import asked_differently
from tunewright.reports.gather import (
    Judged,
    Story,
    changes,
    finding,
    main_test,
    previous_run,
    status_sentence,
    what_to_do,
)
from tunewright.reports.page import render_page, write_page
from tunewright.reports.parts import BADGES, Part, build_parts

REPORT_NAME = "report.html"


def write_report(run: RunFolder) -> Path:
    """Write report.html into the run's folder and return its path. Works for unfinished runs too.

    Raises:
        DataError, RunFolderError: a file of the run is broken or the folder cannot be written; names the file.
    """
    return write_page(run.path / REPORT_NAME, render(Story(run)))


def render(story: Story) -> str:
    """Return the page of a run as HTML."""
    parts = build_parts(story)
    return render_page(
        "page.html.j2",
        styles=("page.css",),
        scripts=("theme.js", "page.js"),
        data=_page_data(parts),
        story=story,
        parts=parts,
        **_opening(story),
    )


def _page_data(parts: list[Part]) -> dict[str, Any]:
    """Return what the script reads: the numbers of the curves and the rows of the browser."""
    bodies = {part.ident: part.body or {} for part in parts}
    return {"curves": bodies["training"].get("data", {}), "browser": bodies["answers"].get("data")}


# ── the verdict ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _opening(story: Story) -> dict[str, Any]:
    comparison = story.comparison
    verdict = comparison.verdict if comparison else story.status
    mark, text = BADGES[verdict]
    before = previous_run(story.run)
    return {
        "badge": {"kind": verdict.replace(" ", "-"), "mark": mark, "text": text},
        "finding": finding(story),
        "beside": _beside_sentences(story, comparison) if comparison else [],
        "power": words.power_sentence(main_test(comparison)) if comparison and verdict == "not shown" else "",
        "alerts": _alerts(story),
        "facts": _facts(story),
        "changed": {"since": before.name, "fields": changes(before.resolved, story.recipe)} if before else None,
    }


def _beside_sentences(story: Story, comparison: Comparison) -> list[str]:
    return [
        words.beside_sentence(main_test(comparison, side.tests), story.label(side.baseline), comparison.confidence)
        for side in comparison.beside
        if side.tests
    ]


def _alerts(story: Story) -> list[dict[str, str]]:
    """What must not be overlooked: a run that is not done, and every failed gate."""
    alerts = [] if story.status == "done" else [_status_alert(story)]
    failed = (judged for judged in story.not_passed if judged.verdict.status is Status.FAILED)
    return [*alerts, *(_gate_alert(judged) for judged in failed), *_parity_alerts(story)]


def _parity_alerts(story: Story) -> list[dict[str, str]]:
    """What is compared must be asked alike; else a difference of scores is not the model's alone."""
    told = asked_differently(story)
    if not told:
        return []
    title = "The compared systems were not asked alike."
    return [{"level": "loud", "title": title, "text": f"{'; '.join(told)}.", "detail": ""}]


def _status_alert(story: Story) -> dict[str, str]:
    # Without a comparison the headline has said where the run stands.
    title = status_sentence(story) if story.comparison else ""
    level = "loud" if story.status == "failed" else "calm"
    return {"level": level, "title": title, "text": what_to_do(story), "detail": str(story.state.get("error") or "")}


def _gate_alert(judged: Judged) -> dict[str, str]:
    verdict = judged.verdict
    how = "failed and was allowed" if verdict.allowed else "failed"
    remedy = verdict.remedy[:1].upper() + verdict.remedy[1:]
    return {
        "level": "loud",
        "title": f"Gate {verdict.name} {how} (stage {judged.stage}).",
        "text": f"Measured: {verdict.measured}. Bound: {verdict.bound}. {remedy}",
        "detail": "",
    }


def _facts(story: Story) -> list[str]:
    """The run in a few numbers, for the line under the verdict."""
    facts = []
    if story.comparison:
        facts.append(f"{words.plural(story.comparison.num_rows, 'held-out row')}")
    facts += [
        f"{words.plural(trained.steps, 'step')}, {words.count(trained.tokens_seen)} tokens seen"
        for trained in story.trained.values()
    ]
    if story.newest:
        facts.append(f"{words.took(story.seconds)} on {story.newest.provenance.device}")
    warned = sum(judged.verdict.status is Status.WARNED for judged in story.judged)
    passed = sum(judged.verdict.status is Status.PASSED for judged in story.judged)
    if story.judged:
        facts.append(f"{words.plural(passed, 'gate')} passed" + (f", {warned} warned" if warned else ""))
    return facts
