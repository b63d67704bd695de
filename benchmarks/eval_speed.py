"""How fast is an evaluation, against lm-evaluation-harness' `hf` model on the same prompts?

The tour's 150 test rows (tool calls) and puzzles of reasoning-gym, greedy, SmolLM2-135M, the same precision, batch size
and threads on both sides. Ours is the whole stage `evaluate` with the model loaded: rendering, answers, scores, files.
Theirs is `HFLM.generate_until` alone, on the rendered prompts as text, in a process of its own that waits while we run,
and we wait while it runs.

In float32 the same answers are demanded of both. In bfloat16 a greedy answer depends on the rows that share its batch,
on both sides: there as many must be the same as theirs are at half their batch size, up to chance.

    python -m venv lm-eval && lm-eval/bin/pip install 'lm-eval[hf]'     the same torch and transformers as ours
    python -m benchmarks.eval_speed --lm-eval lm-eval/bin/python
    python -m benchmarks.eval_speed --lm-eval lm-eval/bin/python --precision bfloat16

writes   benchmarks/baselines/<CPU>__eval_speed.json, or …__eval_speed_bfloat16.json
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.report import BASELINES, Finding, machine, ratios, told_machine, write_results
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.scores import ScoreRow
from tunewright.backends.hf import HfBackend
from tunewright.chat.render import Renderer
from tunewright.models.find import model_folder
from tunewright.models.precision import Precision
from tunewright.pipeline import call_stage
from tunewright.planning import plan
from tunewright.recipe.load import load_recipe
from tunewright.recipe.sections import EvaluateSection
from tunewright.stages.evaluate.answers import loaded
from tunewright.stages.evaluate.prompts import questions
from tunewright.stages.evaluate.stage import asked_rows, evaluate
from tunewright.suites.protocol import find_suite

AT_LEAST = 2.0
ROUNDS = 3
WARM_ROWS = 8
BATCH_SIZE = 38  # the tour's
TOKENS = 96
MODEL = "smollm2-135m-instruct"
TOUR = Path(__file__).parents[1] / "recipes" / "tour.yaml"
WORKER = Path(__file__).with_name("eval_speed_worker.py")
PUZZLES = {"tasks": ["chain_sum", "basic_arithmetic", "letter_counting", "number_sorting"], "rows": 25}


@dataclass
class Job:
    """One set of rows, how they are evaluated, and what a language model reads of them."""

    name: str
    rows: Rows | None
    section: EvaluateSection
    ids: list[tuple[int, ...]]
    texts: list[str]


class Harness:
    """lm-evaluation-harness in its own Python, one request at a time."""

    def __init__(self, python: str, folder: Path, precision: str):
        environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "HF_HUB_OFFLINE": "1"}
        command = [python, str(WORKER), str(folder), str(torch.get_num_threads()), precision]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)
        self.about = self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("lm-evaluation-harness ended; its error stands above")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, texts: Sequence[str], stop: str, tokens: int, batch_size: int) -> dict[str, Any]:
        """Return `answers`, `seconds` and the number of prompt tokens that it saw."""
        assert self.process.stdin is not None
        request = {"texts": list(texts), "until": [stop], "max_gen_toks": tokens, "batch_size": batch_size}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def make_jobs(folder: Path, limit: int | None, batch_size: int, tokens: int, model: str) -> list[Job]:
    """Return the tour's test rows and the puzzles, as both sides ask them."""
    recipe = load_recipe(TOUR, [f"model={model}"])
    data = call_stage(plan(recipe)[0], {}, folder, RunContext(quiet=True))
    common = {"model": model, "batch_size": batch_size, "max_new_tokens": tokens, "limit": limit, "seed": recipe.seed}
    sections = {
        "tool calls": (data.part("test"), EvaluateSection(suite="tool-calls", rows="data.test", **common)),
        "reasoning-gym": (None, EvaluateSection(suite="reasoning-gym", options=PUZZLES, **common)),
    }
    renderer = Renderer.from_folder(model_folder(model))
    found = []
    for name, (rows, section) in sections.items():
        suite = find_suite(section.suite, section.options)
        asked = questions(asked_rows(rows, suite, section), section, suite, [], renderer, tokens)
        ids = [question.prompt.token_ids for question in asked]
        texts = ["".join(renderer.pieces(row)) for row in ids]
        found.append(Job(name, rows, section, ids, texts))
    return found


