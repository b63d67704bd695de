"""The stack drill: the user's own versions of TRL, transformers, PEFT and torch, tried in seconds on a tiny twin.

reads    config.json of the model of each `sft` section; no weights
writes   nothing that stays: a tiny model, its checkpoints and its merge, in a folder that goes away
makes    measurements, and the verdicts of `gates/stack.py` on them

The parts that measure take what they measure as arguments, so a test can hand them a broken one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tunewright.artifacts.rundir import RUNS
from tunewright.artifacts.verdict import Verdict
from tunewright.errors import MissingExtra, ModelError
from tunewright.gates.stack import (
    Step,
    accumulation_invariant,
    checkpoint_room,
    merge_round_trips,
    not_drilled,
    resume_exact,
    rows_do_not_mix,
    weight_one_is_stock,
)
from tunewright.models.find import tokenizer_folder
from tunewright.progress import task
from tunewright.recipe.sections import EntropyConfig, Recipe, SftSection
from tunewright.stages.sft.trackers import require_trackers

ROWS_A_STEP = 4
SPLITS = ((4, 1), (2, 2), (1, 4))  # rows in a forward pass x forward passes in a step
STEPS, SAVED_AT = 4, 2
SHARED_TOKENS = 10  # all rows begin alike, as rows with one system turn do; packing computes it once
IGNORED = -100
BYTES_A_TRAINED = 12  # a checkpoint has the adapter in float32 and AdamW's two moments
FIXED_BYTES = 1 << 20  # schedule, random states, trainer_state.json

Example = dict[str, list[Any]]
Trainers = Callable[[SftSection, int, Path], Any]
"""section, steps, folder -> a trainer on the drill's rows"""


Known = dict[tuple[str, str], list[Verdict]]
_known: Known = {}  # of this process: its libraries do not change, and so the answer does not


def check_stack(recipe: Recipe, root: Path = RUNS, known: Known = _known) -> list[Verdict]:
    """Drill the stack for every `sft` section that differs from those before it in what the drill looks at.

    Args:
        recipe: what will be run.
        root: where its run folder will be; only its free space is looked at.
        known: what earlier drills found.

    Raises:
        MissingExtra: torch, transformers, TRL or PEFT is not installed. EnvironmentProblem: the library of a tracker
            is not. ModelError: the model is not there.
    """
    verdicts: list[Verdict] = []
    seen = set()
    for _, section in recipe.stages:
        if not isinstance(section, SftSection):
            continue
        require_trackers(section)
        key = (section.model, section.lora)
        if key not in seen:
            seen.add(key)
            verdicts += drill(tokenizer_folder(str(section.model)), section, root, known)
    return verdicts


def drill(folder: Path, section: SftSection, root: Path = RUNS, known: Known | None = None) -> list[Verdict]:
    """Return the verdicts on one section's stack.

    Args:
        folder: has the model's `config.json`.
        section: whose adapters are trained, at small rank.
        root: where checkpoints will lie.
        known: what earlier drills found, by configuration and section; takes what this one finds.
    """
    from tunewright.models.tiny import write_tiny_twin
    from tunewright.stages.sft.stage import quiet_libraries

    quiet_libraries()
    with tempfile.TemporaryDirectory(prefix="tunewright-drill-") as name, warnings.catch_warnings(), _frozen():
        warnings.simplefilter("ignore")
        out = Path(name)
        try:
            room = checkpoint_room(*room_for(folder, section, root))
            known, key = {} if known is None else known, _drilled_alike(folder, section)
            if key not in known:
                with task("drilling the installed libraries", 1) as bar:
                    known[key] = drill_steps(write_tiny_twin(folder, out / "tiny"), small(section), out)
                    bar.advance()
            return [*known[key], room]
        except ImportError as error:
            raise MissingExtra.of(error, "train") from None
        except ModelError as error:
            return [not_drilled(error.seen)]
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            # The twin has widths that nobody tried before: what breaks on it says nothing of the model itself.
            told = str(error).splitlines()[0] if str(error) else ""
            return [not_drilled(f"the tiny twin does not train: {type(error).__name__}: {told}")]


