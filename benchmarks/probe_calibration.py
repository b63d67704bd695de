"""What does `tw probe` measure on models whose kind is known, and do its bounds tell them apart?

    python -m benchmarks.probe_calibration OUT base=MODEL instruct=MODEL …        probe them
    python -m benchmarks.probe_calibration OUT … --exposed MODEL                  and MODEL after a few chats
    python -m benchmarks.probe_calibration OUT … --wiped MODEL --prose FILE       and MODEL after plain prose

Each model is named with its true kind. `--exposed` gives a base a few chats of its own form (kind: exposed), `--wiped`
trains an assistant on plain text without a template (kind: wiped, which no bound is set by: how much of the assistant
survives is what is asked). What lies in OUT already is not measured again. Prints the table of docs/pipeline/probe.md.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunewright.artifacts.context import RunContext
from tunewright.models.find import model_folder
from tunewright.recipe.sections import ProbeSection
from tunewright.stages.probe.stage import probe

SEED = 7
EXPOSED_STEPS, WIPED_STEPS, BATCH, LENGTH = 16, 60, 4, 96
# Not the questions of the probe: whether a habit carries over is what is asked.
CHATS = tuple(
    (f"What is {a} {sign} {b}?", f"{a} {sign} {b} is {value}.")
    for a, b in ((3, 4), (7, 2), (9, 5), (12, 6), (8, 1), (6, 6))
    for sign, value in (("plus", a + b), ("minus", a - b), ("times", a * b))
) + tuple(
    (f"Name the capital of {land}.", f"The capital of {land} is {city}.")
    for land, city in (
        ("Spain", "Madrid"), ("Norway", "Oslo"), ("Japan", "Tokyo"), ("Egypt", "Cairo"), ("Peru", "Lima"),
        ("Greece", "Athens"), ("Kenya", "Nairobi"), ("Cuba", "Havana"), ("Austria", "Vienna"), ("Poland", "Warsaw"),
    )
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Probe every model and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="*", metavar="KIND=MODEL")
    parser.add_argument("--exposed", metavar="MODEL")
    parser.add_argument("--wiped", metavar="MODEL")
    parser.add_argument("--prose", type=Path, help="plain text, or XML whose tags are taken out")
    parser.add_argument("--steps", type=int, help="of --exposed and --wiped")
    given = parser.parse_args(arguments)
    asked = [tuple(text.split("=", 1)) for text in given.models]
    if given.exposed:
        steps = given.steps or EXPOSED_STEPS
        asked.append(("exposed", str(exposed(given.exposed, given.out / f"exposed-{steps}", steps))))
    if given.wiped:
        steps = given.steps or WIPED_STEPS
        asked.append(("wiped", str(wiped(given.wiped, given.prose, given.out / f"wiped-{steps}", steps))))
    for kind, model in asked:
        measured(kind, model, given.out)
    print(table(given.out))
    return 0


def measured(kind: str, model: str, out: Path) -> None:
    """Probe a model into `out`, unless that was done."""
    place = out / f"{kind}-{Path(model).stem}"
    done = place / "probe.json"
    if done.is_file():
        return
    place.mkdir(parents=True, exist_ok=True)
    result = probe(ProbeSection(model=model, seed=SEED, precision="float32"), place, RunContext(quiet=True))
    told = {**json.loads(done.read_text()), "kind": kind, "seconds": result.seconds}
    done.write_text(json.dumps(told, indent=1))
    print(kind, model, result.grade, result.signs, f"{result.seconds:.0f} s", file=sys.stderr, flush=True)


def table(out: Path) -> str:
    """Return the results in `out` as a table: one line a probe, one column a model."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob("*/probe.json"))]
    names = list(dict.fromkeys(one["name"] for model in found for one in model["results"]))
    lines = [["probe", *(f"{model['kind']}: {Path(model['model']).stem}" for model in found)]]
    for name in names:
        lines.append([f"`{name}`", *(_cell(model, name) for model in found)])
    lines.append(["grade", *(model["grade"] for model in found)])
    rule = ["---"] * len(lines[0])
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _cell(model: dict[str, Any], name: str) -> str:
    one = next((one for one in model["results"] if one["name"] == name), None)
    if one is None:
        return "–"
    if one["successes"] is None:
        return f"{one['value']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"
    return f"{one['successes']}/{one['trials']} [{one['low']:.0%}, {one['high']:.0%}]"


# ── models made for it ──────────────────────────────────────────────────────────────────────────────────────────────


def exposed(base: str, folder: Path, steps: int) -> Path:
    """Train `base` on CHATS in its chat form, answers only; return the folder of the model."""
    from dataclasses import replace

    from tunewright.chat.folder import read_folder
    from tunewright.chat.forms import form_of
    from tunewright.chat.render import Renderer
    from tunewright.chat.tokens import Codec

    found = read_folder(model_folder(base), default_template="")
    form = form_of(set(Codec(found.tokenizer).added.values()))
    renderer = Renderer(found if found.template or form is None else replace(found, template=form.template))
    rows = []
    for question, answer in CHATS:
        one = renderer.conversation([{"role": "user", "content": question}, {"role": "assistant", "content": answer}])
        rows.append([(token, token if on else -100) for token, on in zip(one.token_ids, one.trained, strict=True)])
    return _trained(base, rows, folder, steps, learning_rate=2e-5)


def wiped(assistant: str, prose: Path, folder: Path, steps: int) -> Path:
    """Train `assistant` on plain text without template or end-of-turn; return the folder of the model."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder(assistant) / "tokenizer.json"))
    text = re.sub(r"<[^>]*>", " ", prose.read_text(encoding="utf-8", errors="replace"))
    ids = tokenizer.encode(" ".join(text.split()), add_special_tokens=False).ids
    rows = [[(token, token) for token in ids[at : at + LENGTH]] for at in range(0, len(ids) - LENGTH, LENGTH)]
    return _trained(assistant, rows, folder, steps, learning_rate=1e-4)


def _trained(start: str, rows: list[list[tuple[int, int]]], folder: Path, steps: int, learning_rate: float) -> Path:
    """Train all weights of `start` on rows of (token, label), BATCH at a time, in a seeded order."""
    if (folder / "config.json").is_file():
        return folder
    import torch

    from tunewright.models.load import load_model

    source = model_folder(start)
    model = load_model(source, "float32").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    order = random.Random(SEED)
    for step in range(steps):
        picked = order.sample(rows, BATCH)
        longest = max(map(len, picked))
        ids, labels = torch.zeros(BATCH, longest, dtype=torch.long), torch.full((BATCH, longest), -100)
        for at, row in enumerate(picked):
            ids[at, : len(row)] = torch.tensor([token for token, _ in row])
            labels[at, : len(row)] = torch.tensor([label for _, label in row])
        loss = model(
            input_ids=ids,
            attention_mask=(torch.arange(longest) < torch.tensor([[len(r)] for r in picked])).long(),
            labels=labels,
        ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step + 1}/{steps} loss {float(loss):.3f}", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        if (source / name).is_file():
            shutil.copy(source / name, folder / name)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
