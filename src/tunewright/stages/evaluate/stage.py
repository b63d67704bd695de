"""Stage `evaluate`: let a model answer rows and score what it says, or score how probable given answers are.

reads    Rows (or the suite's own), a model or Trained adapter, Rows for worked examples
writes   answers.jsonl (one line an answer, as they come: what a killed run goes on from), scores.jsonl (one line an
         answer, in the order of the data), and the verdicts `answers_complete`, `answers_scored`, `score_required`

`prompts.py` says what is asked, `answers.py` who answers, `summary.py` what the scores come to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tunewright.artifacts.checkpoint import Adapter, Trained
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.files import write_jsonl
from tunewright.artifacts.scores import Inference, MetricSummary, ScoreRow, Scores, answer_id
from tunewright.backends.protocol import Backend, Completion, Sampling
from tunewright.chat.render import Renderer
from tunewright.errors import DataError, UserError
from tunewright.gates.answers import answers_complete, answers_scored
from tunewright.gates.decision import score_required
from tunewright.graders.code import isolation
from tunewright.graders.judge import refuse_self_judging
from tunewright.models.find import model_folder, tokenizer_folder
from tunewright.models.precision import resolve_precision
from tunewright.recipe.sections import EvaluateSection
from tunewright.stages.evaluate.answers import answer_hash, answers, opened, prompt_parity
from tunewright.stages.evaluate.prompts import Question, pick_shots, questions
from tunewright.stages.evaluate.summary import intervals_in_words, pass_k, summarise
from tunewright.stats.power import detectable_before
from tunewright.suites.protocol import Scored, Suite, cluster_of, find_suite, score_all
from tunewright.suites.tool_calls import reading_calls

__all__ = ["CODE_VERSION", "evaluate", "pick_shots"]

CODE_VERSION = 8


def evaluate(
    rows: Rows | None,
    section: EvaluateSection,
    out: Path,
    run: RunContext,
    trained: Trained | Adapter | None = None,
    shots_from: Rows | None = None,
    backend: Backend | None = None,
) -> Scores:
    """Answer every row of `rows` and score the answers with `section.suite`.

    Args:
        rows: the rows to answer; the last message of each is the reference. None for suites that bring their own.
        section: the recipe's `evaluate:` block.
        out: folder of this stage; answers that an earlier attempt left there are kept.
        run: takes the verdicts.
        trained: an adapter to evaluate; then its base model is loaded, not `section.model`.
        shots_from: rows that worked examples are drawn from, when `section.shots` > 0.
        backend: who answers, where the caller has it already; else the section says who.

    Raises:
        DataError: no rows; or a prompt longer than the model's context: names the row.
        ModelError: the model cannot be loaded, or is not the one the adapter was trained on.
        UserError: the suite, or what the section asks of it, is wrong. EnvironmentProblem: code of its graders would
            run at less isolation than the section requires.
    """
    began = time.perf_counter()
    ref = trained.base_model if trained else str(section.model)
    suite = find_suite(section.suite, section.options)
    data = asked_rows(rows, suite, section)
    inference = settings(section, suite)
    isolated = isolation(suite.graders, section.require_sandbox)
    for grader in suite.graders:
        refuse_self_judging(grader, section.endpoint.model if section.endpoint else ref)
    folder = _folder(ref, section)
    renderer = Renderer.from_folder(folder, section.template_kwargs) if folder else None
    suite, calls_read_as = reading_calls(suite, section, renderer)
    shots = pick_shots(shots_from, section)
    asked = questions(data, section, suite, shots, renderer, inference.max_new_tokens)
    detectable = _detectable(asked, suite)
    run.note(detectable)
    parity = prompt_parity(asked, section, sampling_of(inference))
    if parity:
        run.note(parity)
    found = answers(
        asked,
        sampling_of(inference),
        inference.repeats,
        out,
        lambda: nullcontext(backend) if backend else opened(ref, folder, renderer, section, trained),
        suite.mode,
    )
    scored = _scored(asked, inference.repeats, found, renderer, suite)
    write_jsonl(out / "scores.jsonl", (row.model_dump(mode="json") for row in scored))
    errors = [row.error for row in scored if row.error is not None]
    result = Scores(
        folder=out,
        model=(ref if folder else inference.endpoint) + (" + adapter" if trained else ""),
        suite=suite.name,
        shots=len(shots),
        num_rows=len(asked),
        summary=summarise(scored, suite, inference.seed),
        pass_k=pass_k(scored, suite, inference.repeats),
        intervals=intervals_in_words(scored, inference.repeats),
        main_metric=suite.main_metric,
        unscored=len(errors),
        detectable=detectable,
        prompt_parity=parity,
        inference=inference.model_copy(update={"calls_read_as": calls_read_as}),
        isolation=isolated,
        seconds=time.perf_counter() - began,
        prompt_tokens=sum(row.prompt_tokens for row in scored),
        answer_tokens=sum(row.answer_tokens for row in scored),
        cut_answers=sum(row.finish == "length" for row in scored),
        cost_usd=sum(row.cost_usd for row in scored),
    )
    run.judge(answers_complete(result.cut_answers, len(scored), inference.max_new_tokens))
    # Not done, then: the same command asks again for what has an error.
    run.require(answers_scored(len(errors), len(scored), next(iter(errors), ""), section.most_unscored))
    if section.require is not None:
        run.judge(score_required(result.summary, section.require, result.main_metric))
    _say(result, run)
    return result


def _folder(ref: str, section: EvaluateSection) -> Path | None:
    """Return where the tokenizer lies, with weights beside it for `hf`; None where only an endpoint has them."""
    if section.backend == "openai" and section.model is None:
        assert section.endpoint is not None
        if section.endpoint.path == "completions" or section.template_kwargs:
            raise UserError(
                "nobody here knows the template of this endpoint", where=section.endpoint.url,
                expected="`path: chat` and no `template_kwargs`", fix="name a `model` whose template it is",
            )  # fmt: skip
        return None
    return model_folder(ref) if section.backend == "hf" else tokenizer_folder(ref)


def asked_rows(rows: Rows | None, suite: Suite, section: EvaluateSection) -> list[ChatRow]:
    """Return the rows to answer: those that are given, or the suite's own.

    Raises:
        UserError: rows are given and the suite brings its own, or neither. DataError: there are none.
    """
    if rows is not None and suite.rows is not None and section.suite.endswith((".yaml", ".yml")):
        raise UserError(
            "the suite's file says which rows to answer, and `rows` says it too", where=section.suite,
            fix="take `rows` out of one of them",
        )  # fmt: skip
    if rows is None and suite.rows is None:
        raise UserError("there are no rows: this suite brings none", where=f"suite {suite.name}", fix="give `rows`")
    if rows is not None:
        found = rows.load(section.limit)
    else:
        assert suite.rows is not None
        found = suite.rows(section.seed or 0, section.limit)
    if not found:
        raise DataError("there are no rows to answer", where=str(rows.path) if rows else f"suite {suite.name}")
    return found


def settings(section: EvaluateSection, suite: Suite) -> Inference:
    """Return how answers are made: what the section says, else the suite, else the defaults.

    Raises:
        UserError: what the two say does not go together.
    """
    own: Mapping[str, Any] = suite.sampling
    said = {name: getattr(section, name) for name in ("temperature", "top_p", "max_new_tokens")}
    chosen = {name: own.get(name) if value is None else value for name, value in said.items()}
    temperature = float(chosen["temperature"] or 0.0)
    if suite.mode == "log_probs" and (section.backend != "hf" or section.repeats > 1):
        raise UserError(
            "it asks for log-probabilities", where=f"suite {suite.name}", expected="`backend: hf`, and no `repeats`"
        )
    if section.repeats > 1 and temperature == 0:
        raise UserError(f"{section.repeats} repeats of one greedy answer", fix="give a `temperature` above 0")
    endpoint = section.endpoint
    return Inference(
        backend=section.backend,
        endpoint=f"{endpoint.url} {endpoint.model}" if endpoint else "",
        temperature=temperature,
        top_p=1.0 if chosen["top_p"] is None else chosen["top_p"],
        max_new_tokens=suite.longest_answer(chosen["max_new_tokens"]),
        stop=own.get("stop") or (),
        repeats=section.repeats,
        seed=section.seed or 0,
        system=section.system,
        template_kwargs=section.template_kwargs,
        shots=section.shots,
        precision=resolve_precision(section.precision) if section.backend == "hf" else "",
        suite=section.suite,
        options=section.options,
    )


def sampling_of(inference: Inference) -> Sampling:
    """Return the settings as a backend takes them."""
    return Sampling(
        inference.max_new_tokens, inference.temperature, inference.top_p, inference.seed, tuple(inference.stop)
    )


def _detectable(asked: Sequence[Question], suite: Suite) -> str:
    groups = {cluster_of(question.row, suite.cluster) for question in asked}
    return detectable_before(len(asked), len(groups))


def _scored(
    asked: Sequence[Question], repeats: int, found: Mapping[str, Completion], renderer: Renderer | None, suite: Suite
) -> list[ScoreRow]:
    """Return a scored row for every answer, in the order of the data; those with an error are not scored."""
    pairs = [(question, repeat) for question in asked for repeat in range(repeats)]
    texts = [_text(found[answer_id(question.row.id, repeat)], renderer) for question, repeat in pairs]
    whole = [at for at, (question, repeat) in enumerate(pairs) if not found[answer_id(question.row.id, repeat)].error]
    scores = score_all(suite.score, [texts[at] for at in whole], [pairs[at][0].row for at in whole])
    known = dict(zip(whole, scores, strict=True))
    return [
        _score_row(question, repeat, found, texts[at], known.get(at), suite)
        for at, (question, repeat) in enumerate(pairs)
    ]


def _text(completion: Completion, renderer: Renderer | None) -> str:
    if completion.text is not None:
        return completion.text
    return renderer.decode(list(completion.token_ids)) if renderer else ""


def _score_row(
    question: Question,
    repeat: int,
    found: Mapping[str, Completion],
    answer: str,
    known: Scored | None,
    suite: Suite,
) -> ScoreRow:
    row, key = question.row, answer_id(question.row.id, repeat)
    completion = found[key]
    scored = known or Scored({}, "unscored", error=completion.error)
    tokens = len(completion.token_ids) if completion.answer_tokens is None else completion.answer_tokens
    asked_tokens = len(question.prompt.token_ids) if completion.prompt_tokens is None else completion.prompt_tokens
    return ScoreRow(
        id=key,
        group=cluster_of(row, suite.cluster),
        source=row.source,
        question=next((str(m.get("content")) for m in reversed(row.prompt) if m["role"] == "user"), ""),
        reference=question.reference,
        answer=answer,
        parsed=scored.parsed,
        scores={} if scored.error else scored.scores,
        reason=scored.reason,
        failure=scored.failure,
        error=scored.error,
        prompt_sha256=question.prompt_sha256,
        row_sha256=question.row_sha256,
        template_sha256=question.template_sha256,
        answer_sha256=answer_hash(completion),
        repeat=repeat,
        prompt_tokens=asked_tokens,
        answer_tokens=tokens,
        finish=completion.finish,
        seconds=completion.seconds,
        cost_usd=completion.cost_usd,
    )


def _say(scores: Scores, run: RunContext) -> None:
    parts = [f"{m.metric} {shown(m, m.value)} ({shown(m, m.low)} to {shown(m, m.high)})" for m in scores.summary]
    told = [f"{m.metric} {m.value:.1%}" for m in scores.pass_k]
    unscored = f", {scores.unscored} answers unscored" if scores.unscored else ""
    cost = f", {scores.cost_usd:.4f} USD" if scores.cost_usd else ""
    run.note(f"{', '.join([*parts, *told])}; n = {scores.num_rows}{unscored}{cost}")


def shown(metric: MetricSummary, value: float) -> str:
    """Return a value of a metric as people read it: a share in percent, anything else as a number."""
    return f"{value:.1%}" if metric.higher_is_better and 0 <= metric.value <= 1 else f"{value:.4g}"
