"""Which tokens should count? Nine weightings on the same rows and steps: what was learned, what was forgotten?

    python -m benchmarks.entropy_quality                     everything: 54 trainings, about 90 s each on two cores
    python -m benchmarks.entropy_quality --seeds 1           a first look; a later call adds the other seeds
    python -m benchmarks.entropy_quality --arms none top20 --labels clean --steps 8 16 32     time to equal score
    python -m benchmarks.entropy_quality --report            only the tables, of what is there
    python -m benchmarks.entropy_quality --quick             one step, few rows: does it run?

Tool calls of BFCL, rows up to 320 tokens, split by function; LoRA adapters on SmolLM2-135M-Instruct as in the tour.
Corrupted labels: a fifth of the training rows answer with the call of another row of their category, or with the values
of their arguments permuted. Test answers are always the clean ones. All arms of a seed see the same rows in the same
order and begin with the same adapters.

    target      held-out answers, teacher-forced: share of rows whose every token is the likeliest one, which is what
                greedy decoding must get exactly right; and NLL a token
    retention   24 chat prompts that have nothing to do with tools: KL(base || tuned) a token along the base model's own
                greedy answers, NLL of these answers, and share of their tokens that stay the likeliest

`none-lr` is plain cross entropy with the learning rate times the mean weight of `linear-raw`: what remains between
these two is not just a smaller step. Under AdamW, which divides by the size of the gradient, it is the stronger of the
two: a constant factor on the loss all but cancels, one on the rate does not.

reads    the model, the rows of `bfcl-eval`
writes   OUT/results.jsonl, one line a training as it ends: a run that was stopped goes on. OUT/base_answers-*.json.
         benchmarks/results/entropy_quality_<device>_<date>.md and .json
"""

import argparse
import math
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.quality_report import NONE, write_report
from benchmarks.report import RESULTS, machine
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.files import JsonlAppender, make_folder, read_json, write_json, write_jsonl
from tunewright.artifacts.fingerprint import fingerprint
from tunewright.backends.hf import HfBackend
from tunewright.backends.protocol import Prompt, Sampling
from tunewright.chat.render import Rendered, Renderer
from tunewright.losses.entropy import token_stats
from tunewright.models.find import model_folder, model_identity
from tunewright.models.load import load_model
from tunewright.models.precision import resolve_precision
from tunewright.progress import clock
from tunewright.recipe.sections import BfclSource, EntropyConfig, SftSection
from tunewright.sources.read import read_source
from tunewright.stages.data.split import held_out_groups
from tunewright.stages.sft.stage import sft

VERSION = 1  # of what is measured: results of another are not continued
BASE, RAW, SCALED = "base", "linear-raw", "none-lr"
ARMS = {
    NONE: EntropyConfig(type="none"),
    "linear-mean1": EntropyConfig(type="linear", normalize="mean1"),
    RAW: EntropyConfig(type="linear", normalize="none"),
    SCALED: EntropyConfig(type="none"),
    "exponential": EntropyConfig(type="exponential"),
    "sigmoid": EntropyConfig(type="sigmoid"),
    "top20": EntropyConfig(type="top_quantile", quantile=0.2),
    "drop-top20": EntropyConfig(type="drop_top_quantile", quantile=0.2),
    "dft": EntropyConfig(type="dft"),
}
LABELS = ("clean", "corrupted")
TOKENS_A_SECOND = {"train": 250, "read": 700}  # on two cores, for the first estimate only

CHAT_PROMPTS = (
    "What is the capital of Australia?",
    "Why is the sky blue? Answer in two sentences.",
    "Write a haiku about autumn rain.",
    "Explain what a prime number is to a ten-year-old.",
    "List three ways to save water at home.",
    "Translate into French: Good morning, how are you?",
    "What is the difference between weather and climate?",
    "Tell me a short story about a lost cat.",
    "How do I boil an egg so that the yolk stays soft?",
    "Who wrote Romeo and Juliet, and when?",
    "Give me a synonym for happy and use it in a sentence.",
    "What does photosynthesis do?",
    "Summarize in one sentence: The cat sat on the mat all day and watched the birds outside.",
    "What are the three states of matter?",
    "Write a polite email that declines a meeting on Friday.",
    "How many days are there in a leap year, and why?",
    "Name two advantages of riding a bicycle to work.",
    "Finish this sentence: The best thing about learning a language is",
    "What is gravity?",
    "Correct the grammar: She don't like apples.",
    "Give me a title for a talk about healthy sleep.",
    "What happened in the year 1969 on the Moon?",
    "Write a Python function that adds two numbers.",
    "I feel nervous before exams. What can I do?",
)


