import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

from sample_run import complete_run

from tunewright.artifacts.files import write_json, write_jsonl
from tunewright.cli.main import main
from tunewright.cli.references import find_model, find_rows


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path("rows.jsonl"), chat_rows())
    return tmp_path


def chat_rows():
    for index in range(4):
        question, answer = f"What is {index} plus 1?", f"It is {index + 1}."
        yield {"id": f"r{index}", "messages": [
            {"role": "user", "content": question}, {"role": "assistant", "content": answer}]}  # fmt: skip


@pytest.fixture(scope="module")
def adapter(toy_model, tmp_path_factory):
    """An adapter that changes what the toy model says, as an sft stage leaves it."""
    import torch
    from peft import LoraConfig, get_peft_model

    from tunewright.models.find import model_identity
    from tunewright.models.load import load_model

    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False)
    stage = tmp_path_factory.mktemp("sft")
    get_peft_model(load_model(toy_model, "float32"), config).save_pretrained(stage / "adapter")
    config_file = stage / "adapter" / "adapter_config.json"
    write_json(config_file, {**json.loads(config_file.read_text()), "base_model_name_or_path": str(toy_model)})
    write_json(stage / "trained.json", {"base_identity": model_identity(str(toy_model))})
    return stage


def test_one_model_on_a_file_of_rows(here, toy_model, capsys):
    assert main(["entropy", str(toy_model), "rows.jsonl", "--limit", "3"]) == 0
    out = capsys.readouterr().out
    assert "assistant" in out and "mean entropy" in out and out.splitlines()[-1] == "entropy.html"
    assert Path("entropy.html").read_text(encoding="utf-8").count('class="text heat"') == 3
    lines = [json.loads(line) for line in Path("entropy/tokens.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["row"] for line in lines} == {"r0", "r1", "r2"} and {line["model"] for line in lines} == {"A"}


def test_base_against_tuned_as_json(here, toy_model, adapter, capsys):
    assert main(["entropy", str(toy_model), str(adapter), "rows.jsonl", "--json", "--output", "out/both.html"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [model["label"] for model in told["models"]] == ["A", "B"]
    assert told["models"][1]["identity"].startswith(told["models"][0]["identity"] + " + adapter:")
    low, high = told["change"]["interval"]
    assert low <= told["change"]["difference"] <= high and told["change"]["difference"] != 0
    assert Path(told["page"]).is_file() and Path(told["tokens"]).parent == Path("out/both")
    kept = json.loads(Path("out/both/summary.json").read_text(encoding="utf-8"))
    assert kept == {name: told[name] for name in kept}


def test_a_page_may_be_named_without_its_ending(here, toy_model, capsys):
    assert main(["entropy", str(toy_model), "rows.jsonl", "--limit", "1", "--output", "mine"]) == 0
    assert Path("mine.html").is_file() and Path("mine/summary.json").is_file()


def test_an_adapter_is_refused_on_a_base_that_has_changed(here, adapter, capsys):
    write_json(adapter / "trained.json", {"base_identity": "folder:another"})
    assert main(["entropy", str(adapter), "rows.jsonl"]) == 2
    assert "the base model has changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model"], "no rows were named"),
        (["a", "b", "c", "rows.jsonl"], "4 arguments"),
        (["model", "nope.jsonl"], "nope.jsonl: no such file"),
        (["model", "nothing"], "nothing: this names no rows"),
        (["model", "./other/model"], "if it is a model: name the rows too"),
        (["model", "rows.jsonl", "--output", "."], "fix: --output entropy.html"),
        (["model", "rows.jsonl", "--output", ".."], "..: this is a folder"),
        (["nothing", "rows.jsonl"], "no such model: 'nothing'"),
        (["tour:data", "rows.jsonl"], "stage 'data' trained nothing"),
        (["model", "tour:sft.test"], "stage 'sft' made no rows"),
        (["model", "tour:data.other"], "no part 'other'"),
        (["model", "tour:none"], "no stage 'none'"),
    ],
)
def test_what_cannot_be_shown_is_a_clean_error(here, capsys, arguments, message):
    complete_run(Path("runs"))
    assert main(["entropy", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_rows_of_a_run_are_named_by_run_stage_and_part(here):
    complete_run(Path("runs"))
    assert sum(1 for _ in find_rows("tour")) == sum(1 for _ in find_rows("tour/1:data")) == 150
    assert sum(1 for _ in find_rows("tour:data.train")) == 700


def test_the_tuned_model_of_a_run_is_named_by_its_stage(here):
    run = complete_run(Path("runs"))
    found = find_model("tour:sft")
    assert (found.base, found.adapter) == ("smollm2-135m-instruct", run.stage_folder("sft").resolve() / "adapter")
    assert found.base_identity.startswith("gguf:sha256:")


def test_packaged_rows_have_a_name(here):
    assert next(find_rows("bfcl")).source == "bfcl"


def test_help_and_errors_need_no_torch(here):
    code = (
        "import sys; from tunewright.cli.main import main\n"
        "assert main(['entropy', '--help']) == 0 and main(['entropy', 'model']) == 2\n"
        "assert main(['entropy', 'model', 'none.jsonl']) == 2\n"
        "assert not {'torch', 'transformers', 'peft', 'scipy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
