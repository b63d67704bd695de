"""`tw grade`: run a grader, check its file, look at it on a few rows, and find out whether it may be a reward.

tw grade validate SPEC                        is the file right? prints it with every default filled in
tw grade run SPEC --answer TEXT [--item JSON]  one answer; with --json in the shape of OpenAI's `graders/run`
tw grade run SPEC ANSWERS                     every answer of a file; agreement with people where lines have `human`
tw grade test SPEC ROWS                       five rows, answers beside scores, for a person to confirm
tw grade dry-run SPEC ROWS --answers FILE     25 prompts x 8 answers: GO, WARNING or NO-GO
tw grade dry-run SPEC ROWS --model MODEL      the same, the answers sampled from a model first

SPEC is a .json or .yaml file in OpenAI's grammar or ours, or `module:name` of a Python callable.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunewright.artifacts.files import make_folder, read_jsonl
from tunewright.cli.evaluating import slug
from tunewright.cli.grade_shown import number_text, print_dry_run, score_text, short_text
from tunewright.cli.tables import print_json, print_table, print_text
from tunewright.errors import EXIT_GATE, DataError, UserError
from tunewright.graders.load import FORMS, build, read_spec
from tunewright.graders.openai import as_response
from tunewright.graders.protocol import Grade, Grader, Row, grade_many, item_of, load_grader
from tunewright.graders.rows import answers_by_row, gold_of, question_text, read_items, row_id
from tunewright.graders.spec import Context

if TYPE_CHECKING:
    from tunewright.backends.protocol import Prompt, Sampling
    from tunewright.cli.references import FoundModel
    from tunewright.graders.agreement import JudgeAgreement
    from tunewright.graders.self_check import SelfCheck

TESTED_ROWS = 5
PROMPTS, SAMPLES, MAX_NEW_TOKENS = 25, 8, 256
ANSWER_COLUMNS = ("model_sample", "answer", "output_text")


class Action(StrEnum):
    """What to do with a grader."""

    RUN = "run"
    VALIDATE = "validate"
    TEST = "test"
    DRY_RUN = "dry-run"


TAKES = {
    Action.RUN: ("ROWS", "--answer", "--item"),
    Action.VALIDATE: (),
    Action.TEST: ("ROWS", "--answers"),
    Action.DRY_RUN: ("ROWS", "--answers", "--model", "--output"),
}


def grade(
    action: Annotated[
        Action, typer.Argument(metavar="run|validate|test|dry-run", help="what to do", show_default=False)
    ],
    spec: Annotated[str, typer.Argument(metavar="SPEC", help=f"the grader: {FORMS}")],
    rows: Annotated[
        str,
        typer.Argument(
            metavar="ROWS|ANSWERS", help="run: a .jsonl file of answers; test, dry-run: rows", show_default=False
        ),
    ] = "",
    answer: Annotated[str | None, typer.Option("--answer", help="run: one answer")] = None,
    item: Annotated[str | None, typer.Option("--item", help="run: the row of that answer, as JSON")] = None,
    answers: Annotated[Path | None, typer.Option("--answers", help="test, dry-run: a .jsonl file: id, answers")] = None,
    model: Annotated[str | None, typer.Option("--model", help="dry-run: the model that answers")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="dry-run: keep answers and grades there")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Run, check, look at or dry-run a grader. Ends with exit code 1 on NO-GO, or if a self-check fails."""
    given: dict[str, object] = {"ROWS": rows or None, "--answer": answer, "--item": item, "--answers": answers}
    given |= {"--model": model, "--output": output}
    _refuse_unused(action, [name for name, value in given.items() if value is not None])
    if action is Action.VALIDATE:
        _validate(spec, json_output)
    elif action is Action.RUN and answer is not None:
        _run_one(load_grader(spec), answer, item or "{}", json_output)
    elif not rows:
        raise UserError("no rows were named", where=f"tw grade {action} {spec}", expected="a .jsonl file, or a run")
    elif action is Action.RUN:
        _run_many(load_grader(spec), Path(rows), json_output)
    elif action is Action.TEST:
        _test(load_grader(spec), rows_of(rows), answers_by_row(answers) if answers else {}, json_output)
    else:
        _dry_run(spec, rows_of(rows), answers, model, output, json_output)


def _refuse_unused(action: Action, given: Sequence[str]) -> None:
    """Raise UserError for what was given and would be of no use."""
    taken = TAKES[action]
    if unused := next((name for name in given if name not in taken), None):
        expected = " | ".join(taken) or "nothing but SPEC"
        raise UserError(f"`tw grade {action}` does not take it", where=unused, expected=expected, fix="leave it out")
    if action is Action.RUN and "ROWS" in given and (other := {"--answer", "--item"} & {*given}):
        raise UserError(
            f"it is given beside {min(other)}", where="ROWS", expected="a file of answers, or one --answer",
            fix="leave one of them out",
        )  # fmt: skip


