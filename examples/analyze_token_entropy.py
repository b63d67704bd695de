"""Where does a small model hesitate when it should call a tool?

Reads a few right answers token by token, as training would, and shows in front of which tokens the model was unsure.
`tw entropy smollm2-135m-instruct bfcl` draws the same as a page.

    python examples/analyze_token_entropy.py           half a minute on two cores
"""

import argparse
from itertools import islice

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.render import Renderer
from tunewright.models.find import model_folder
from tunewright.models.load import load_model
from tunewright.models.precision import resolve_precision
from tunewright.models.token_entropy import analyse_rows
from tunewright.recipe.sections import BfclSource
from tunewright.sources.read import read_source
from tunewright.stats.token_entropy import entropy_summary

MODEL = "smollm2-135m-instruct"

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--limit", type=int, default=12, help="how many rows")
limit = parser.parse_args().limit

# Questions, the tools that may answer them, and the right call.
rows = list(islice((row for row in read_source(BfclSource(type="bfcl")) if isinstance(row, ChatRow)), limit))

# The whole next-token distribution in front of each token, with the true text before it.
folder = model_folder(MODEL)
model = load_model(folder, resolve_precision("auto"))
analysed = list(analyse_rows(model, Renderer.from_folder(folder), rows))

# One answer, a token a line: the bar is its entropy, and beside it stands what the model would rather have said.
print(f"the answer of row {analysed[0].id}, one # is a quarter of a nat:\n")
for token in analysed[0].tokens:
    if token.trained:
        rather = "" if token.rank == 1 else f"rather {token.top[0][0]!r} ({token.top[0][1]:.0%})"
        print(f"  {token.text!r:>16}  {token.entropy:5.2f}  {'#' * round(4 * token.entropy):<20}  {rather}")

# All answers together: how much of the loss lies where the model hesitates, and at which tokens it does.
summary = entropy_summary(analysed)
trained = summary.trained
print(f"\n{trained.tokens} answer tokens in {summary.rows} rows: mean entropy {trained.mean_entropy:.2f} nats", end="")
print(f" (95% {trained.interval[0]:.2f} to {trained.interval[1]:.2f})" if trained.interval else "", end="")
print(f", median {trained.median_entropy:.2f}; the model's first choice at {trained.accuracy:.0%} of them")
print(f"the least sure fifth of them carries {sum(summary.nll_by_entropy_decile[-2:]):.0%} of the loss")
print("\nforking tokens      seen  mean entropy")
for fork in summary.forks[:8]:
    print(f"  {fork.text!r:>16}  {fork.tokens:4}  {fork.mean_entropy:12.2f}")
