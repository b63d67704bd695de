"""What does TRL alone say of each planted fault? It is run on the same model folder and the same rows.

    python -m benchmarks.faults.trl              every fault; writes src/tunewright/faults/trl.json
    python -m benchmarks.faults.trl NAME …       these only; the results of the others stay as they are

Stock `SFTTrainer`, as its documentation shows it: rows from the file by `datasets`, LoRA, `assistant_only_loss`, two
steps; for graders `GRPOTrainer` with the grader's `grade` as its reward. Each fault runs in a process of its own, and
so does its clean twin: what is said of both counts as nothing.

    raises          an exception
    warns           a warning or a logged line of level WARNING that the twin does not bring
    silent          it trained, and said no more than of the twin
    not applicable  TRL has nothing that could see it; the reason stands with the fault

reads    the faults of `tunewright.faults`
writes   trl.json: versions, and fault -> {said, why}, with `versions` where it was measured with others
"""

import json
import logging
import multiprocessing
import os
import re
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tunewright.faults
from tunewright.faults.clean import TWINS
from tunewright.faults.fault import Fault
from tunewright.faults.groups import FAULTS
from tunewright.faults.project import Project, build

RESULTS = Path(tunewright.faults.__file__).parent / "trl.json"
STEPS = 2
SECONDS = 240


def main(names: list[str]) -> int:
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["trl", "datasets", "peft", "torch"])
        twins: dict[tuple[str, str], dict[str, Any]] = {}
        found = kept() if names else {}
        for fault in [fault for fault in FAULTS if not names or fault.name in names]:
            found[fault.name] = measured(fault, Path(folder), context, twins)
            print(f"{fault.name:<40}{found[fault.name]['said']:<16}{found[fault.name]['why'][:140]}", flush=True)
            write(found)
    return 0


def kept() -> dict[str, dict[str, Any]]:
    """Return what was measured before, each fault with the versions of its own run."""
    before = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {name: {"versions": before["versions"], **said} for name, said in before["faults"].items()}


def write(found: dict[str, dict[str, Any]]) -> None:
    """Write what was measured so far, with the versions; a fault that was measured with others keeps its own."""
    versions = {name: version(name) for name in ("trl", "transformers", "peft", "torch", "datasets")}
    known = {}
    for name in (fault.name for fault in FAULTS if fault.name in found):
        said = found[name]
        same = said.get("versions", versions) == versions
        known[name] = {key: value for key, value in said.items() if key != "versions" or not same}
    value = {"versions": versions, "faults": known}
    RESULTS.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def measured(fault: Fault, folder: Path, context: Any, twins: dict[tuple[str, str], dict[str, Any]]) -> dict[str, str]:
    """Return {said, why} of one fault."""
    if fault.trl not in ("sft", "grpo"):
        return {"said": "not applicable", "why": fault.trl}
    key = (fault.shape, fault.trl)
    if key not in twins:
        clean = build(TWINS[fault.shape], folder / f"twin-{fault.shape}-{fault.trl}", folder / "models")
        twins[key] = alone(clean, fault.trl, context)
        if twins[key]["error"]:
            raise RuntimeError(f"TRL does not train the sound twin {key}: {twins[key]['error']}")
    planted = build(TWINS[fault.shape], folder / fault.name, folder / "models")
    fault.plant(planted)
    planted.save()
    return compared(alone(planted, fault.trl, context), twins[key])


def compared(said: dict[str, Any], twin: dict[str, Any]) -> dict[str, str]:
    """Return what a run said beyond its twin."""
    if said["error"]:
        return {"said": "raises", "why": said["error"]}
    usual = {_form(text) for text in twin["warnings"]}
    new = [text for text in dict.fromkeys(said["warnings"]) if _form(text) not in usual]
    return {"said": "warns", "why": " / ".join(new)} if new else {"said": "silent", "why": ""}


def _form(text: str) -> str:
    """Return a warning without its numbers and paths, so that it is known again in another project."""
    return re.sub(r"\d+|/\S+", "#", text)


