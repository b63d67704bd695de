"""`journal.md` of a run, and the cumulative table of all runs: what was tried, what came of it, what to keep.

reads    run.json, the recipe of this run and of the one before, every record
writes   journal.md

Hypothesis, change, command, result with interval, verdict: the head is written by the machine each time. What a person
adds below `NOTES` is theirs and survives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import write_text
from tunewright.artifacts.rundir import RUNS, RunFolder, all_runs
from tunewright.errors import DataError, RunFolderError
from tunewright.reports import words
from tunewright.reports.gather import (
    Judged,
    Stage,
    Story,
    changes,
    headline,
    main_test,
    previous_run,
    status_sentence,
    what_to_do,
)

JOURNAL_NAME = "journal.md"
NOTES = "<!-- notes: yours, kept when the journal is written again -->"

DAMAGED = "damaged: `tw show` says where"

MEANINGS = {
    "better": "the candidate is better",
    "worse": "the candidate is worse",
    "not shown": "these rows show neither better nor worse",
}


@dataclass(frozen=True)
class JournalRow:
    """One run in the table of all runs. What a run does not have is None."""

    run: str
    date: str
    status: str
    changed: list[str]
    """fields that differ from the run before of the same recipe"""
    metric: str | None
    before: float | None
    after: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    num_rows: int | None
    verdict: str | None
    minutes: float

    def as_json(self) -> dict[str, Any]:
        """Return the row as it stands in `--json` output."""
        return asdict(self)


def write_journal(run: RunFolder) -> Path:
    """Write journal.md into the run's folder and return its path. The notes in it are kept.

    Raises:
        DataError, RunFolderError: a file of the run is broken or the folder cannot be written; names the file.
    """
    path = run.path / JOURNAL_NAME
    # The marker belongs to the reader's notes: a hypothesis that quotes it must not open them.
    head = _head(Story(run)).replace(NOTES, "")
    text = f"{head}\n{NOTES}\n{_notes(path)}"
    write_text(path, text.encode("utf-8", "replace").decode("utf-8"))
    return path


def _notes(path: Path) -> str:
    """Return what stands below the marker; the whole file when someone took the marker away."""
    if not path.is_file():
        return ""
    old = path.read_text(encoding="utf-8", errors="replace")
    _, marker, notes = old.partition(NOTES + "\n")
    return notes if marker else "" if old.rstrip().endswith(NOTES) else "\n" + old


def _head(story: Story) -> str:
    """Return everything above the notes."""
    parts = [
        f"# {story.name}, {words.moment(story.state.get('started'), with_time=False)}",
        f"**Hypothesis.** {story.hypothesis}" if story.hypothesis else "**Hypothesis.** None was written down.",
        _result(story),
        "## What changed\n\n" + _changed(story),
        "## What ran\n\n" + _ran(story),
        "## Gates that did not pass\n\n" + _gates(story),
        "## Again\n\n" + _again(story),
    ]
    return "\n\n".join(parts) + "\n"


def _result(story: Story) -> str:
    comparison = story.comparison
    lines = [] if story.status == "done" else [f"**{status_sentence(story)}** {what_to_do(story)}"]
    lines.append(f"**Result.** {headline(story)}")
    if comparison is None:
        return "\n\n".join(lines)
    lines += [
        words.beside_sentence(main_test(comparison, side.tests), story.label(side.baseline), comparison.confidence)
        for side in comparison.beside
        if side.tests
    ]
    if comparison.verdict == "not shown" and comparison.tests:
        lines.append(words.power_sentence(main_test(comparison)))
    return "\n\n".join(
        [*lines, f"**Verdict: {words.CHOICES[comparison.verdict]}.** {MEANINGS[comparison.verdict].capitalize()}."]
    )


def _changed(story: Story) -> str:
    before = previous_run(story.run)
    if before is None:
        return "The first run of this recipe."
    fields = [f"- `{field}`" for field in changes(before.resolved, story.recipe)]
    since = f"Since {before.name}"
    return "\n".join([f"{since}:\n", *fields]) if fields else f"{since}: nothing in the recipe."


def _ran(story: Story) -> str:
    head = ["| stage | kind | what happened | time |", "| --- | --- | --- | ---: |"]
    total = f"{words.took(story.seconds)} of work"
    if story.saved_seconds:
        total += f"; reuse saved {words.took(story.saved_seconds)}"
    return "\n".join([*head, *(_stage_line(stage) for stage in story.stages), "", f"{total}."])


def _stage_line(stage: Stage) -> str:
    why = f": {stage.why}" if stage.why else ""
    time = words.took(stage.spent_seconds) if not stage.reused_from else "–"
    return f"| {stage.id} | {stage.kind} | {_cell(stage.what_happened + why)} | {time} |"


def _cell(text: str) -> str:
    """Return text that cannot break out of a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _gates(story: Story) -> str:
    if not story.judged:
        return "No gate has judged yet."
    lines = [_gate_line(judged) for judged in story.not_passed]
    return "\n".join(lines) if lines else f"{words.plural(len(story.judged), 'gate')} judged, none warned or failed."


def _gate_line(judged: Judged) -> str:
    verdict = judged.verdict
    found = f"measured {verdict.measured}, bound {verdict.bound}"
    remedy = f". {verdict.remedy}" if verdict.remedy else ""
    return f"- **{judged.outcome}** `{verdict.name}` ({judged.stage}): {_cell(found + remedy)}"


def _again(story: Story) -> str:
    made = story.newest.provenance if story.newest else None
    lines = []
    if made and made.git_commit:
        lines.append(
            f"git checkout {made.git_commit}" + ("  # and changes that were not committed" * bool(made.git_dirty))
        )
    lines.append(story.command or "# the command was not kept")
    return "\n".join(f"    {line}" for line in lines)


def journal_rows(root: Path = RUNS) -> list[JournalRow]:
    """Return every run under `root` as a row, in the order in which they were started; damaged ones first, as such."""
    started = [_started_row(run) for run in all_runs(root)]
    return [row for _, row in sorted(started, key=lambda pair: pair[0])]


def _started_row(run: RunFolder) -> tuple[str, JournalRow]:
    """Return when a run was started, and its row; one damaged run must not hide all others."""
    try:
        story = Story(run)
        return str(story.state.get("started") or ""), _row(story)
    except (DataError, RunFolderError):
        return "", _damaged_row(run)


def _damaged_row(run: RunFolder) -> JournalRow:
    nothing = dict.fromkeys(("metric", "before", "after", "difference", "interval", "p_value", "num_rows", "verdict"))
    return JournalRow(run=run.name, date="", status=DAMAGED, changed=[], minutes=0.0, **nothing)


def _row(story: Story) -> JournalRow:
    before = previous_run(story.run)
    comparison = story.comparison
    test = main_test(comparison) if comparison and comparison.tests else None
    return JournalRow(
        run=story.name,
        date=str(story.state.get("started") or "")[:10],
        status=story.status,
        changed=changes(before.resolved, story.recipe) if before else [],
        metric=test.metric if test else None,
        before=test.baseline if test else None,
        after=test.candidate if test else None,
        difference=test.difference if test else None,
        interval=test.interval if test else None,
        p_value=test.p_value if test else None,
        num_rows=test.num_rows if test else None,
        verdict=comparison.verdict if comparison else None,
        minutes=round(story.seconds / 60, 2),
    )
