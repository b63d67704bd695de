"""Stage `evaluate`: let a model answer rows, greedily, and score what it says.

reads    Rows, a model or Trained adapter, Rows for worked examples
writes   answers.jsonl (one line an answer, as they come: what a killed run goes on from), scores.jsonl (one line a row,
         in the order of the data), and the verdict `answers_complete`
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunewright.artifacts.checkpoint import Trained
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.files import JsonlAppender, write_jsonl
from tunewright.artifacts.fingerprint import fingerprint
from tunewright.artifacts.scores import MetricSummary, ScoreRow, Scores
from tunewright.backends.protocol import Backend, Completion, Prompt, Sampling
from tunewright.chat.render import Renderer
from tunewright.errors import DataError, ModelError
from tunewright.gates.answers import answers_complete
from tunewright.models.find import model_folder, model_identity
from tunewright.models.precision import resolve_precision
from tunewright.progress import task
from tunewright.recipe.sections import EvaluateSection
from tunewright.stats.intervals import mean_interval, rate_interval
from tunewright.suites.protocol import Suite, find_suite

CODE_VERSION = 2


def evaluate(
    rows: Rows,
    section: EvaluateSection,
    out: Path,
    run: RunContext,
    trained: Trained | None = None,
    shots_from: Rows | None = None,
) -> Scores:
    """Answer every row of `rows` and score the answers with `section.suite`.

    Args:
        rows: the rows to answer; the last message of each is the reference.
        section: the recipe's `evaluate:` block.
        out: folder of this stage; answers that an earlier attempt left there are kept.
        run: takes the verdicts.
        trained: an adapter to evaluate; then its base model is loaded, not `section.model`.
        shots_from: rows that worked examples are drawn from, when `section.shots` > 0.

    Raises:
        DataError: no rows; or a prompt longer than the model's context: names the row.
        ModelError: the model cannot be loaded, or is not the one the adapter was trained on.
    """
    ref = trained.base_model if trained else str(section.model)
    folder = model_folder(ref)
    renderer = Renderer.from_folder(folder)
    suite = find_suite(section.suite)
    asked = rows.load(section.limit)
    if not asked:
        raise DataError("there are no rows to answer", where=str(rows.path))
    shots = pick_shots(shots_from, section)
    prompts = {row.id: _prompt(renderer, row, shots, section) for row in asked}
    began = time.perf_counter()
    answers = _answer(list(prompts.values()), section, out, lambda: _backend(ref, folder, renderer, section, trained))
    scored = [_score(row, answers[row.id], renderer, suite, prompts[row.id], bool(shots)) for row in asked]
    write_jsonl(out / "scores.jsonl", (row.model_dump(mode="json") for row in scored))
    result = Scores(
        folder=out,
        model=ref + (" + adapter" if trained else ""),
        suite=suite.name,
        shots=len(shots),
        num_rows=len(scored),
        summary=summarise(scored, suite, section.seed or 0),
        seconds=time.perf_counter() - began,
        prompt_tokens=sum(row.prompt_tokens for row in scored),
        answer_tokens=sum(row.answer_tokens for row in scored),
        cut_answers=sum(row.finish == "length" for row in scored),
    )
    run.judge(answers_complete(result.cut_answers, result.num_rows, section.max_new_tokens))
    _say(result, run)
    return result


def pick_shots(rows: Rows | None, section: EvaluateSection) -> list[ChatRow]:
    """Return the worked examples: `section.shots` rows drawn with the seed from the shortest quarter, one a group.

    The shortest quarter, since every prompt pays for them; one a group, so that they differ.
    """
    if rows is None or section.shots == 0:
        return []
    by_length = sorted(rows.load(), key=lambda row: (len(str(row.messages)) + len(str(row.tools)), row.id))
    short = by_length[: max(2 * section.shots, len(by_length) // 4)]
    random.Random(section.seed).shuffle(short)
    one_a_group = list({row.group: row for row in short}.values())
    if len(one_a_group) < section.shots:
        raise DataError(
            f"{len(one_a_group)} groups to draw {section.shots} worked examples from",
            where=str(rows.path),
            fix="ask for fewer `shots:`",
        )
    return one_a_group[: section.shots]


def _prompt(renderer: Renderer, row: ChatRow, shots: Sequence[ChatRow], section: EvaluateSection) -> Prompt:
    ids = renderer.prompt(row.prompt, row.tools, [(shot.messages, shot.tools) for shot in shots])
    limit = renderer.context_length
    if limit is not None and len(ids) + section.max_new_tokens > limit:
        raise DataError(
            f"its prompt has {len(ids)} tokens, and {section.max_new_tokens} more are to be generated",
            where=f"row {row.id}",
            expected=f"at most {limit} together: the model's context",
            fix="drop such rows with `overlong: drop` and a smaller `max_tokens:` in the data stage, or lower `shots:`",
        )
    return Prompt(id=row.id, token_ids=tuple(ids))


def _backend(ref: str, folder: Path, renderer: Renderer, section: EvaluateSection, trained: Trained | None) -> Backend:
    """Load the model; only called when there is something left to answer."""
    from tunewright.backends.hf import HfBackend
    from tunewright.models.load import load_model

    if trained is not None and trained.base_identity != model_identity(ref):
        raise ModelError(
            "the base model has changed since the adapter was trained on it",
            where=ref,
            expected=trained.base_identity,
            fix="train again, or bring back the base model",
        )
    model = load_model(folder, resolve_precision(section.precision), trained.adapter if trained else None)
    return HfBackend(model, renderer.stop_token_ids, renderer.pad_token_id, section.batch_size)


def _answer(prompts: list[Prompt], section: EvaluateSection, out: Path, load: Any) -> dict[str, Completion]:
    """Return an answer for every prompt: those in answers.jsonl, and the rest from the model, written as they come."""
    with JsonlAppender(out / "answers.jsonl") as log:
        known = {row["id"]: Completion(**{**row, "token_ids": tuple(row["token_ids"])}) for row in log.existing}
        if len(known) < len(prompts):
            backend: Backend = load()
            with task(f"answering {len(prompts)} rows", len(prompts), len(known)) as progress:
                for batch in backend.generate(prompts, Sampling(section.max_new_tokens), known.keys()):
                    new = [completion for completion in batch if completion.id not in known]
                    log.append([{**completion.__dict__, "token_ids": list(completion.token_ids)} for completion in new])
                    known |= {completion.id: completion for completion in new}
                    progress.advance(len(new))
    return known


def _score(
    row: ChatRow, completion: Completion, renderer: Renderer, suite: Suite, prompt: Prompt, has_shots: bool
) -> ScoreRow:
    answer = renderer.decode(list(completion.token_ids))
    scored = suite.score(answer, row)
    own_ids = renderer.prompt(row.prompt, row.tools) if has_shots else list(prompt.token_ids)
    return ScoreRow(
        id=row.id,
        group=row.group,
        source=row.source,
        question=next((str(m.get("content")) for m in reversed(row.prompt) if m["role"] == "user"), ""),
        reference=renderer.answer_text(row.answer, row.tools),
        answer=answer,
        parsed=scored.parsed,
        scores=scored.scores,
        reason=scored.reason,
        prompt_sha256=fingerprint(own_ids),
        prompt_tokens=len(prompt.token_ids),
        answer_tokens=len(completion.token_ids),
        finish=completion.finish,
        seconds=completion.seconds,
    )


def summarise(rows: Sequence[ScoreRow], suite: Suite, seed: int) -> list[MetricSummary]:
    """Return every metric's value and 95% interval: Wilson for 0/1 metrics, bootstrap over groups for graded ones."""
    found = []
    for metric in suite.metrics:
        counted = [row for row in rows if metric.name in row.scores]
        if not counted:
            continue
        values = [row.scores[metric.name] for row in counted]
        if metric.binary:
            low, high = rate_interval(int(sum(values)), len(values))
        else:
            low, high = mean_interval(values, [row.group or row.id for row in counted], seed=seed)
        found.append(
            MetricSummary(
                metric=metric.name,
                value=sum(values) / len(values),
                low=low,
                high=high,
                num_rows=len(values),
                denominator=metric.denominator,
                binary=metric.binary,
            )
        )
    return found


def _say(scores: Scores, run: RunContext) -> None:
    parts = [f"{m.metric} {m.value:.1%} ({m.low:.1%} to {m.high:.1%})" for m in scores.summary]
    run.note(f"{', '.join(parts)}; n = {scores.num_rows}")
