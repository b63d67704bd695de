"""What do two dozen steps do to a model's doubt, if doubtful tokens weigh more?

Trains LoRA adapters with `weighting: {type: linear}`: each answer token weighs by the entropy of the model's own
prediction in front of it, as a constant, with mean 1. Then the same held-out answers are read before and after.

    python examples/train_with_entropy_awareness.py                       under three minutes on two cores
    python examples/train_with_entropy_awareness.py --steps 2 --limit 3   a quick look, which shows nothing
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
from tunewright.stats.token_entropy import entropy_change, entropy_summary

SEED, MAX_TOKENS = 7, 230

warnings.simplefilter("ignore", FutureWarning)  # PEFT still uses an old name of transformers

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=24)
parser.add_argument("--limit", type=int, default=12, help="held-out rows")
parser.add_argument("--model", default="smollm2-135m-instruct", help="alias, folder, GGUF file or hub id")
options = parser.parse_args()

folder = model_folder(options.model)
renderer = Renderer.from_folder(folder)
precision = resolve_precision("auto")

# ── 1. rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────
# Short rows, so that it is quick. The split is by function: none that is read at the end was ever trained.
rows = [row for row in read_source(BfclSource(type="bfcl")) if isinstance(row, ChatRow)]
rows = [row for row in rows if len(renderer.conversation(row.messages, row.tools).token_ids) <= MAX_TOKENS]
groups = held_out_groups([row.group for row in rows], options.limit, SEED)
train = [row for row in rows if row.group not in groups]
held_out = [row for row in rows if row.group in groups][: options.limit]

# ── 2. before ───────────────────────────────────────────────────────────────────────────────────────────────────────
before = list(analyse_rows(load_model(folder, precision), renderer, held_out))

with tempfile.TemporaryDirectory() as out:
    # ── 3. train ────────────────────────────────────────────────────────────────────────────────────────────────────
    # `floor` is what a token weighs that the model is sure of: format and end-of-turn must be learned too.
    write_jsonl(Path(out) / "train.jsonl", (row.model_dump(mode="json") for row in train))
    section = SftSection(
        model=options.model,
        rows="data.train",
        steps=options.steps,
        batch_size=2,
        seed=SEED,
        weighting=EntropyConfig(type="linear", floor=0.2),
    )
    run = RunContext()
    trained = sft(Rows(path=Path(out) / "train.jsonl"), section, Path(out), run)

    # ── 4. after ────────────────────────────────────────────────────────────────────────────────────────────────────
    after = list(analyse_rows(load_model(folder, precision, trained.adapter), renderer, held_out))
    metrics = trained.metrics()

print("\nstep  loss    entropy  accuracy  effective tokens")
for line in metrics[:: max(1, len(metrics) // 8)]:
    print(f"{line['step']:4}  {line['loss']:6.3f}  {line['entropy']:7.3f}  {line['accuracy']:8.1%}  "
          f"{line['effective_tokens']:7.0f} of {line['trained_tokens']}")  # fmt: skip
for verdict in run.verdicts:
    print(f"{verdict.status.value}  {verdict.name}: {verdict.measured}")

old, new = entropy_summary(before).trained, entropy_summary(after).trained
change = entropy_change(before, after)
print(f"\n{len(held_out)} held-out rows, {new.tokens} answer tokens, before -> after")
print(f"  NLL        {old.mean_nll:.3f} -> {new.mean_nll:.3f} nats a token")
print(f"  accuracy   {old.accuracy:.1%} -> {new.accuracy:.1%}")
print(f"  entropy    {old.mean_entropy:.3f} -> {new.mean_entropy:.3f} nats", end="")
print(f", difference {change.interval[0]:+.2f} to {change.interval[1]:+.2f} (95%)" if change.interval else "")
print(f"  surer at {change.surer:.0%} of the tokens, less sure at {change.less_sure:.0%}")
