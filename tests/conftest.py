"""What every test folder may use: the embedded model, a toy model that trains in seconds, and recipes to run."""

import gc
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.warm import WarmPython

from tunewright.artifacts.files import write_jsonl
from tunewright.artifacts.rundir import RunFolder

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test needs the network
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads of two processes fight over two cores
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else what is started here would not hear Ctrl-C either

# The same examples everywhere, however slow the machine is; benchmarks/fuzz draws others, at length.
settings.register_profile(
    "suite", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

ALIAS = "smollm2-135m-instruct"


def pytest_collection_finish():
    """What importing has made stays: no collection of garbage need look at it again, a third of a second a training."""
    gc.freeze()


@pytest.fixture
def set_threads():
    """torch's own function, for the length of a test."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def warm_python():
    """Starts commands without the seconds that importing torch and its like takes: see `tests/warm.py`."""
    warm = WarmPython()
    yield warm
    warm.end()


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """The real SmolLM2-135M-Instruct as a model folder; dequantised on first use."""
    from tunewright.models.find import model_folder

    return model_folder(ALIAS)


@pytest.fixture(scope="session")
def toy_model(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with grouped heads, random weights and SmolLM2's tokenizer and template."""
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("toy-model")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(smollm2_folder / name, folder / name)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


# ── recipes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def recipe_file(toy_model: Path, tmp_path: Path) -> Path:
    """A recipe with all stages, on the toy model."""
    rows = [
        {
            "id": f"r{i}",
            "messages": [{"role": "user", "content": f"Say {i}."}, {"role": "assistant", "content": f"It is {i}."}],
        }
        for i in range(40)
    ]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    asked = "suite: exact-match, rows: data.test, max_new_tokens: 8, batch_size: 4, precision: float32"
    path = tmp_path / "toy.yaml"
    path.write_text(
        f"""\
recipe: toy
hypothesis: none; this is a test
model: {toy_model}
stages:
  - data: {{sources: [{{type: jsonl, path: rows.jsonl}}], split: {{test: 12}}}}
  - evaluate: {{id: before, {asked}}}
  - sft: {{rows: data.train, steps: 12, batch_size: 2, save_every: 2, precision: float32, weighting: {{type: linear}}}}
  - evaluate: {{id: after, model: sft, {asked}}}
  - compare: {{baseline: before, candidate: after}}
"""
    )
    return path


@pytest.fixture
def data_recipe(tmp_path: Path) -> Path:
    """A recipe that only reads rows."""
    write_jsonl(tmp_path / "rows.jsonl", [{"prompt": f"Say {i}.", "completion": f"It is {i}."} for i in range(40)])
    path = tmp_path / "rows.yaml"
    path.write_text(
        "recipe: rows\nmodel: smollm2-135m-instruct\nstages:\n"
        "  - data: {sources: [{type: jsonl, path: rows.jsonl}], split: {test: 12}}\n"
    )
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where runs are kept."""
    return tmp_path / "runs"


def run(recipe_file: Path, root: Path, *overrides: str, **options: Any) -> RunFolder:
    """Run a recipe as `tw run` does, without a word."""
    from tunewright.pipeline import run_recipe
    from tunewright.recipe.load import load_recipe

    return run_recipe(load_recipe(recipe_file, overrides), root=root, quiet=True, **options)
