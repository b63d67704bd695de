"""How fast does the `hf` backend answer, against transformers' own `generate` on the same padded batches?

SmolLM2-135M-Instruct, 32 rows of the tour's data, greedy, 32 tokens, the same answers demanded of both sides.
"""

import statistics
import sys

import torch
from transformers import AutoModelForCausalLM

from benchmarks.measure import interleaved, peak_mib, told
from tunewright.backends.hf import HfBackend, plan_batches
from tunewright.backends.protocol import Prompt, Sampling
from tunewright.chat.render import Renderer
from tunewright.models.find import model_folder
from tunewright.models.load import load_model
from tunewright.recipe.sections import BfclSource
from tunewright.sources.dropped import Dropped
from tunewright.sources.read import read_source

ROWS, TOKENS, BATCH, ROUNDS = 32, 32, 32, 3


def main() -> None:
    folder = model_folder("smollm2-135m-instruct")
    renderer = Renderer.from_folder(folder)
    rows = [row for row in read_source(BfclSource(type="bfcl")) if not isinstance(row, Dropped)][: 8 * ROWS : 8]
    prompts = [Prompt(row.id, tuple(renderer.prompt(row.prompt, row.tools))) for row in rows]
    backend = HfBackend(load_model(folder, "float32"), renderer.stop_token_ids, renderer.pad_token_id, BATCH)
    stock = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    answers: dict[str, dict[str, tuple[int, ...]]] = {}

    def ours() -> None:
        found = [c for batch in backend.generate(prompts, Sampling(TOKENS)) for c in batch]
        answers["ours"] = {c.id: c.token_ids for c in found}

    def theirs() -> None:
        answers["theirs"] = _generate(stock, prompts, renderer)

    seconds = interleaved({"tunewright hf backend": ours, "transformers generate": theirs}, ROUNDS)
    for name, values in seconds.items():
        print(f"  {name:<24}{told(values)}")
    medians = [statistics.median(values) for values in seconds.values()]
    same = sum(answers["ours"][p.id] == answers["theirs"][p.id] for p in prompts)
    ratio = medians[1] / medians[0]
    print(f"  ratio {ratio:.2f}x, same answers {same} of {len(prompts)}, peak memory {peak_mib():.0f} MiB")
    if same < len(prompts):
        sys.exit("  the answers differ: the ratio is of different work and holds for nothing")


def _generate(model, prompts: list[Prompt], renderer: Renderer) -> dict[str, tuple[int, ...]]:
    found = {}
    for batch in plan_batches(prompts, BATCH):
        longest = max(len(p.token_ids) for p in batch)
        ids = torch.tensor([[renderer.pad_token_id] * (longest - len(p.token_ids)) + [*p.token_ids] for p in batch])
        mask = torch.tensor([[0] * (longest - len(p.token_ids)) + [1] * len(p.token_ids) for p in batch])
        options = {"max_new_tokens": TOKENS, "do_sample": False, "pad_token_id": renderer.pad_token_id}
        stops = list(renderer.stop_token_ids)
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=mask, eos_token_id=stops, **options)[:, longest:].tolist()
        for prompt, answer in zip(batch, out, strict=True):
            end = next((i for i, token in enumerate(answer) if token in stops), len(answer))
            found[prompt.id] = tuple(answer[:end])
    return found
