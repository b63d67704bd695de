"""A complete, plausible run folder, written through the artifact models: what the tests of reports and CLI read.

`python tests/reports/sample_run.py FOLDER` writes one with its report, to look at.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.checkpoint import Trained
from tunewright.artifacts.comparison import Comparison, PairedTest, Side
from tunewright.artifacts.dataset import ChatRow, Dataset, SourceCount, TokenStats
from tunewright.artifacts.files import write_json, write_jsonl, write_text
from tunewright.artifacts.fingerprint import fingerprint
from tunewright.artifacts.record import Provenance, Record, write_record
from tunewright.artifacts.rundir import RunFolder, link, new_run
from tunewright.artifacts.scores import Inference, MetricSummary, ScoreRow, Scores
from tunewright.artifacts.verdict import Verdict, judge
from tunewright.recipe.sections import SECTIONS, Header, Recipe, resolve
from tunewright.stages.compare import pairs
from tunewright.stages.compare.changes import changes
from tunewright.stages.compare.matrix import matrix_of

NUM_ROWS = 150
METRICS = ("valid_json", "name_match", "args_exact", "call_f1")
COMMIT = "4f6c2a91d0be7735a1c9e8b2f4405d6e7a8b9c0d"

HOSTILE = (
    '</script><img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>',
    "<!-- <script> --> {{ 7 * 7 }} {% raw %} &lt;b&gt; \u2028 \u2029 ' \" ` \\",
    "שלום עולם \u202e gnp.exe \u202c مرحبا بالعالم",
    "🎉👩‍👩‍👧‍👦 emoji and \x00\x07 control \x1b[31mred\x1b[0m and half a pair \ud83d",
    "long " * 2000,
    "see https://evil.example/pixel.gif and <link href='https://evil.example/x.css'>",
)
"""What a model may say. The long one has 10,000 characters."""

TOOLS = (
    ("get_weather", "What is the weather in {city} in {unit}?", {"city": "{city}", "unit": "{unit}"}),
    ("calculate_distance", "How far is it from {city} to Rome, in km?", {"start": "{city}", "end": "Rome", "in": "km"}),
    ("book_table", "Book a table for {n} people in {city}.", {"place": "{city}", "people": "{n}"}),
    ("convert_currency", "How much is {n} euro in {unit}?", {"amount": "{n}", "from": "EUR", "to": "{unit}"}),
)
CITIES = ("Paris", "Oslo", "Lima", "São Paulo", "東京", "Köln")


def _call(name: str, arguments: dict[str, str]) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n</tool_call>"


def _question(index: int) -> tuple[str, str, str, dict[str, str]]:
    """Return (function, question, reference, arguments) of a row."""
    name, question, template = TOOLS[index % len(TOOLS)]
    words = {"city": CITIES[index % 6], "unit": ("celsius", "kelvin")[index % 2], "n": str(2 + index % 7)}
    arguments = {key: value.format(**words) for key, value in template.items()}
    return name, question.format(**words), _call(name, arguments), arguments


def _score_row(index: int, quality: float, rng: random.Random, hostile: bool) -> ScoreRow:
    name, question, reference, arguments = _question(index)
    luck = rng.random()
    exact, named = luck < quality, luck < quality * 2
    wrong = dict(arguments, **{next(iter(arguments)): "somewhere else"})
    if quality == 0:
        answer, reason = f"I can help with that! To use {name} I would need to know more.", "no call"
    elif exact:
        answer, reason = reference, "exact"
    elif named:
        answer, reason = _call(name, wrong), f"wrong arguments: value of {next(iter(arguments))}"
    else:
        answer, reason = _call(name + "_v2", arguments), f"wrong function: {name}_v2"
    if hostile and not exact and index < 6 * len(HOSTILE):
        answer, reason = HOSTILE[index % len(HOSTILE)], "malformed call: " + HOSTILE[index % len(HOSTILE)][:40]
    scores = {
        "valid_json": float(quality > 0),
        "name_match": float(named),
        "args_exact": float(exact),
        "call_f1": 1.0 if exact else 0.5 * named,
    }
    return ScoreRow(
        id=f"bfcl-{index:04d}",
        group=f"{name}-{index % 40}",
        source="bfcl/" + ("simple_python", "multiple")[index % 2],
        question=question,
        reference=reference,
        answer=answer,
        parsed=None,
        scores=scores,
        reason=reason,
        prompt_sha256=fingerprint(question),
        prompt_tokens=180 + index % 50,
        answer_tokens=30,
        finish="stop",
        seconds=0.3,
    )


def score_rows(quality: float, seed: int, hostile: bool = True) -> list[ScoreRow]:
    """Return the rows of one model; `quality` is its rate of exact answers."""
    rng = random.Random(seed)
    return [_score_row(index, quality, rng, hostile) for index in range(NUM_ROWS)]


def _wilson(hits: float, n: int, z: float = 1.96) -> tuple[float, float]:
    p = hits / n
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))


def _summary(rows: list[ScoreRow], metric: str) -> MetricSummary:
    values = [row.scores[metric] for row in rows if metric in row.scores]
    low, high = _wilson(sum(values), len(values))
    return MetricSummary(
        metric=metric,
        value=sum(values) / len(values),
        low=low,
        high=high,
        num_rows=len(values),
        denominator="rows that expect a call",
        binary=metric != "call_f1",
    )


def paired(before: list[ScoreRow], after: list[ScoreRow], metric: str) -> PairedTest:
    """Return a paired test of the rows: real counts, a normal interval."""
    pairs = [(old.scores[metric], new.scores[metric]) for old, new in zip(before, after, strict=True)]
    gained, lost, n = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs), len(pairs)
    difference = sum(b - a for a, b in pairs) / n
    spread = 1.96 * math.sqrt(max(gained + lost - (gained - lost) ** 2 / n, 0)) / n
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    sure = p < 0.05 and difference != 0
    return PairedTest(
        metric=metric,
        baseline=sum(a for a, _ in pairs) / n,
        candidate=sum(b for _, b in pairs) / n,
        difference=difference,
        interval=(max(-1.0, difference - spread), min(1.0, difference + spread)),
        p_value=p,
        p_value_raw=p,
        test="exact McNemar" if metric != "call_f1" else "paired permutation",
        num_rows=n,
        num_groups=40,
        gained=gained,
        lost=lost,
        least_detectable=0.09,
        verdict=("better" if difference > 0 else "worse") if sure else "not shown",
    )


class SampleRun:
    """Writes the stages of a run one by one, so that a test can leave some out."""

    def __init__(
        self, root: Path, *, quality: float = 0.48, learning_rate: float = 1e-3, hypothesis: str | None = None
    ):
        self.quality = quality
        self.run = new_run("tour", root)
        self.recipe = self._recipe(learning_rate, hypothesis)
        write_json(self.run.path / "recipe.resolved.json", self.recipe.resolved())
        write_text(self.run.path / "recipe.yaml", "recipe: tour  # <b>as written</b>\nseed: 7\n")
        self.stages: dict[str, dict[str, Any]] = {
            stage_id: {
                "id": stage_id,
                "kind": kind,
                "status": "waiting",
                "reused_from": None,
                "why": "",
                "seconds": None,
            }
            for kind, stage_id in ((kind, section.id) for kind, section in self.recipe.stages)
        }
        self.scored = {
            "before": score_rows(0.0, 1),
            "before-few-shot": score_rows(0.12, 2),
            "after": score_rows(quality, 3),
        }

    def _recipe(self, learning_rate: float, hypothesis: str | None) -> Recipe:
        raw: list[tuple[str, dict[str, Any]]] = [
            ("data", {"sources": [{"type": "bfcl"}], "split": {"test": 150}}),
            ("evaluate", {"id": "before", "suite": "tool-calls", "rows": "data.test"}),
            ("evaluate", {"id": "before-few-shot", "suite": "tool-calls", "rows": "data.test", "shots": 3}),
            ("sft", {"rows": "data.train", "steps": 100, "learning_rate": learning_rate}),
            ("evaluate", {"id": "after", "model": "sft", "suite": "tool-calls", "rows": "data.test"}),
            ("compare", {"baseline": "before", "candidate": "after", "beside": ["before-few-shot"]}),
        ]
        if hypothesis is None:
            hypothesis = "A model of 135M parameters learns the format of tool calls from some 700 rows."
        head = Header(recipe="tour", model="smollm2-135m-instruct", hypothesis=hypothesis)
        stages = tuple((kind, resolve(kind, SECTIONS[kind](**section), head)) for kind, section in raw)
        return Recipe(**head.model_dump(), stages=stages)

    def folder(self, stage_id: str) -> Path:
        """The stage's folder, made."""
        folder = self.run.stage_folder(stage_id)
        folder.mkdir(exist_ok=True)
        return folder

    def finish(self, stage_id: str, artifact: Artifact, seconds: float, verdicts: tuple[Verdict, ...] = ()) -> None:
        """Write the record of a stage and mark it done."""
        kind, section = next((kind, section) for kind, section in self.recipe.stages if section.id == stage_id)
        made = Provenance(
            git_commit=COMMIT,
            git_dirty=True,
            packages={"torch": "2.13.0", "trl": "1.16.1", "numpy": "2.3.1"},
            python="3.11.7",
            host="laptop",
            device="cpu (bf16)",
            threads=2,
            seed=7,
            argv=["tw", "run", "recipes/tour.yaml"],
            start="2026-11-21T05:00:00+00:00",
            end=f"2026-11-21T05:0{len(self.run.records())}:30+00:00",
            seconds=seconds,
            attempts=1,
        )
        body = section.model_dump(mode="json")
        record = Record(
            kind=kind,
            id=stage_id,
            inputs={},
            external={"smollm2-135m-instruct": "gguf:sha256:" + "ab" * 32},
            section=body,
            code_version=1,
            fingerprint=fingerprint([kind, body]),
            verdicts=list(verdicts),
            provenance=made,
            result=artifact.model_dump(mode="json"),
        )
        write_record(self.run.stage_folder(stage_id), record)
        self.stages[stage_id] |= {"status": "done", "seconds": seconds, "why": "nothing like it was there"}

    def data(self, *verdicts: Verdict) -> None:
        """Write `1-data`."""
        folder = self.folder("data")
        for part, size in (("train", 700), ("test", NUM_ROWS)):
            write_jsonl(folder / f"{part}.jsonl", (row.model_dump() for row in _chat_rows(size)))
        write_json(folder / "samples.json", _samples())
        dataset = Dataset(
            folder=folder,
            train_rows=700,
            test_rows=NUM_ROWS,
            train_groups=412,
            test_groups=40,
            sources=[
                SourceCount(
                    source="bfcl/simple_python",
                    read=400,
                    kept=398,
                    shortened=31,
                    dropped={"longer than 2,048 tokens": 2},
                ),
                SourceCount(source="bfcl/multiple", read=458, kept=452, dropped={"no acceptable call": 5, "twice": 1}),
            ],
            train_tokens=TokenStats(
                rows=700, tokens=236_412, trained_tokens=31_877, shortest=142, median=318, longest=1_204
            ),
            test_tokens=TokenStats(
                rows=150, tokens=50_833, trained_tokens=6_790, shortest=150, median=322, longest=1_101
            ),
        )
        gate = judge("split_leak", True, measured="0 groups on both sides", bound="0", remedy="")
        self.finish("data", dataset, 3.2, (gate, *verdicts))

    def evaluate(self, stage_id: str) -> None:
        """Write an evaluate stage."""
        folder, rows = self.folder(stage_id), self.scored[stage_id]
        lines = [json.dumps(row.model_dump()) for row in rows]  # ASCII: half a surrogate pair has no UTF-8
        write_text(folder / "scores.jsonl", "\n".join(lines) + "\n")
        scores = Scores(
            folder=folder,
            model="smollm2-135m-instruct",
            suite="tool-calls",
            shots=3 * (stage_id == "before-few-shot"),
            num_rows=len(rows),
            summary=[_summary(rows, metric) for metric in METRICS],
            seconds=48.0,
            prompt_tokens=33_000,
            answer_tokens=4_500,
            cut_answers=2,
            intervals="Wilson's interval for 0/1 scores",
            detectable="150 rows in 40 groups can show a difference of 9.1 points or more",
            inference=Inference(max_new_tokens=96, suite="tool-calls"),
        )
        self.finish(stage_id, scores, 50.5)

    def sft(self) -> None:
        """Write `4-sft`."""
        folder = self.folder("sft")
        write_jsonl(folder / "metrics.jsonl", _metrics(100))
        trained = Trained(
            folder=folder,
            base_model="smollm2-135m-instruct",
            base_identity="gguf:sha256:" + "ab" * 32,
            adapter_sha256="cd" * 32,
            steps=100,
            rows_seen=800,
            tokens_seen=270_123,
            trained_tokens_seen=36_400,
            seconds=402.0,
            precision="bfloat16",
            first_loss=1.184,
            last_loss=0.131,
        )
        warned = judge(
            "gradient_clipped",
            False,
            warn=True,
            measured="31% of the steps",
            bound="under 25%",
            remedy="lower learning_rate, or raise max_grad_norm",
            evidence="4-sft/metrics.jsonl",
        )
        self.finish("sft", trained, 410.0, (warned,))

    def compare(self, *verdicts: Verdict) -> Comparison:
        """Write `6-compare`."""
        folder = self.folder("compare")
        before, few, after = self.scored.values()
        tests = [paired(before, after, metric) for metric in METRICS]
        main = next(test for test in tests if test.metric == "args_exact")
        comparison = Comparison(
            folder=folder,
            baseline="before",
            candidate="after",
            confidence=0.95,
            num_rows=NUM_ROWS,
            tests=tests,
            beside=[Side(baseline="before-few-shot", tests=[paired(few, after, metric) for metric in METRICS])],
            verdict=main.verdict,
            main_metric="args_exact",
            matrix=matrix_of(self.scored, "args_exact", 0.95, seed=0),
            changes=changes(pairs.paired("args_exact", pairs.pair_by_row(before, after))),
        )
        write_json(folder / "comparison.json", comparison.model_dump(mode="json"))
        gate = judge(
            "better_than_baseline",
            main.verdict == "better",
            measured="args_exact +48 points",
            bound="at least +10 points",
            remedy="more steps or better rows",
        )
        self.finish("compare", comparison, 0.4, (gate, *verdicts))
        return comparison

    def state(self, status: str = "done", **more: Any) -> RunFolder:
        """Write run.json and return the run."""
        self.run.write_state(
            {
                "recipe": "tour",
                "number": int(self.run.path.name),
                "status": status,
                "started": f"2026-11-21T05:{int(self.run.path.name):02d}:00+00:00",
                "ended": "2026-11-21T05:12:00+00:00",
                "argv": ["/opt/venv/bin/tw", "run", "recipes/tour.yaml"],
                "stages": list(self.stages.values()),
                "error": None,
                "allowed": [],
                **more,
            }
        )
        link(self.run.path.parent / "latest", self.run.path.name)
        return self.run

    def reuse(self, stage_id: str, earlier: RunFolder) -> None:
        """Link a stage of an earlier run."""
        target = earlier.stage_folder(stage_id)
        link(self.run.stage_folder(stage_id), f"../{earlier.path.name}/{target.name}")
        self.stages[stage_id] |= {"status": "reused", "reused_from": earlier.name, "why": "same fingerprint"}