def _drilled_alike(folder: Path, section: SftSection) -> tuple[str, str]:
    """Return what a drill depends on besides the libraries."""
    config = (folder / "config.json").read_text(encoding="utf-8")
    return config, small(section).model_copy(update={"id": "", "model": None, "rows": ""}).model_dump_json()


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """Keep what is loaded already out of garbage collection: accelerate collects after each training, 0.7 s a time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def drill_steps(tiny: Path, section: SftSection, out: Path) -> list[Verdict]:
    """Return the verdicts on a tiny model: five short trainings, and a merge."""

    def ours(chosen: SftSection, steps: int, place: Path) -> Any:
        return our_trainer(tiny, chosen, steps, place)

    def stock(chosen: SftSection, steps: int, place: Path) -> Any:
        return their_trainer(tiny, chosen, steps, place)

    whole = ours(section, STEPS, out / "whole")
    steps = steps_of(whole, save=True)
    resumed = resumed_losses(ours, section, out)
    return [
        weight_one_is_stock(steps, steps_of(stock(section, STEPS, out / "stock")), whole.head_used),
        accumulation_invariant(split_steps(ours, section, out)),
        rows_do_not_mix(*layouts(tiny, ours(section, STEPS, out / "rows"))),
        resume_exact([loss for loss, _ in steps[SAVED_AT:]], resumed),
        merge_round_trips(*merged_logits(tiny, section, out)),
    ]


# ── what is trained ─────────────────────────────────────────────────────────────────────────────────────────────────


def small(section: SftSection) -> SftSection:
    """Return the section as it is drilled: its targets and schedule, plain weights, a few steps, a small rank."""
    return section.model_copy(
        update={
            "batch_size": SPLITS[1][0],
            "gradient_accumulation": SPLITS[1][1],
            "steps": STEPS,
            "epochs": None,
            "warmup": 0.0,
            "learning_rate": 1e-3,
            "weighting": EntropyConfig(type="none").resolved(),
            "lora": section.lora.model_copy(update={"rank": 4, "alpha": 8, "dropout": 0.0, "lr_ratio": 1.0}),
            "save_every": SAVED_AT,
            "log_every": 1,
            "trackers": (),
            "seed": 0,
        }
    )


def rows(count: int) -> list[Example]:
    """Return rows of 14 to 44 tokens of which 2 to 24 are trained: micro-batches then differ in what they count."""
    random = Random(0)
    start = [random.randrange(3, 250) for _ in range(SHARED_TOKENS)]
    made = []
    for number in range(count):
        prompt = [random.randrange(3, 250) for _ in range(2 + number % 5 * 2)]
        answer = [random.randrange(3, 250) for _ in range(2 + 11 * (number % 3))]
        labels = [IGNORED] * (SHARED_TOKENS + len(prompt)) + answer
        made.append({"input_ids": start + prompt + answer, "labels": labels})
    return made


def our_trainer(tiny: Path, section: SftSection, steps: int, out: Path) -> Any:
    """Return the trainer of stage `sft` on the tiny model."""
    from transformers import AutoTokenizer

    from tunewright.models.load import load_model
    from tunewright.stages.sft.trainer import make_trainer

    model, tokenizer = load_model(tiny, "float32"), AutoTokenizer.from_pretrained(str(tiny))
    return make_trainer(model, tokenizer, rows(STEPS * ROWS_A_STEP), section, steps, out, "float32")


def their_trainer(tiny: Path, section: SftSection, steps: int, out: Path) -> Any:
    """Return TRL's own trainer on the same rows in the same order."""
    from transformers import AutoTokenizer

    from tunewright.models.load import load_model
    from tunewright.stages.check.trainer import stock_trainer

    model, tokenizer = load_model(tiny, "float32"), AutoTokenizer.from_pretrained(str(tiny))
    return stock_trainer(model, tokenizer, rows(STEPS * ROWS_A_STEP), section, steps, out)


# ── what is measured ────────────────────────────────────────────────────────────────────────────────────────────────


def steps_of(trainer: Any, resume: Path | None = None, save: bool = False) -> list[Step]:
    """Train; return loss and gradient norm of every step that was trained."""
    trainer.args.save_total_limit = None  # it says on stderr how it sorts what it removes
    if not save:
        trainer.args.save_strategy = "no"
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    start = int(resume.name.rsplit("-", 1)[1]) if resume else 0
    logged = [row for row in trainer.state.log_history if "loss" in row and row["step"] > start]
    return [(float(row["loss"]), float(row["grad_norm"])) for row in logged]


def split_steps(trainers: Trainers, section: SftSection, out: Path) -> dict[str, Step]:
    """Return loss and gradient norm of the first step, its rows in other micro-batches each time."""
    found = {}
    for size, times in SPLITS:
        chosen = section.model_copy(update={"batch_size": size, "gradient_accumulation": times})
        found[f"{size} x {times}"] = steps_of(trainers(chosen, 1, out / f"split-{size}"))[0]
    return found


def resumed_losses(trainers: Trainers, section: SftSection, out: Path) -> list[float]:
    """Return the losses after the checkpoint that the training in `out/whole` left, by a trainer that loads it."""
    place = out / "resumed"
    place.mkdir(parents=True, exist_ok=True)
    saved = out / "whole" / "checkpoints" / f"checkpoint-{SAVED_AT}"
    return [loss for loss, _ in steps_of(trainers(section, STEPS, place), resume=saved)]


