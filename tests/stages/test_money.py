"""What a recipe will cost: trials of real steps, and a budget that a real run is held to."""

import contextlib
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tests.conftest import run

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.files import read_jsonl
from tunewright.artifacts.rundir import runs_of
from tunewright.artifacts.spending import Purse, alarm
from tunewright.artifacts.trial import Measured, Reading
from tunewright.artifacts.verdict import Status
from tunewright.chat.render import Renderer
from tunewright.cli.rows_of import rows_of
from tunewright.errors import BudgetSpent, DataError, GateFailed
from tunewright.models.devices import Device, this_device
from tunewright.recipe.load import load_recipe
from tunewright.stages.check.money import begun_trial, check_money, first_steps, run_trial, usd_per_hour
from tunewright.stages.check.trials import TooLong, warm
from tunewright.stages.sft.stage import plan_training, sft
from tunewright.stages.sft.trial import CPU_TOKENS, MOST_FRAME_TOKENS, Steps, choose_steps, frame_tokens, measure

GENEROUS = "budget={hours: 5, usd: 50, usd_per_hour: 2}"


def statuses(verdicts):
    return {verdict.name: verdict.status for verdict in verdicts}


def test_a_recipe_that_fits_passes_every_gate_after_two_real_steps(recipe_file):
    recipe = load_recipe(recipe_file, [GENEROUS])
    with rows_of(recipe) as rows:
        found = statuses(check_money(recipe, rows))
    # how fast this machine is, and what a model of two layers leaves in its heap, is not what is tested
    assert found.pop("speed_is_usable") is not Status.FAILED
    assert found.pop("estimate_holds") is not Status.FAILED
    assert found.pop("model_reads_the_rows") is Status.WARNED  # nothing in the toy was ever trained: it guesses
    assert found == dict.fromkeys(
        ("fits_memory", "first_loss_is_finite", "price_is_known", "fits_budget"), Status.PASSED
    )


def test_what_is_too_big_for_the_device_fails_with_settings_that_fit_and_takes_no_step(recipe_file):
    recipe = load_recipe(recipe_file, ["sft.batch_size=8"])
    small = Device(name="a small one", kind="cpu", memory_bytes=85 * 10**6)
    with rows_of(recipe) as rows:
        assert run_trial(rows["data.train"], recipe.stages[2][1], 2, small).measured is None
        (verdict,) = check_money(recipe, rows, device=small)
    assert (verdict.name, verdict.status) == ("fits_memory", Status.FAILED)
    assert "batch_size: " in verdict.remedy


def tried(recipe, model):
    """One step of the recipe's training in this process, with another model."""
    section = recipe.stages[2][1].model_copy(update={"model": str(model)})
    with rows_of(recipe) as rows:
        plan = plan_training(rows[section.rows], section, Renderer.from_folder(model))
        return measure(Steps([plan.examples[: section.batch_size]], section))


def test_a_weight_that_is_no_number_is_seen_in_the_first_step(recipe_file, toy_model, tmp_path):
    model = shutil.copytree(toy_model, tmp_path / "model", copy_function=shutil.copy)
    recipe = load_recipe(recipe_file)
    assert tried(recipe, model).losses[0] > 0
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    measured = tried(recipe, model)
    assert measured.losses == [None] and measured.reading.rows is None
    assert [(verdict.name, verdict.status) for verdict in first_steps(measured)] == [
        ("first_loss_is_finite", Status.FAILED)
    ]


def test_a_real_model_reads_rows_and_with_shuffled_embeddings_it_does_not(recipe_file, smollm2_folder, tmp_path):
    recipe = load_recipe(recipe_file)
    sound = tried(recipe, smollm2_folder)
    assert sound.reading.rows < 0.6 * math.log(49_152) and first_steps(sound)[1].status is Status.PASSED
    model = shutil.copytree(smollm2_folder, tmp_path / "model", copy_function=shutil.copy)
    tensors = load_file(model / "model.safetensors")
    rows = tensors["model.embed_tokens.weight"]
    rows[20:] = rows[20:].flip(0)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    shuffled = tried(recipe, model)
    assert first_steps(shuffled)[1].status is not Status.PASSED, shuffled.reading
    assert shuffled.losses[0] > sound.losses[0]


