"""Stage `probe`: is this model the base, or the assistant, that it is said to be? Asked before anything is trained.

reads    a model, or a Trained adapter on one
writes   probe.json, answers.jsonl, and the verdict `model_is_what_it_claims`

    put      sentinel prompts as plain text: no chat template, no special tokens (`subject.py` has the one exception)
    measure  what it writes and what it expects: rates with Wilson's intervals (`measure.py`)
    grade    BASE, INSTRUCT-EXPOSED or INSTRUCT, by bounds that were calibrated (`gates/probe.py`)
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from tunewright.artifacts.checkpoint import Adapter, Trained
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.files import write_json, write_jsonl
from tunewright.artifacts.probed import Probed, ProbeResult
from tunewright.gates.probe import grade, model_is_what_it_claims, signs
from tunewright.models.find import model_folder
from tunewright.models.precision import resolve_precision
from tunewright.progress import task
from tunewright.recipe.sections import ProbeSection
from tunewright.stages.probe import measure
from tunewright.stages.probe.measure import Answer
from tunewright.stages.probe.subject import Subject, load_subject

CODE_VERSION = 2


def probe(section: ProbeSection, out: Path, run: RunContext, trained: Trained | Adapter | None = None) -> Probed:
    """Measure what `section.model` does with prompts that only an instruction-tuned model should answer, and grade it.

    Args:
        section: the recipe's `probe:` block; `expect` is held against the grade.
        out: folder of this stage.
        run: takes the verdict.
        trained: an adapter to probe; then its base model is loaded, not `section.model`.

    Raises:
        ModelError: the model cannot be loaded, or its chat template cannot be used.
    """
    began = time.perf_counter()
    folder = model_folder(trained.base_model if trained else str(section.model))
    subject = load_subject(folder, resolve_precision(section.precision), trained.adapter if trained else None)
    subject, results, answers = probed(subject, section.seed or 0)
    found = signs(results)
    verdict = model_is_what_it_claims(results, section.expect, evidence="probe.json")
    result = Probed(
        folder=out,
        model=str(section.model),
        grade=grade(results),
        signs=tuple(sign.name for sign in found),
        results=tuple(results),
        form=subject.form,
        opening="".join(subject.codec.added.get(token, "") for token in subject.opening),
        seconds=time.perf_counter() - began,
    )
    write_jsonl(out / "answers.jsonl", (asdict(answer) for answer in answers))
    write_json(out / "probe.json", result.model_dump(mode="json", exclude={"seconds"}))
    run.judge(verdict)
    run.note(f"{result.grade}: {verdict.measured}")
    return result


def probed(subject: Subject, seed: int) -> tuple[Subject, list[ProbeResult], list[Answer]]:
    """Return the subject as it was asked, and what every probe measured; equal seeds give equal results."""
    with task("probing the model", 7) as bar:
        subject, _ = measure.with_opening(subject)
        results = [measure.reads_language(subject)]
        bar.advance()
        plain, answers = measure.asked(subject, seed)
        bar.advance()
        in_form, more = measure.asked_in_form(subject, seed, answers)
        bar.advance()
        sampled, samples = measure.unconditioned(subject, seed)
        bar.advance()
        results += [*plain, *in_form, sampled, *measure.closes_turns(subject)]
        bar.advance()
        results += measure.template_lift(subject)
        bar.advance()
        results += measure.control_tokens(subject)
        bar.advance()
    return subject, results, [*answers, *more, *samples]