def rows_of(text: str) -> list[Row]:
    """Return the rows that a person means: the records of a .jsonl file with all their columns, or a run's rows."""
    if Path(text).is_file() or Path(text).suffix in (".jsonl", ".json"):
        return list(read_items(Path(text)))
    from tunewright.cli.references import find_rows

    return list(find_rows(text))


# ── validate ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _validate(text: str, json_output: bool) -> None:
    spec = read_spec(text if ":" in text else Path(text))
    build(spec, Context(judge=_no_judge))
    normal = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    if json_output:
        print_json({"grader": normal, "notes": spec.notes()})
        return
    print_text(json.dumps(normal, indent=2, ensure_ascii=False))
    for note in spec.notes():
        print_text(f"note: {note}")


def _no_judge(model: str) -> Any:
    """Stand for the backend of a judge while a file is only checked."""
    return None


# ── run ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _run_one(grader: Grader, answer: str, item: str, json_output: bool) -> None:
    try:
        row = json.loads(item)
    except (ValueError, RecursionError) as error:
        raise UserError(f"no JSON: {error}", where="--item", expected='an object: {"reference": "4"}') from None
    if not isinstance(row, dict):
        raise UserError(f"a JSON {type(row).__name__}", where="--item", expected='an object: {"reference": "4"}')
    found = grader.grade(answer, row)
    if json_output:
        print_json(as_response(grader, found))
    else:
        print_text(f"{score_text(found)}  {found.reason}")


def _run_many(grader: Grader, path: Path, json_output: bool) -> None:
    from tunewright.graders.agreement import is_right, judge_agreement
    from tunewright.graders.self_check import range_of

    records = list(read_jsonl(path))
    pairs = [_pair(record, f"{path}:{line}", f"{path.stem}-{line}") for line, record in records]
    grades = grade_many(grader, [text for text, _ in pairs], [row for _, row in pairs])
    labels = [
        is_right(record["human"], f"{path}:{line}") if record.get("human") is not None else None
        for line, record in records
    ]
    agreement = judge_agreement(grades, labels, range_of(grader)) if any(x is not None for x in labels) else None
    if json_output:
        listed = [
            {"id": row["id"], **as_response(grader, found)} for (_, row), found in zip(pairs, grades, strict=True)
        ]
        print_json({**_summary(grades), "agreement": agreement.as_json() if agreement else None, "grades": listed})
        return
    lines = [
        [row["id"], score_text(g), g.reason, short_text(text)] for (text, row), g in zip(pairs, grades, strict=True)
    ]
    print_table(("id", "score", "reason", "answer"), lines, (1,))
    summary = _summary(grades)
    print_text(
        f"mean {number_text(summary['mean'])} over {summary['scored']}; unscored {summary['unscored']}" + _kinds(grades)
    )
    if agreement:
        print_text(_agreement(agreement))


def _agreement(found: JudgeAgreement) -> str:
    kappa, rate = found.kappa, found.corrected
    told = f"agreement with {found.num_labelled} labels: kappa {kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"
    if rate is None:
        return told
    ends = f"{rate.low:.1%} to {rate.high:.1%}"
    return f"{told}\nrate of right answers, corrected: {rate.value:.1%} ({ends}); judged {rate.judged:.1%}"


def _pair(record: Mapping[str, Any], where: str, fallback_id: str) -> tuple[str, dict[str, Any]]:
    """Return the answer and the row of one line."""
    column = next((name for name in ANSWER_COLUMNS if isinstance(record.get(name), str)), None)
    if column is None:
        raise DataError("no answer", where=where, expected=f"text in one of the columns {', '.join(ANSWER_COLUMNS)}")
    own = record["item"] if isinstance(record.get("item"), dict) else {k: v for k, v in record.items() if k != column}
    named = next(name for name in (record.get("id"), own.get("id"), fallback_id) if name is not None)
    return record[column], {**own, "id": str(named)}


def _summary(grades: Sequence[Grade]) -> dict[str, Any]:
    scores = [found.score for found in grades if found.score is not None]
    mean = sum(scores) / len(scores) if scores else None
    return {"mean": mean, "scored": len(scores), "unscored": len(grades) - len(scores)}


def _kinds(grades: Sequence[Grade]) -> str:
    kinds = sorted({found.error.kind for found in grades if found.error})
    return f" ({', '.join(kinds)})" if kinds else ""


# ── test ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _test(grader: Grader, rows: Sequence[Row], answers: Mapping[str, Sequence[str]], json_output: bool) -> None:
    from tunewright.graders.self_check import self_check

    shown = rows[:TESTED_ROWS]
    tried = [(row, kind, text) for row in shown for kind, text in _trials(row, shown, answers.get(row_id(row), ()))]
    grades = grade_many(grader, [text for _, _, text in tried], [row for row, _, _ in tried])
    check = self_check(grader, shown)
    found = [
        {"id": row_id(row), "answer_is": kind, "answer": text, "score": g.score, "reason": g.reason}
        for (row, kind, text), g in zip(tried, grades, strict=True)
    ]
    if json_output:
        print_json({"grader": grader.name, "self_check": check.as_json(), "tried": found})
    else:
        lines = [
            [row_id(row), kind, score_text(g), g.reason, short_text(text)]
            for (row, kind, text), g in zip(tried, grades, strict=True)
        ]
        print_table(("row", "the answer is", "score", "reason", "answer"), lines, (2,))
        print_text(_self_check(check))
        print_text("Would you have given these scores? If one is wrong, change the grader before you train on it.")
    if not check.passed:
        raise typer.Exit(EXIT_GATE)