def complete_run(root: Path, **options: Any) -> RunFolder:
    """Write a run whose stages are all done."""
    sample = SampleRun(root, **options)
    sample.data()
    sample.evaluate("before")
    sample.evaluate("before-few-shot")
    sample.sft()
    sample.evaluate("after")
    sample.compare()
    return sample.state()


def _chat_rows(size: int) -> Iterator[ChatRow]:
    for index in range(size):
        _, question, reference, _ = _question(index)
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": reference}]
        yield ChatRow(id=f"bfcl-{index:04d}", messages=messages, source="bfcl", group=str(index % 40))


def _samples() -> dict[str, Any]:
    rows = []
    for index in range(3):
        _, question, reference, _ = _question(index)
        prompt = "<|im_start|>system\nYou may call these functions: </script><b>bold</b>\n" + "x y " * 260 * (
            index == 2
        )
        prompt += f"<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        pieces = [(piece, False) for piece in _pieces(prompt)]
        pieces += [(piece, True) for piece in _pieces(reference + "<|im_end|>")] + [("\n", False)]
        rows.append({"id": f"bfcl-{index:04d}", "pieces": pieces})
    return {"template_sha256": "ef" * 32, "tools_in_template": False, "rows": rows}


def _pieces(text: str) -> list[str]:
    """Cut text into token-like pieces."""
    pieces, start = [], 0
    for end in range(1, len(text) + 1):
        if end == len(text) or text[end] in ' \n<"{:' or end - start > 6:
            pieces.append(text[start:end])
            start = end
    return pieces


def _metrics(steps: int) -> Iterator[dict[str, float]]:
    rng = random.Random(5)
    for step in range(1, steps + 1):
        decay = math.exp(-step / 22)
        warm = min(1.0, step / 10)
        yield {
            "step": step,
            "loss": 0.12 + 1.4 * decay + rng.gauss(0, 0.05 + 0.15 * decay),
            "learning_rate": 1e-3 * warm * (0.5 + 0.5 * math.cos(math.pi * step / steps)),
            "grad_norm": 0.6 + 3 * decay * rng.random() + 0.3 * rng.random(),
            "entropy": 0.2 + 0.9 * decay + rng.gauss(0, 0.03),
            "accuracy": 0.96 - 0.3 * decay + rng.gauss(0, 0.01),
            "mean_weight": 1.0,
            "tokens": 2701 * step,
            "tokens_per_second": 660 + rng.gauss(0, 25),
            "seconds": 4.02 * step,
        }


if __name__ == "__main__":
    from tunewright.reports.journal import write_journal
    from tunewright.reports.report import write_report

    made = complete_run(Path(sys.argv[1]))
    print(write_report(made), write_journal(made))
