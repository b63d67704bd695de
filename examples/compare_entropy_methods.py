"""Which tokens should count: all alike, the doubtful more, or only the fifth with the highest entropy?

The same rows in the same order and the same few steps, three weightings; then the loss on held-out answers, each
method against the first on the same rows. A dozen steps and one seed prove nothing: this shows how one would ask, and
the interval says how little it knows.

    python examples/compare_entropy_methods.py                       under three minutes on two cores
    python examples/compare_entropy_methods.py --steps 2 --limit 3   a quick look
"""

import argparse
import tempfile
import warnings
from pathlib import Path

from tunewright import EntropyConfig, RunContext, sft
from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.files import write_jsonl
from tunewright.chat.render import Renderer
from tunewright.models.find import model_folder
from tunewright.models.load import load_model
from tunewright.models.precision import resolve_precision
from tunewright.models.token_entropy import analyse_rows
from tunewright.recipe.sections import BfclSource, SftSection
from tunewright.sources.read import read_source
from tunewright.stages.data.split import held_out_groups
from tunewright.stats.intervals import mean_interval

SEED, MAX_TOKENS = 7, 230
METHODS = {
    "all tokens alike": EntropyConfig(type="none"),
    "linear in entropy": EntropyConfig(type="linear", floor=0.2),
    "top 20% of entropy": EntropyConfig(type="top_quantile", quantile=0.2),
}

warnings.simplefilter("ignore", FutureWarning)  # PEFT still uses an old name of transformers

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--limit", type=int, default=12, help="held-out rows")
parser.add_argument("--model", default="smollm2-135m-instruct", help="alias, folder, GGUF file or hub id")
options = parser.parse_args()

folder = model_folder(options.model)
renderer = Renderer.from_folder(folder)
precision = resolve_precision("auto")

# ── rows: short ones, split by function ─────────────────────────────────────────────────────────────────────────────
rows = [row for row in read_source(BfclSource(type="bfcl")) if isinstance(row, ChatRow)]
rows = [row for row in rows if len(renderer.conversation(row.messages, row.tools).token_ids) <= MAX_TOKENS]
groups = held_out_groups([row.group for row in rows], options.limit, SEED)
train = [row for row in rows if row.group not in groups]
held_out = [row for row in rows if row.group in groups][: options.limit]


# ── one method: train, then read the held-out answers ───────────────────────────────────────────────────────────────
def held_out_nll(weighting: EntropyConfig, out: Path) -> list[float]:
    """The mean NLL of each held-out answer, unweighted whatever it was trained with."""
    write_jsonl(out / "train.jsonl", (row.model_dump(mode="json") for row in train))
    section = SftSection(
        model=options.model, rows="data.train", steps=options.steps, batch_size=2, seed=SEED, weighting=weighting
    )
    trained = sft(Rows(path=out / "train.jsonl"), section, out, RunContext(quiet=True))
    model = load_model(folder, precision, trained.adapter)
    answers = ([t.nll for t in row.tokens if t.trained] for row in analyse_rows(model, renderer, held_out))
    return [sum(answer) / len(answer) for answer in answers]


losses = {}
for name, weighting in METHODS.items():
    with tempfile.TemporaryDirectory() as out:
        losses[name] = held_out_nll(weighting, Path(out))

# ── paired by row; rows of one function are drawn together ──────────────────────────────────────────────────────────
print(f"\n{options.steps} steps of 2 rows, {len(held_out)} held-out rows, NLL in nats a token, one seed\n")
print("                       NLL   against the first, 95% interval")
first = next(iter(losses.values()))
for name, loss in losses.items():
    difference = [new - old for new, old in zip(loss, first, strict=True)]
    low, high = mean_interval(difference, [row.group for row in held_out], seed=SEED)
    says = "" if loss is first else f"{sum(difference) / len(difference):+.3f}  ({low:+.3f} to {high:+.3f})"
    print(f"{name:<20}  {sum(loss) / len(loss):.3f}  {says}")