def test_the_frame_is_what_all_prompts_end_with():
    rows = [{"input_ids": [1, at, 7, 8, 5, 6], "labels": [-100] * 4 + [5, 6]} for at in (2, 3)]
    assert frame_tokens(rows) == 1  # 8, but not 7: where a question ends is not the template's
    assert (
        frame_tokens([{**row, "input_ids": [1, row["input_ids"][1], 9 + row["input_ids"][1], 8]} for row in rows]) == 1
    )
    long = {"input_ids": list(range(30)), "labels": [-100] * 29 + [29]}
    assert frame_tokens([long]) == MOST_FRAME_TOKENS


def test_a_trial_refuses_what_the_stage_would_refuse(recipe_file):
    recipe = load_recipe(recipe_file)
    section = recipe.stages[2][1]
    with rows_of(recipe) as rows:
        path = rows["data.train"].path
        lines = [row for _, row in read_jsonl(path)]
        lines[0]["messages"][0]["content"] = "long " * 2000
        path.write_text("\n".join(map(json.dumps, lines)))
        with pytest.raises(DataError, match="tokens"):
            run_trial(rows["data.train"], section, 0, this_device())


def test_trials_come_from_one_warm_process_and_a_killed_one_is_replaced(recipe_file):
    recipe = load_recipe(recipe_file)
    section = recipe.stages[2][1]
    with rows_of(recipe) as rows:
        host = warm()
        first, second = (run_trial(rows["data.train"], section, 2, this_device()) for _ in range(2))
        assert warm() is host and first.measured.losses == second.measured.losses
        assert first.measured.seconds and first.peak_bytes == second.peak_bytes
        host.end()
        assert run_trial(rows["data.train"], section, 2, this_device()).measured.losses == first.measured.losses


def test_a_trial_that_takes_too_long_or_dies_is_told(recipe_file):
    recipe = load_recipe(recipe_file)
    with rows_of(recipe) as rows:
        job = {"rows": str(rows["data.train"].path), "section": recipe.stages[2][1].model_dump(mode="json"), "steps": 1}
        with pytest.raises(TooLong):
            warm().ask({**job, "limit": 10**12}, most_seconds=0.01)
        ended = warm().ask(job, most_seconds=120)  # no limit: a bug, told on stderr
    assert (ended.code, ended.answer) == (3, "") and "limit" in ended.complaint


def test_a_trial_that_was_begun_is_the_one_asked_for_or_goes_without_a_step(recipe_file):
    recipe = load_recipe(recipe_file)
    section, device = recipe.stages[2][1], this_device()
    with rows_of(recipe) as rows:
        with begun_trial(recipe, rows, device):
            begun = run_trial(rows["data.train"], section, 2, device)
            host = warm()
            another = run_trial(rows["data.train"], section, 3, device)
        for _ in range(2):
            with begun_trial(recipe, rows, device):
                pass  # a check that fails before
        assert [host._read() for _ in range(2)] == [("", 0), ("", 0)]  # no step, and no answer
        host._unread = 0
        with begun_trial(recipe, rows, device):
            pass
        last = run_trial(rows["data.train"], section, 3, device)  # its own answer, not that of the one before
    assert warm() is host
    assert [len(one.measured.seconds) for one in (begun, another, last)] == [2, 3, 3]
    assert another.measured.losses == last.measured.losses


