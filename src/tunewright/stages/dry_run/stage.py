"""Stage `dry_run`: may this grader be a reward? Asked with a few answers to a few rows, before a training is paid for.

reads    Rows, a grader, a model (or Trained adapter) that answers, or a file of answers
writes   answers.jsonl and grades.jsonl (as they come: what a killed run goes on from), dry_run.json, and the verdict
         `grader_can_teach`: GO, WARNING or NO-GO with a diagnosis
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.artifacts.checkpoint import Trained
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.files import JsonlAppender, write_json
from tunewright.artifacts.grades import DryRun
from tunewright.backends.protocol import Sampling
from tunewright.errors import DataError
from tunewright.gates.graders import diagnose, grader_can_teach, verdict_of
from tunewright.graders.code import isolation
from tunewright.graders.dry_run import Graded, Measured, examine
from tunewright.graders.policy import Policy, by_row, local_policy
from tunewright.graders.protocol import Grade, GradeError, Grader, Row, TokenUsage, grade_many, load_grader
from tunewright.graders.rows import answers_by_row, row_id
from tunewright.progress import task

if TYPE_CHECKING:
    from tunewright.recipe.sections import DryRunSection

CODE_VERSION = 3

GRADED_TOGETHER = 32


def dry_run(rows: Rows, section: DryRunSection, out: Path, run: RunContext, trained: Trained | None = None) -> DryRun:
    """Grade some answers to each of some rows, and say whether the grader can teach.

    Args:
        rows: where the prompts are drawn from.
        section: the recipe's `dry_run:` block.
        out: folder of this stage; answers and grades that an earlier attempt left there are kept.
        run: takes the verdict.
        trained: an adapter that answers; then its base model is loaded, not `section.model`.

    Raises:
        GraderError: the grader cannot be used. DataError: no rows, or a file of answers to other rows.
        ModelError: the model cannot be loaded.
    """
    began = time.perf_counter()
    ref = trained.base_model if trained else str(section.model)
    grader = load_grader(
        section.grader if isinstance(section.grader, Mapping) else str(section.grader),
        judged_model=ref, require_sandbox=section.require_sandbox,
    )  # fmt: skip
    seed = section.seed or 0
    if section.answers is not None:
        answers = answers_by_row(Path(section.answers))
        asked = answered(rows.load(), answers, section.prompts)
    else:
        asked = pick_rows(rows.load(), section.prompts, seed)
        policy = local_policy(ref, section.precision, trained.adapter if trained else None, section.batch_size)
        sampling = Sampling(section.max_new_tokens, section.temperature, seed=seed)
        answers = sampled(policy, asked, section.samples, sampling, out / "answers.jsonl")
    graded = grade_all(grader, asked, answers, out / "grades.jsonl")
    measured = examine(grader, asked, graded, seed)
    write_json(out / "dry_run.json", told(grader, measured))
    verdict = grader_can_teach(measured, evidence="dry_run.json")
    run.judge(verdict)
    run.note(f"{verdict_of(diagnose(measured))}: {verdict.measured}")
    return _result(grader, measured, out, time.perf_counter() - began)


def _result(grader: Grader, measured: Measured, out: Path, seconds: float) -> DryRun:
    findings = diagnose(measured)
    return DryRun(
        folder=out,
        grader=grader.name,
        verdict=verdict_of(findings),
        diagnoses=tuple(finding.diagnosis for finding in findings),
        num_prompts=measured.num_prompts,
        num_answers=measured.num_answers,
        num_unscored=measured.num_answers - measured.num_scored,
        mean=measured.mean.value if measured.mean else None,
        dead_prompts=measured.groups.dead,
        cost_usd=measured.cost_usd * measured.num_answers,
        seconds=seconds,
    )


def told(grader: Grader, measured: Measured) -> dict[str, Any]:
    """Return what a dry run found as JSON values: verdict, findings, measurements."""
    findings, isolated = diagnose(measured), isolation([grader])
    return {
        "grader": grader.name,
        "verdict": verdict_of(findings),
        "findings": [{**asdict(finding), "change": finding.change} for finding in findings],
        "measured": measured.as_json(),
        "isolation": isolated["level"] if isolated else None,
    }


def pick_rows(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Return `count` rows drawn with the seed, in the order of the data; all where there are no more."""
    if not rows:
        raise DataError("there are no rows to answer", expected="at least 20")
    return [rows[place] for place in sorted(random.Random(seed).sample(range(len(rows)), min(count, len(rows))))]


def answered(rows: Sequence[Row], answers: Mapping[str, Sequence[str]], count: int) -> list[Row]:
    """Return the first `count` rows that have answers.

    Raises:
        DataError: none has; shows ids of both sides.
    """
    found = [row for row in rows if row_id(row) in answers]
    if not found:
        theirs, ours = list(answers)[:3], [row_id(row) for row in rows[:3]]
        raise DataError(f"the answers are to other rows: {theirs}", expected=f"ids like {ours}")
    return found[:count]


def sampled(
    policy: Policy, rows: Sequence[Row], count: int, sampling: Sampling, log_path: Path
) -> dict[str, list[str]]:
    """Return `count` answers to each row, by row id: from the log, the rest from the model, written as they come."""
    prompts = policy.prompts(rows, count)
    with JsonlAppender(log_path) as log, task(f"answering {len(rows)} rows x {count}", len(prompts)) as bar:
        known = {record["id"]: record["answer"] for record in log.existing}
        bar.advance(len(known))
        for batch in policy.answer(prompts, sampling, known.keys()):
            log.append([{"id": name, "answer": text} for name, text in batch])
            known |= dict(batch)
            bar.advance(len(batch))
    return by_row(known)


def grade_all(
    grader: Grader, rows: Sequence[Row], answers: Mapping[str, Sequence[str]], log_path: Path
) -> list[Graded]:
    """Return the graded answers: those in the log, and the rest from the grader, written as they come.

    A log of other answers than these is not gone on from.
    """
    wanted = [(row, answer) for row in rows for answer in answers.get(row_id(row), ())]
    with JsonlAppender(log_path) as log, task(f"grading {len(wanted)} answers", len(wanted)) as bar:
        found = _known(log.existing, wanted)
        bar.advance(len(found))
        while len(found) < len(wanted):
            batch = wanted[len(found) : len(found) + GRADED_TOGETHER]
            grades = grade_many(grader, [answer for _, answer in batch], [row for row, _ in batch])
            new = [Graded(row_id(row), answer, grade) for (row, answer), grade in zip(batch, grades, strict=True)]
            log.append([{"row_id": one.row_id, "answer": one.answer, "grade": asdict(one.grade)} for one in new])
            found += new
            bar.advance(len(new))
    return found


def _known(records: Sequence[Mapping[str, Any]], wanted: Sequence[tuple[Row, str]]) -> list[Graded]:
    """Return the grades of a log as far as they are of the wanted answers, in their order."""
    found = []
    for record, (row, answer) in zip(records, wanted, strict=False):
        if (record["row_id"], record["answer"]) != (row_id(row), answer):
            raise DataError(
                "it holds grades of other answers", where="grades.jsonl", fix="give another folder, or remove the file"
            )
        found.append(Graded(record["row_id"], answer, grade_of(record["grade"])))
    return found


def grade_of(record: Mapping[str, Any]) -> Grade:
    """Return a grade from its record in grades.jsonl."""
    error = GradeError(**record["error"]) if record["error"] else None
    tokens = {model: TokenUsage(**usage) for model, usage in record["tokens_by_model"].items()}
    return Grade(**{**record, "error": error, "tokens_by_model": tokens})