@dataclass(frozen=True)
class Settings:
    """What a result depends on, beside its arm, seed and labels."""

    model: str = "smollm2-135m-instruct"
    steps: int = 32
    batch_size: int = 2
    learning_rate: float = 1e-3
    max_tokens: int = 320
    test_rows: int = 48
    prompts: int = len(CHAT_PROMPTS)
    answer_tokens: int = 48
    corrupted_share: float = 0.2
    split_seed: int = 7

    def key(self) -> dict[str, Any]:
        """All of it, with the bytes of the model and the arithmetic."""
        identity, precision = model_identity(self.model), resolve_precision("auto")
        return {**asdict(self), "model": identity, "precision": precision, "version": VERSION}


class Cell(NamedTuple):
    """One training."""

    arm: str
    seed: int
    labels: str


def plan(arms: Sequence[str], seeds: int, labels: Sequence[str]) -> list[Cell]:
    """Return all trainings; the first seed of every arm first, so that whatever is there can be compared."""
    return [Cell(arm, seed, kind) for seed in range(1, seeds + 1) for kind in labels for arm in ARMS if arm in arms]


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_rows(settings: Settings, renderer: Renderer) -> tuple[list[ChatRow], list[ChatRow]]:
    """Return rows to train on and rows to test, which share no function."""
    rows = [row for row in read_source(BfclSource(type="bfcl")) if isinstance(row, ChatRow)]
    rows = [row for row in rows if len(renderer.conversation(row.messages, row.tools).token_ids) <= settings.max_tokens]
    held_out = held_out_groups([row.group for row in rows], settings.test_rows, settings.split_seed)
    test = [row for row in rows if row.group in held_out][: settings.test_rows]
    return [row for row in rows if row.group not in held_out], test


def corrupted(rows: Sequence[ChatRow], share: float, seed: int) -> list[ChatRow]:
    """Return the rows with wrong answers in a share of them: half permuted arguments, half calls of other rows."""
    rng = random.Random(f"{seed}:labels")
    chosen = set(rng.sample(range(len(rows)), round(share * len(rows))))
    return [_with_wrong_call(row, rows, rng) if place in chosen else row for place, row in enumerate(rows)]


def _with_wrong_call(row: ChatRow, rows: Sequence[ChatRow], rng: random.Random) -> ChatRow:
    wrong = _permuted(_call(row)) if rng.random() < 0.5 else None
    if wrong is None:
        kind = row.meta["category"]
        wrong = _call(rng.choice([r for r in rows if r.meta["category"] == kind and _call(r) != _call(row)]))
    answer = {**row.answer, "tool_calls": [{"type": "function", "function": wrong}]}
    return row.model_copy(update={"messages": [*row.prompt, answer]})


def _call(row: ChatRow) -> dict[str, Any]:
    return row.answer["tool_calls"][0]["function"]


def _permuted(call: dict[str, Any]) -> dict[str, Any] | None:
    """Every argument takes the value of the next; None where that changes nothing."""
    names, values = list(call["arguments"]), list(call["arguments"].values())
    moved = dict(zip(names, values[1:] + values[:1], strict=True))
    return {**call, "arguments": moved} if moved != call["arguments"] else None


# ── scores ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@torch.inference_mode()
def target_scores(model: Any, rows: Sequence[Rendered]) -> dict[str, list[float]]:
    """Return of each answer whether all its tokens are the likeliest, and its NLL a token in nats."""
    scores: dict[str, list[float]] = {"exact": [], "nll": []}
    for row in rows:
        first = row.trained.index(True)
        logits_TV = _logits(model, row.token_ids, first)
        trained = torch.tensor(row.trained[first:])
        stats = token_stats(logits_TV[trained], torch.tensor(row.token_ids[first:])[trained])
        scores["exact"].append(float(stats.correct.all()))
        scores["nll"].append(float(stats.nll.mean()))
    return scores


def _logits(model: Any, token_ids: Sequence[int], first: int) -> Tensor:
    """Return the float32 logits that predict the tokens from `first` on, on the CPU; [T, V]."""
    ids = torch.tensor([token_ids], device=model.device)
    kept = len(token_ids) - first + 1
    return model(input_ids=ids, logits_to_keep=kept, use_cache=False).logits[0, :-1].float().cpu()


@dataclass(frozen=True)
class Memory:
    """What the base model said to a prompt, and with which probabilities.

    Attributes:
        prompt: its text.
        token_ids: prompt and answer.
        first: where the answer begins.
        log_probs: [T, V] of the base model at each token of the answer.
    """

    prompt: str
    token_ids: list[int]
    first: int
    log_probs: Tensor


