"""The real model's beginning: its words, its first layers and its tokenizer, fast enough to run each script whole."""

import pytest

LAYERS = 3


@pytest.fixture(scope="session")
def short_model(smollm2_folder, tmp_path_factory):
    """SmolLM2 without its upper layers: what it says makes no sense, and differs from row to row."""
    import shutil

    from tunewright.models.load import load_model

    folder = tmp_path_factory.mktemp("short-model")
    model = load_model(smollm2_folder, "float32")
    del model.model.layers[LAYERS:]
    model.config.num_hidden_layers = LAYERS
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(smollm2_folder / name, folder / name)
    return folder
