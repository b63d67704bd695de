"""Gates that no verb of the command line meets yet, called as the library offers them: the drill of the stack, a merge.

reads    a project's folder
makes    verdicts, as the verbs do
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunewright.artifacts.verdict import Verdict


def drill(folder: Path) -> list[Verdict]:
    """Drill the stack with the project's recipe."""
    from tunewright.recipe.load import load_recipe
    from tunewright.stages.check.drill import check_stack

    return check_stack(load_recipe(folder / "recipe.yaml", ()), folder, known={})


def merge(folder: Path) -> list[Verdict]:
    """Merge the project's adapter into its model as an export would, and hold the result against the two."""
    from peft import PeftModel

    from tunewright.gates.merge import merge_drift, merge_fits_base, merge_took_effect
    from tunewright.models.find import model_identity
    from tunewright.models.load import load_model
    from tunewright.models.merging import measure_merge, misfits

    model, adapter = load_model(folder / "model", "float32"), folder / "adapter"
    trained_on = (adapter / "base_identity").read_text(encoding="utf-8")
    wrong = misfits(adapter, model)
    fits = merge_fits_base(trained_on, model_identity(str(folder / "model")), wrong)
    if wrong:
        return [fits]
    tuned = PeftModel.from_pretrained(model, str(adapter)).eval()
    again = PeftModel.from_pretrained(load_model(folder / "model", "float32"), str(adapter))
    measured = measure_merge(tuned, again.merge_and_unload(), _prompts(folder))
    return [fits, merge_took_effect(measured), merge_drift(measured)]


def _prompts(folder: Path) -> list[list[int]]:
    from tunewright.chat.render import Renderer
    from tunewright.faults.rows import tickets

    renderer = Renderer.from_folder(folder / "model")
    return [renderer.conversation(row["messages"]).token_ids for row in tickets(8)]


ENTRIES: dict[str, Callable[[Path], list[Verdict]]] = {"drill": drill, "merge": merge}


def make_adapter(project: Any) -> None:
    """Put an adapter with weights of some size beside the project's model, and write down which model it is of."""
    import torch
    from peft import LoraConfig, get_peft_model

    from tunewright.models.find import model_identity
    from tunewright.models.load import load_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    tuned = get_peft_model(load_model(project.model, "float32"), config)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.2)
    tuned.save_pretrained(str(project.folder / "adapter"))
    identity = model_identity(str(project.model))
    (project.folder / "adapter" / "base_identity").write_text(identity, encoding="utf-8")