def layouts(tiny: Path, trainer: Any) -> tuple[float, dict[str, float]]:
    """Return mean -log p of the drill's rows: each alone, and all in one batch by each layout.

    Args:
        tiny: the model's folder; alone and padded are measured with transformers' own code.
        trainer: an untrained trainer, whose adapter changes nothing yet.
    """
    from tunewright.models.load import load_model

    model, examples = load_model(tiny, "float32"), rows(ROWS_A_STEP * 2)
    alone = _mean([_nlls(model, [example]) for example in examples])
    together = {"padded on the right": _mean([_nlls(model, examples)])}
    trainer.args.per_device_train_batch_size = len(examples)
    packed = "packed_lengths" in trainer.data_collator(examples)
    together["packed" if packed else "padded by the trainer"] = trainer.mean_nll(examples)
    return alone, together


def _nlls(model: Any, examples: Sequence[Example]) -> list[float]:
    """Return -log p of every trained token of a batch that is padded on the right, in float64."""
    import torch

    width = max(len(example["input_ids"]) for example in examples)
    ids, mask, labels = (
        torch.tensor([list(example[name]) + [filler] * (width - len(example[name])) for example in batch])
        for batch, name, filler in (
            (examples, "input_ids", 0),
            ([{"mask": [1] * len(example["input_ids"])} for example in examples], "mask", 0),
            (examples, "labels", IGNORED),
        )
    )
    ids, mask, labels = (tensor.to(model.device) for tensor in (ids, mask, labels))
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].double()
    targets = labels[:, 1:]
    kept = targets != IGNORED
    nll = -logits.log_softmax(-1)[kept].gather(1, targets[kept][:, None])[:, 0]
    return [float(value) for value in nll]


def _mean(parts: Sequence[Sequence[float]]) -> float:
    values = [value for part in parts for value in part]
    return sum(values) / len(values)


def merged_logits(
    tiny: Path, section: SftSection, out: Path, merge: Callable[[Any], Any] = lambda tuned: tuned.merge_and_unload()
) -> tuple[float, float, float]:
    """Return what an adapter of random weights does to the logits, and how far a merge is off before and after a save.

    Args:
        tiny: the model's folder.
        section: whose targets are adapted.
        out: the merged model is saved below it.
        merge: PEFT model to merged model.

    Returns:
        Largest absolute differences of a logit: adapter to base, merged to adapter, loaded to adapter.
    """
    import torch
    from peft import get_peft_model

    from tunewright.models.load import load_model
    from tunewright.stages.sft.trainer import _lora

    model = load_model(tiny, "float32")
    ids = torch.tensor([rows(5)[4]["input_ids"]], device=model.device)
    with torch.no_grad():
        base = model(input_ids=ids).logits
        tuned = get_peft_model(model, _lora(section)).eval()
        generator = torch.Generator().manual_seed(0)
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
        adapted = tuned(input_ids=ids).logits
        merged_model = merge(tuned)
        merged = merged_model(input_ids=ids).logits
        merged_model.save_pretrained(str(out / "merged"))
        shutil.copy(tiny / "tokenizer.json", out / "merged" / "tokenizer.json")
        loaded = load_model(out / "merged", "float32")(input_ids=ids).logits
    return _apart(adapted, base), _apart(merged, adapted), _apart(loaded, adapted)


def _apart(one: Any, other: Any) -> float:
    return float((one - other).abs().max())


# ── room on disk ────────────────────────────────────────────────────────────────────────────────────────────────────


def room_for(folder: Path, section: SftSection, root: Path) -> tuple[int, int, str, int]:
    """Return bytes that training will need at a time, bytes that are free, where, and how many checkpoints that is."""
    from tunewright.stages.sft.trainer import KEPT_CHECKPOINTS

    trained = trained_parameters(folder, section)
    tokenizer = sum(file.stat().st_size for file in folder.glob("tokenizer*"))
    each = BYTES_A_TRAINED * trained + tokenizer + FIXED_BYTES
    place = root.absolute()
    while not place.exists():
        place = place.parent
    number = KEPT_CHECKPOINTS + 1  # an old one goes when the new one is whole
    return number * each + 4 * trained, shutil.disk_usage(place).free, os.path.relpath(place), number


def trained_parameters(folder: Path, section: SftSection) -> int:
    """Return how many weights the adapters of a section have: those of a few layers, by shape, for all layers."""
    import torch
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from tunewright.models.tiny import shallow_config
    from tunewright.stages.sft.trainer import _lora

    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False).get_text_config()
    shallow = shallow_config(config)
    with torch.device("meta"):
        model = get_peft_model(AutoModelForCausalLM.from_config(shallow), _lora(section))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return int(trained * config.num_hidden_layers / shallow.num_hidden_layers)