def test_two_steps_on_a_cpu_take_no_more_rows_than_their_speed_needs_three_or_a_tight_fit_take_all(recipe_file):
    def rows(count, length):
        return [{"input_ids": list(range(n, n + length)), "labels": [1] * length} for n in range(count)]

    section = load_recipe(recipe_file).stages[2][1].model_copy(update={"batch_size": 4, "gradient_accumulation": 3})
    batches = [rows(3, 20), rows(4, 50), rows(4, CPU_TOKENS // 2), rows(4, CPU_TOKENS)]
    quick = choose_steps(batches, section, 2, packed=True, near=False, most_tokens=CPU_TOKENS)
    assert quick.batches == [batches[1][:2], batches[2][:2]]  # a batch with a row less would shift the next
    assert (quick.section.batch_size, quick.section.gradient_accumulation) == (2, 1)
    tiny = choose_steps([rows(4, 10)], section, 2, packed=True, near=False, most_tokens=CPU_TOKENS).section
    assert (tiny.batch_size, tiny.gradient_accumulation) == (4, 3)  # what a step costs beside its tokens counts too
    on_a_gpu = choose_steps(batches, section, 2, packed=True, near=False)
    assert (on_a_gpu.batches, on_a_gpu.section) == ([batches[1], batches[2]], section)
    tight = choose_steps(batches, section, 2, packed=True, near=True, most_tokens=CPU_TOKENS)
    assert (tight.batches, tight.section) == ([batches[1], batches[3]], section)
    assert choose_steps(batches, section, 3, packed=True, near=False).batches == [batches[2], batches[3], batches[2]]
    assert choose_steps(batches[:1], section, 1, packed=True, near=False).batches == batches[:1]
    assert choose_steps(batches, section, 0, packed=True, near=True).batches == []


def test_the_speed_of_a_trial_is_that_of_its_fastest_step():
    reading = Reading(rows=1.0, frame=None, tokens=9, vocab_size=50)
    told = {"peak_bytes": 1, "base_bytes": 1, "head_used": "fused", "losses": [1.0, 1.0], "reading": reading}
    compiled_late = Measured(seconds=[2.0, 17.8], tokens=[400, 500], **told)  # code is compiled in either step
    compiled_first = Measured(seconds=[17.8, 2.0], tokens=[400, 500], **told)
    assert (compiled_late.tokens_per_second, compiled_first.tokens_per_second) == (200, 250)


def test_neither_host_nor_trial_outlives_a_check_that_is_killed(recipe_file, tmp_path):
    code = (
        "import os, time\n"
        "from tunewright.stages.check.trials import warm\n"
        "host = warm()\n"
        "print(host._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    check = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    host = int(check.stdout.readline())
    check.kill()
    check.wait()
    deadline = time.monotonic() + 120
    while _lives(host) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _lives(host)


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_target_that_is_no_module_is_refused_with_what_there_is(recipe_file):
    recipe = load_recipe(recipe_file, ["sft.lora.targets=[q_prj]"])
    with rows_of(recipe) as rows, pytest.raises(DataError, match="no module `q_prj`") as caught:
        run_trial(rows["data.train"], recipe.stages[2][1], 2, this_device())
    assert "q_proj" in caught.value.expected and caught.value.fix == "did you mean q_proj?"


def test_a_price_comes_from_the_recipe_or_from_the_catalogue(recipe_file):
    budget = load_recipe(recipe_file, ["budget={usd: 3}"]).budget
    assert usd_per_hour(budget, Device(name="CPU", kind="cpu", memory_bytes=1)) is None
    assert usd_per_hour(budget, Device(name="G", kind="cuda", memory_bytes=1, usd_per_hour=(1.0, 2.0))) == 2.0


# ── a run that is held to its budget ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def training(recipe_file):
    """A recipe that reads rows and trains on them, and nothing else."""
    text = recipe_file.read_text().splitlines()
    recipe_file.write_text("\n".join(line for line in text if "evaluate:" not in line and "compare:" not in line))
    return recipe_file


def test_training_that_does_not_fit_is_refused_before_its_first_step_and_a_larger_budget_goes_on(training, root):
    long = "sft.steps=50000"
    with pytest.raises(GateFailed, match="fits_budget"):
        run(training, root, long, "budget={hours: 0.05}")
    with pytest.raises(GateFailed, match="fits_budget"):
        run(training, root, long, "budget={usd: 0.125, usd_per_hour: 2}")
    (folder,) = runs_of("toy", root)
    assert [entry["status"] for entry in folder.state["stages"]] == ["done", "failed"]
    assert folder.resolved["budget"]["usd"] == 0.125
    assert not (folder.path / "2-sft" / "metrics.jsonl").exists()
    assert len(list((folder.path / "logs").glob("attempt-*"))) == 2


def test_a_run_whose_budget_is_spent_stops_and_says_how_to_go_on(training, root):
    with pytest.raises(BudgetSpent, match="same command"):
        run(training, root, "budget={hours: 0.000001}")
    (folder,) = runs_of("toy", root)
    assert folder.state["status"] == "stopped"
    assert run(training, root, "budget={hours: 2}").path == folder.path
    assert folder.state["status"] == "done"


def test_a_larger_budget_goes_on_in_the_same_run_though_its_check_is_made_again(training, root):
    training.write_text(training.read_text().replace("  - sft:", "  - check: {}\n  - sft:"))
    done = run(training, root, "budget={hours: 2}")
    again = run(training, root, "budget={hours: 3}")
    assert again.path == done.path
    text = (again.path / "logs" / "latest").read_text()
    assert "check (check)" in text and "sft: done already" in text


def test_training_that_overruns_keeps_a_checkpoint_and_ends_as_if_nothing_had_stopped_it(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file, ["sft.steps=4", "sft.save_every=100"])
    section = recipe.stages[2][1]
    with rows_of(recipe) as rows:
        spent = RunContext(quiet=True, purse=Purse(most_hours=1e-9))
        for step in (1, 2):  # each attempt does one step, and is stopped with it
            with pytest.raises(BudgetSpent, match=f"step {step} of 4 is kept"):
                sft(rows["data.train"], section, tmp_path / "stopped", spent)
        stopped = sft(rows["data.train"], section, tmp_path / "stopped", RunContext(quiet=True, purse=Purse()))
        whole = sft(rows["data.train"], section, tmp_path / "whole", RunContext(quiet=True))
    assert stopped.adapter_sha256 == whole.adapter_sha256
    assert [row["step"] for row in stopped.metrics()] == [1, 2, 3, 4]


def test_checkpointing_of_activations_changes_no_bit_of_the_result(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file, ["sft.steps=3"])
    section = recipe.stages[2][1]
    again = section.model_copy(update={"gradient_checkpointing": True})
    with rows_of(recipe) as rows:
        plain, checkpointed = (
            sft(rows["data.train"], one, tmp_path / str(at), RunContext(quiet=True))
            for at, one in enumerate((section, again))
        )
    assert plain.adapter_sha256 == checkpointed.adapter_sha256


def test_a_stage_that_watches_no_budget_is_interrupted_when_it_is_spent():
    began = time.monotonic()
    with pytest.raises(BudgetSpent), alarm(Purse(most_hours=0.3 / 3600)):
        while time.monotonic() < began + 300:
            with contextlib.suppress(Exception):  # what swallows everything else does not swallow this
                time.sleep(0.01)
    assert time.monotonic() - began < 100
    time.sleep(0.01)  # and nothing rings any more


def test_no_budget_rings_never():
    with alarm(None):
        pass
    with alarm(Purse()):
        pass
    assert Purse().seconds_left() is None
    assert Purse(most_hours=2, most_usd=3, usd_per_hour=3).limit_hours == 1


# ── the verbs ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tw(warm_python):
    return lambda *arguments: warm_python.run("-m", "tunewright", *arguments)


def test_tw_estimate_of_a_recipe_tells_memory_hours_and_gpus(tw, recipe_file):
    done = tw("estimate", recipe_file, "--gpus", "--json")
    assert done.returncode == 0, done.stderr
    (section,) = json.loads(done.stdout)["sections"]
    assert section["planned"]["steps"] == 12
    assert len(section["measured"]["seconds"]) == 3
    assert section["memory"]["low"] < section["memory"]["peak"] < section["memory"]["high"]
    assert {gpu["name"]: gpu["fits"] for gpu in section["gpus"]}["RTX 3090"] is True
    low, expected, high = section["hours"]
    assert 0 < low < expected < high


def test_tw_estimate_of_a_model_needs_its_config_alone(tw, toy_model, tmp_path):
    model = tmp_path / "a name with 🎈"
    model.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (model / name).write_bytes((toy_model / name).read_bytes())
    done = tw("estimate", model, "--gpus", "--set", "sft.batch_size=2")
    assert done.returncode == 0, done.stderr
    assert "2 rows of 512 tokens a pass" in done.stdout
    assert "H100 SXM" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if " to " in line][:7] == [
        "lora", "lora", "qlora", "qlora", "full", "full", "generate,"
    ]  # fmt: skip


def test_tw_bench_speed_says_whether_to_proceed(tw, recipe_file):
    done = tw("bench", "speed", recipe_file, "--json")
    assert done.returncode == 0, done.stderr
    (section,) = json.loads(done.stdout)["sections"]
    assert section["verdict"]["name"] == "speed_is_usable"
    assert section["seconds_per_step"] > 0
    assert tw("bench", "memory").returncode == 2