@torch.inference_mode()
def remember(settings: Settings, renderer: Renderer, model: Any, cache: Path) -> list[Memory]:
    """Return the base model's answers to the chat prompts; made once, and kept in the folder `cache`."""
    prompts = {text: renderer.prompt([{"role": "user", "content": text}]) for text in CHAT_PROMPTS[: settings.prompts]}
    made_of = [model_identity(settings.model), resolve_precision("auto"), settings.answer_tokens, list(prompts)]
    path = cache / f"base_answers-{fingerprint(made_of)[:12]}.json"
    if not path.is_file():
        write_json(path, _answers(settings, renderer, prompts))
    memories = []
    for text, answer in read_json(path).items():
        token_ids, first = [*prompts[text], *answer], len(prompts[text])
        if answer:
            memories.append(Memory(text, token_ids, first, _logits(model, token_ids, first).log_softmax(-1)))
    return memories


def _answers(settings: Settings, renderer: Renderer, prompts: dict[str, list[int]]) -> dict[str, list[int]]:
    """With a model of its own: the backend changes how it attends."""
    model = load_model(model_folder(settings.model), resolve_precision("auto"))
    backend = HfBackend(model, renderer.stop_token_ids, renderer.pad_token_id)
    asked, sampling = [Prompt(text, tuple(ids)) for text, ids in prompts.items()], Sampling(settings.answer_tokens)
    found = {c.id: list(c.token_ids) for batch in backend.generate(asked, sampling) for c in batch}
    return {text: found[text] for text in prompts}


@torch.inference_mode()
def retention_scores(model: Any, memories: Sequence[Memory]) -> dict[str, list[float]]:
    """Return of each prompt KL(base || tuned) a token, the NLL of the base's answer, and how much of it stays top."""
    scores: dict[str, list[float]] = {"kl": [], "base_nll": [], "kept": []}
    for memory in memories:
        log_q_TV = _logits(model, memory.token_ids, memory.first).log_softmax(-1)
        answer_T = torch.tensor(memory.token_ids[memory.first :])
        kl_T = (memory.log_probs.exp() * (memory.log_probs - log_q_TV)).sum(-1)
        scores["kl"].append(float(kl_T.mean()))
        scores["base_nll"].append(float(-log_q_TV.gather(-1, answer_T[:, None]).mean()))
        scores["kept"].append(float((log_q_TV.argmax(-1) == answer_T).float().mean()))
    return scores


# ── one training ────────────────────────────────────────────────────────────────────────────────────────────────────


class Bench:
    """Everything that all trainings share, loaded once."""

    def __init__(self, settings: Settings, out: Path):
        self.settings, self.key = settings, settings.key()
        self.folder, self.precision = model_folder(settings.model), resolve_precision("auto")
        self.renderer = Renderer.from_folder(self.folder)
        self.train, self.test = read_rows(settings, self.renderer)
        self.rendered = [self.renderer.conversation(row.messages, row.tools) for row in self.test]
        self.about = machine(getattr(torch, self.precision))
        self.base = load_model(self.folder, self.precision)
        self.memories = remember(settings, self.renderer, self.base, out)

    def seconds(self) -> float:
        """Estimate one training with its scores, before any was run."""
        lengths = [len(row.token_ids) for row in self.rendered]
        trained = self.settings.steps * self.settings.batch_size * sum(lengths) / len(lengths)
        read = sum(lengths) + sum(len(memory.token_ids) for memory in self.memories)
        return trained / TOKENS_A_SECOND["train"] + read / TOKENS_A_SECOND["read"]

    def line(self, cell: Cell, **more: Any) -> dict[str, Any]:
        """Return the head of a result."""
        rows = {"rows": [row.id for row in self.test], "groups": [row.group for row in self.test]}
        prompts = {"prompts": [memory.prompt for memory in self.memories]}
        return {**cell._asdict(), "settings": self.key, "machine": self.about, **rows, **prompts, **more}

    def scores(self, model: Any) -> dict[str, Any]:
        """Return all scores of a model, or only that it has diverged."""
        scores = {**target_scores(model, self.rendered), **retention_scores(model, self.memories)}
        is_finite = all(math.isfinite(value) for column in scores.values() for value in column)
        return scores if is_finite else {"diverged": True}

    def measure_base(self) -> dict[str, Any]:
        """Return the scores before any training."""
        return self.line(Cell(BASE, 0, LABELS[0]), **self.scores(self.base))

    def measure(self, cell: Cell, rate: float) -> dict[str, Any]:
        """Train and score."""
        began = time.perf_counter()
        rows = self.train
        if cell.labels == "corrupted":
            rows = corrupted(rows, self.settings.corrupted_share, cell.seed)
        with tempfile.TemporaryDirectory() as out:
            write_jsonl(Path(out) / "train.jsonl", (row.model_dump(mode="json") for row in rows))
            section = self._section(cell, rate)
            trained = sft(Rows(path=Path(out) / "train.jsonl"), section, Path(out), RunContext(quiet=True))
            steps = trained.metrics()
            model = load_model(self.folder, self.precision, trained.adapter)
        tokens = sum(step["trained_tokens"] for step in steps)
        return self.line(
            cell,
            weighting=section.weighting.resolved().model_dump(exclude_none=True),
            learning_rate=rate,
            mean_weight=sum(step["mean_weight"] * step["trained_tokens"] for step in steps) / tokens,
            trained_tokens=tokens,
            loss=[step["loss"] for step in steps],
            train_seconds=trained.seconds,
            **self.scores(model),
            seconds=time.perf_counter() - began,
        )

    def _section(self, cell: Cell, rate: float) -> SftSection:
        return SftSection(
            model=self.settings.model,
            rows="data.train",
            steps=self.settings.steps,
            batch_size=self.settings.batch_size,
            learning_rate=rate,
            seed=cell.seed,
            weighting=ARMS[cell.arm],
            save_every=10**9,
        )


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