def alone(project: Project, trainer: str, context: Any) -> dict[str, Any]:
    """Train in a process of its own; return {error, warnings}."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, str(project.folder), project.recipe, trainer))
    process.start()
    theirs.close()
    try:
        found: dict[str, Any] = (
            ours.recv() if ours.poll(SECONDS) else {"error": f"hangs for {SECONDS} s", "warnings": []}
        )
    except EOFError:
        found = {"error": "the process died", "warnings": []}
    process.kill()
    process.join()
    return found


def _child(pipe: Any, folder: str, recipe: dict[str, Any], trainer: str) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    seen = _Seen()
    error = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("", "trl", "transformers", "peft", "datasets", "accelerate"):
            logging.getLogger(name).addHandler(seen)
        try:
            (_sft if trainer == "sft" else _grpo)(Path(folder), recipe)
        except Exception as problem:
            error = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0] if str(problem).strip() else ''}"
    told = [f"{item.category.__name__}: {item.message}" for item in caught if item.category is not DeprecationWarning]
    pipe.send({"error": error, "warnings": [*told, *seen.lines]})


class _Seen(logging.Handler):
    """Keeps what is logged at WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _section(recipe: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((dict(item[kind]) for item in recipe["stages"] if kind in item), {})


def _arguments(folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe's settings by TRL's names; what it has no name for goes in as it is, and it says so."""
    section, names = _section(recipe, "sft"), {
        "batch_size": "per_device_train_batch_size",
        "schedule": "lr_scheduler_type",
        "warmup": "warmup_steps",
        "epochs": "num_train_epochs",
    }  # fmt: skip
    ours = ("rows", "log_every", "save_every", "steps", "lora", "weighting", "model")
    given = {names.get(key, key): value for key, value in section.items() if key not in ours}
    base = {"output_dir": str(folder / "trl"), "max_steps": STEPS, "logging_steps": 1, "save_strategy": "no"}
    return {**base, "report_to": "none", "bf16": False, "use_cpu": True, "dataloader_pin_memory": False, **given}


def _rows(folder: Path, recipe: dict[str, Any]) -> Any:
    from datasets import load_dataset

    data = _section(recipe, "data")
    rows = load_dataset("json", data_files=str(folder / data["sources"][0]["path"]), split="train")
    held_out = data["split"]["test"]
    parts = rows.train_test_split(test_size=held_out, seed=7)
    return parts["test" if _section(recipe, "sft").get("rows") == "data.test" else "train"]


def _lora(recipe: dict[str, Any]) -> Any:
    from peft import LoraConfig

    lora = _section(recipe, "sft").get("lora", {})
    targets = lora.get("targets", "all-linear")
    return LoraConfig(r=16, lora_alpha=32, target_modules=targets, task_type="CAUSAL_LM")


def _sft(folder: Path, recipe: dict[str, Any]) -> None:
    from trl import SFTConfig, SFTTrainer

    length = _section(recipe, "data").get("max_tokens")
    more = {"max_length": length} if length else {}
    config = SFTConfig(assistant_only_loss=True, **more, **_arguments(folder, recipe))
    trainer = SFTTrainer(
        model=recipe["model"], args=config, train_dataset=_rows(folder, recipe), peft_config=_lora(recipe)
    )
    trainer.train()


def _grpo(folder: Path, recipe: dict[str, Any]) -> None:
    from trl import GRPOConfig, GRPOTrainer

    rows = _rows(folder, recipe)
    rows = rows.map(lambda row: {"prompt": row["messages"][:-1], "reference": row["messages"][-1]["content"]})
    names: dict[str, Any] = {}
    exec(json.loads((folder / "grader.json").read_text())["source"], names)  # ours, from the fault's own table

    def reward(completions: list[Any], reference: list[str], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        pairs = zip(texts, reference, strict=True)
        return [names["grade"]({"output_text": text}, {"reference": wanted}) for text, wanted in pairs]

    config = GRPOConfig(num_generations=8, max_completion_length=24, **_arguments(folder, recipe))
    trainer = GRPOTrainer(
        model=recipe["model"], args=config, train_dataset=rows, reward_funcs=reward, peft_config=_lora(recipe)
    )
    trainer.train()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