def ours(job: Job, backend: HfBackend) -> tuple[float, list[ScoreRow]]:
    """Return seconds and answers of the whole stage, in a fresh folder."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        scores = evaluate(job.rows, job.section, Path(out), RunContext(quiet=True), backend=backend)
        seconds = time.perf_counter() - began
        return seconds, list(scores.rows())


def race(
    job: Job, backend: HfBackend, harness: Harness, stop: str, rounds: int, precision: Precision
) -> dict[str, Any]:
    """Return the seconds of both sides over the rounds, A B A B …, after a few rows to warm up; how answers agree."""
    tokens, batch_size = job.section.max_new_tokens or 0, backend.batch_size
    seconds: dict[str, list[float]] = {"ours": [], "lm-eval": []}
    warm = replace(job, section=job.section.model_copy(update={"limit": WARM_ROWS}))
    ours(warm, backend)
    harness.ask(job.texts[:WARM_ROWS], stop, tokens, batch_size)
    for _ in range(rounds):
        own, rows = ours(job, backend)
        theirs = harness.ask(job.texts, stop, tokens, batch_size)
        seconds["ours"].append(own)
        seconds["lm-eval"].append(float(theirs["seconds"]))
    exact = precision == "float32"
    again = theirs if exact else harness.ask(job.texts, stop, tokens, max(1, batch_size // 2))
    pairs = list(zip(rows, theirs["answers"], strict=True))
    differ = [row.id for row, answer in pairs if row.answer.strip() != answer.strip()]
    repeated = sum(a.strip() == b.strip() for a, b in zip(theirs["answers"], again["answers"], strict=True))
    counts = [len(ids) for ids in job.ids]
    return {
        "job": job.name,
        "rows": len(rows),
        "prompt_tokens": sum(counts),
        "answer_tokens": sum(row.answer_tokens for row in rows),
        "seconds": seconds,
        "same_prompts": theirs["prompt_tokens"] == counts,
        "same_answers": len(rows) - len(differ),
        "demanded": least_same(repeated, len(rows)),
        "repeated": None if exact else repeated,
        "differ": differ[:5],
    }


def show(found: dict[str, Any]) -> Finding:
    """Print what came out for one job; return the ratio held against its bound."""
    seconds = found["seconds"]
    for name, values in seconds.items():
        told = f"{found['rows'] / median(values):6.2f} rows/s"
        print(f"    {name:<10}{median(values):8.1f} s ({min(values):.1f} to {max(values):.1f})  {told}")
    print(f"    ours: {found['answer_tokens'] / median(seconds['ours']):.1f} answer tokens/s")
    same = f"{found['same_answers']} of {found['rows']} answers the same"
    prompts = "the same prompt tokens" if found["same_prompts"] else "OTHER PROMPT TOKENS"
    print(f"    {found['prompt_tokens']} prompt tokens, {found['answer_tokens']} answer tokens; {prompts}, {same}")
    if found["repeated"] is not None:
        print(f"    lm-eval at half the batch size gives {found['repeated']} of its own answers again")
    claim = f"{found['job']}: seconds, lm-eval / ours"
    finding = Finding(claim, ratios(seconds["lm-eval"], seconds["ours"]), AT_LEAST, at_least=True)
    print(f"    {finding.told()}")
    if not same_work(found):
        print("    NOT THE SAME WORK: prompts or answers differ, the ratio holds for nothing")
    return finding


def least_same(repeated: int, rows: int) -> int:
    """Return how many answers must be the same, where theirs repeat so many: fewer by two standard errors at most."""
    return math.ceil(repeated - 2 * math.sqrt(2 * repeated * (rows - repeated) / rows))


def same_work(found: dict[str, Any]) -> bool:
    """Return whether both sides read the same prompts and gave the same answers."""
    return found["same_prompts"] is True and found["same_answers"] >= found["demanded"]


def main(arguments: Sequence[str] = ()) -> None:
    options = _options(arguments)
    if not options.lm_eval:
        raise SystemExit("which Python has lm-eval? --lm-eval PATH, or LM_EVAL_PYTHON; see the top of this file")
    folder = model_folder(options.model)
    about = machine(getattr(torch, options.precision))
    print(f"  {told_machine(about)}")
    harness = Harness(options.lm_eval, folder, options.precision)
    print(f"  against lm-eval {harness.about['lm_eval']}, transformers {harness.about['transformers']}, "
          f"torch {harness.about['torch']}; batches of {options.batch_size}")  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as data:
            jobs = make_jobs(Path(data), options.limit, options.batch_size, options.tokens, options.model)
            renderer = Renderer.from_folder(folder)
            section = jobs[0].section.model_copy(update={"precision": options.precision})
            backend = loaded(folder, renderer, section, None)
            stop = "".join(renderer.pieces(renderer.stop_token_ids[:1]))
            found, findings = [], []
            for job in jobs:
                print(f"\n  {job.name}")
                found.append(race(job, backend, harness, stop, options.rounds, options.precision))
                findings.append(show(found[-1]))
    finally:
        harness.close()
    if not options.limit:
        told = [
            {**finding.as_json(), "met": finding.met and same_work(job)}
            for finding, job in zip(findings, found, strict=True)
        ]
        payload = {"against": harness.about, "jobs": found, "findings": told}
        name = "eval_speed" if options.precision == "float32" else f"eval_speed_{options.precision}"
        print(f"\n  written to {write_results(BASELINES, about, name, payload)}")
    if not all(map(same_work, found)):
        sys.exit(1)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eval_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--lm-eval", default=os.environ.get("LM_EVAL_PYTHON"), help="a Python that has lm-eval")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="of both sides")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of both sides")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="longest answer")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--limit", type=int, help="only so many rows, and nothing is written")
    return parser.parse_args(list(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