def run(settings: Settings, cells: Sequence[Cell], out: Path) -> None:
    """Measure what is missing in OUT/results.jsonl, a line at a time."""
    with JsonlAppender(make_folder(out) / "results.jsonl") as log:
        key = settings.key()
        done = {_cell(line): line for line in log.existing if line["settings"] == key}
        missing = [cell for cell in cells if cell not in done]
        there = len(cells) - len(missing)
        print(f"  {len(cells)} trainings of {settings.steps} steps, {there} of them are there", flush=True)
        if not missing:
            return
        bench = Bench(settings, out)
        if not any(cell.arm == BASE for cell in done):
            log.append([bench.measure_base()])
        seconds: list[float] = []
        for left, cell in zip(range(len(missing), 0, -1), missing, strict=True):
            each = sum(seconds) / len(seconds) if seconds else bench.seconds()
            head = f"  {clock(left * each):>13} left  {cell.labels:<10} seed {cell.seed}  {cell.arm:<13}"
            print(head, end="", flush=True)
            rate = settings.learning_rate
            if cell.arm == SCALED:
                rate *= done[cell._replace(arm=RAW)]["mean_weight"]
            line = done[cell] = bench.measure(cell, rate)
            log.append([line])
            seconds.append(line["seconds"])
            print(told(line), flush=True)


def told(line: dict[str, Any]) -> str:
    """Return a result in one line."""
    if line.get("diverged"):
        return "diverged"
    exact, nll, kl = (sum(line[name]) / len(line[name]) for name in ("exact", "nll", "kl"))
    return f"exact {exact:5.1%}  NLL {nll:.3f}  KL to base {kl:.3f}  in {clock(line['seconds'])}"


def results(out: Path, settings: Settings) -> list[dict[str, Any]]:
    """Return the lines of these settings."""
    with JsonlAppender(out / "results.jsonl") as log:
        return [line for line in log.existing if line["settings"] == settings.key()]


def _cell(line: dict[str, Any]) -> Cell:
    return Cell(line["arm"], line["seed"], line["labels"])


def main(arguments: Sequence[str] = ()) -> None:
    options = _options(arguments)
    warnings.simplefilter("ignore", FutureWarning)
    settings = Settings(model=options.model)
    if options.quick:
        settings = replace(settings, test_rows=2, prompts=2, answer_tokens=4)
    budgets = [replace(settings, steps=steps) for steps in sorted([1] if options.quick else options.steps)]
    for budget in [] if options.report else budgets:
        run(budget, plan(options.arms, options.seeds, options.labels), options.out)
    found = [lines for budget in budgets if (lines := results(options.out, budget))]
    if not found:
        print(f"  no results of these settings in {options.out}")
        return
    text, path = write_report(found, options.out if options.quick else RESULTS)
    print(f"{text}\n  written to {path}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.entropy_quality", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[Settings.steps], help="steps of a training, or several"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), help="which weightings")
    parser.add_argument("--labels", nargs="+", default=list(LABELS), choices=LABELS, help="which labels")
    parser.add_argument("--out", type=Path, default=Path("runs") / "entropy_quality", help="where results are kept")
    parser.add_argument("--model", default=Settings.model)
    parser.add_argument("--report", action="store_true", help="measure nothing; tables of what is there")
    parser.add_argument("--quick", action="store_true", help="one step, two rows, two prompts; the report stays in OUT")
    options = parser.parse_args(list(arguments))
    if SCALED in options.arms and RAW not in options.arms:
        parser.error(f"{SCALED} takes its learning rate from {RAW}: name both")
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