def _self_check(check: SelfCheck) -> str:
    accepted, (kind, score) = check.gold_accepted, check.worst_canned
    gold = "no row has a gold answer" if accepted is None else f"gold accepted {accepted:.0%}"
    passed = "passed" if check.passed else "FAILED"
    return f"self-check {passed}: {gold}; the best canned answer, {kind!r}, scores {score:.2f}"


def _trials(row: Row, rows: Sequence[Row], given: Sequence[str]) -> list[tuple[str, str]]:
    """Return the answers that a person is shown for one row: a model's where there are some, and known ones."""
    gold = gold_of(row)
    others = [other for other in map(gold_of, rows) if other is not None and other != gold]
    known = [
        ("gold", gold),
        ("gold of another row", others[0] if others else None),
        ("the question", question_text(row)),
    ]
    return [*(("a model's", text) for text in given[:2]), *((k, t) for k, t in known if t), ("empty", "")]


# ── dry-run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _dry_run(
    spec: str, rows: Sequence[Row], answers: Path | None, model: str | None, output: Path | None, json_output: bool
) -> None:
    from tunewright.artifacts.fingerprint import sha256_file
    from tunewright.graders.dry_run import examine
    from tunewright.stages.dry_run.stage import answered, grade_all, told

    if (answers is None) == (model is None):
        raise UserError(
            "where do the answers come from?", where="tw grade dry-run", expected="--answers FILE or --model MODEL"
        )
    grader = load_grader(spec, judged_model=model)
    with TemporaryDirectory() as scratch:
        folder = make_folder(output) if output else Path(scratch)
        if answers:
            texts, source = answers_by_row(answers), sha256_file(answers)
        else:
            texts, source = _sample(str(model), rows, folder)
        asked = answered(rows, texts, PROMPTS)
        log = folder / f"grades-{slug(grader.name)}-{_mark_of_grades(spec, asked, source)}.jsonl"
        measured = examine(grader, asked, grade_all(grader, asked, texts, log))
        if output:
            print(f"  grades: {log}", file=sys.stderr)
    found = told(grader, measured)
    if json_output:
        print_json(found)
    else:
        print_dry_run(found)
    if found["verdict"] == "NO-GO":
        raise typer.Exit(EXIT_GATE)


def _sample(model: str, rows: Sequence[Row], folder: Path) -> tuple[dict[str, list[str]], str]:
    """Return answers of a model by row, those that `folder` has of it and the rest new, and the mark of them all."""
    from tunewright.backends.protocol import Sampling
    from tunewright.cli.references import find_model
    from tunewright.graders.policy import local_policy
    from tunewright.stages.dry_run.stage import pick_rows, sampled

    found = find_model(model)
    policy = local_policy(found.base, adapter=found.adapter)
    asked, sampling = pick_rows(rows, PROMPTS, 0), Sampling(MAX_NEW_TOKENS, temperature=1.0)
    mark = _mark_of_answers(found, policy.prompts(asked, SAMPLES), sampling)
    return sampled(policy, asked, SAMPLES, sampling, folder / f"answers-{slug(Path(model).name)}-{mark}.jsonl"), mark


# What is kept is named by all that it was made of, so that another model's answers, or what the grader gave before it
# was changed, are never gone on with.


def _mark_of_answers(model: FoundModel, prompts: Sequence[Prompt], sampling: Sampling) -> str:
    from tunewright.artifacts.fingerprint import sha256_file
    from tunewright.models.find import model_identity
    from tunewright.models.precision import resolve_precision
    from tunewright.stages.dry_run.stage import CODE_VERSION

    adapter = model.adapter / "adapter_model.safetensors" if model.adapter else None
    weights = [model_identity(model.base), sha256_file(adapter) if adapter and adapter.is_file() else None]
    asked = [[prompt.id, prompt.token_ids] for prompt in prompts]
    return _mark(CODE_VERSION, weights, resolve_precision("auto"), asdict(sampling), asked)


def _mark_of_grades(spec: str, rows: Sequence[Row], answers: str) -> str:
    from tunewright.stages.dry_run.stage import CODE_VERSION
    from tunewright.suites.identity import suite_identity

    grader = suite_identity("", {"grader": spec})  # its file, and the modules of the functions that it calls
    server = os.environ.get("OPENAI_BASE_URL")  # where a judge of that name is asked
    return _mark(CODE_VERSION, spec, grader, server, [item_of(row) for row in rows], answers)


def _mark(*made_of: Any) -> str:
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:8]
