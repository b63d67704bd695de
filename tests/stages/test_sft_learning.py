"""What training says of itself as it runs: it stops where a number is none, and scores a few rows it never trains."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.files import write_jsonl
from tunewright.artifacts.verdict import Status
from tunewright.chat.render import Renderer
from tunewright.errors import DataError, UserError
from tunewright.recipe.sections import Dev, SftSection
from tunewright.stages.sft.held_out import hold_out
from tunewright.stages.sft.stage import plan_training, sft


def chat_rows(count=12):
    for i in range(count):
        messages = [{"role": "user", "content": f"Say {i}."}, {"role": "assistant", "content": f"It is {i}."}]
        yield {"id": f"r{i}", "messages": messages, "source": "test", "group": f"g{i // 2}", "meta": {}}


@pytest.fixture
def rows(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", chat_rows())
    return Rows(path=tmp_path / "train.jsonl")


def section(toy_model, **fields):
    options = {"rows": "data.train", "model": str(toy_model), "steps": 8, "batch_size": 2, "seed": 3, "save_every": 2}
    return SftSection(**{**options, "precision": "float32", **fields})


def named(run):
    return {verdict.name: verdict for verdict in run.verdicts}


# ── numbers that are none ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_loss_that_is_no_number_stops_training_and_keeps_the_last_checkpoint(toy_model, rows, tmp_path):
    run = RunContext(quiet=True)
    weights = tmp_path / "weights.jsonl"
    renderer = Renderer.from_folder(toy_model)
    made = []
    for place, row in enumerate(chat_rows()):
        trained = sum(renderer.conversation(row["messages"], None).trained)
        made.append({**row, "meta": {"token_weights": [1e38 if place == 7 else 1.0] * trained}})
    write_jsonl(weights, made)
    chosen = section(toy_model, weighting={"type": "external"}, steps=12)
    trained = sft(Rows(path=weights), chosen, tmp_path / "out", run)
    verdict = named(run)["loss_is_finite"]
    assert verdict.status is Status.FAILED
    assert trained.steps < 12 and f"step {trained.steps} of 12" in trained.stopped
    assert trained.stopped in verdict.measured
    assert len(trained.metrics()) == trained.steps
    assert trained.rows_seen == 2 * trained.steps
    kept = load_file(trained.adapter / "adapter_model.safetensors")
    assert trained.steps <= 2 or all(torch.isfinite(weight).all() for weight in kept.values())


def test_dev_rows_beside_a_loss_that_is_no_number_do_not_hide_why_training_stopped(toy_model, tmp_path):
    run = RunContext(quiet=True)
    renderer = Renderer.from_folder(toy_model)
    made = []
    for row in chat_rows():
        trained = sum(renderer.conversation(row["messages"], None).trained)
        made.append({**row, "meta": {"token_weights": [1e38] * trained}})
    write_jsonl(tmp_path / "weights.jsonl", made)
    dev = Dev(suite="exact-match", limit=4, every=1, max_new_tokens=4)
    chosen = section(toy_model, weighting={"type": "external"}, steps=12, dev=dev, log_every=4)
    trained = sft(Rows(path=tmp_path / "weights.jsonl"), chosen, tmp_path / "out", run)
    assert named(run)["loss_is_finite"].status is Status.FAILED
    assert trained.stopped and None in [point["loss"] for point in trained.dev()]


def test_weights_that_train_next_to_nothing_fail(toy_model, rows, tmp_path):
    run = RunContext(quiet=True)
    nothing = {"type": "linear", "scale": 1e-30}  # the gradients are 0 in float32
    sft(rows, section(toy_model, weighting=nothing, steps=3), tmp_path / "out", run)
    assert named(run)["weights_moved"].status is Status.FAILED


def test_a_sound_training_moves_and_is_whole(toy_model, rows, tmp_path):
    run = RunContext(quiet=True)
    trained = sft(rows, section(toy_model), tmp_path / "out", run)
    assert trained.stopped == "" and trained.steps == 8
    assert trained.still_matrices == 0 < trained.matrices
    assert {name: verdict.status for name, verdict in named(run).items() if name != "loss_fell"} == {
        "fits_memory": Status.PASSED,
        "loss_is_finite": Status.PASSED,
        "loss_spikes": Status.PASSED,
        "weights_moved": Status.PASSED,
        "entropy_collapsed": Status.PASSED,
    }


# ── dev rows ────────────────────────────────────────────────────────────────────────────────────────────────────────


def chat(groups):
    return [ChatRow(id=f"r{i}", messages=[], group=group) for i, group in enumerate(groups)]


def test_dev_rows_share_no_group_with_those_that_are_trained():
    made = chat([f"g{i // 3}" for i in range(60)])
    kept, dev = hold_out(made, 10, seed=1)
    assert len(dev) == 10
    assert not {row.group for row in dev} & {row.group for row in kept}
    assert len(kept) == 60 - 12  # whole groups: two more rows are neither
    assert hold_out(made, 10, seed=1) == (kept, dev)
    assert hold_out(made, 10, seed=2) != (kept, dev)


def test_a_group_of_hundreds_is_held_out_only_where_there_is_no_other():
    made = chat(["big"] * 100 + [f"g{i}" for i in range(30)])
    _, dev = hold_out(made, 20, seed=0)
    assert "big" not in {row.group for row in dev}


def test_rows_of_one_group_cannot_be_held_out():
    with pytest.raises(DataError, match="leave none to train on"):
        hold_out(chat(["one"] * 30), 20, seed=0)


def test_dev_rows_are_answered_at_the_start_and_on_the_way_and_are_never_trained(toy_model, rows, tmp_path):
    run = RunContext(quiet=True)
    dev = Dev(suite="exact-match", limit=4, every=4, max_new_tokens=6)
    trained = sft(rows, section(toy_model, dev=dev), tmp_path / "out", run)
    points = trained.dev()
    assert [point["step"] for point in points] == [0, 4, 8]
    assert all(point["rows"] == 4 and 0 <= point["low"] <= point["score"] <= point["high"] <= 1 for point in points)
    assert points[-1]["loss"] < points[0]["loss"]
    assert {"loss_is_learning", "train_dev_gap"} <= named(run).keys()
    answers = [json.loads(line) for line in (tmp_path / "out" / "dev_answers.jsonl").read_text().splitlines()]
    assert len(answers) == 4 and {answer["step"] for answer in answers} == {8}
    plan = plan_training(rows, section(toy_model, dev=dev), Renderer.from_folder(toy_model))
    assert {row.id for row in plan.dev_rows} == {answer["id"] for answer in answers}
    held = [example["input_ids"] for example in plan.dev_examples]
    assert not any(example["input_ids"] in held for example in plan.examples)


def test_looking_at_dev_rows_does_not_change_what_is_trained(toy_model, rows, tmp_path):
    dev = Dev(suite="exact-match", limit=4, every=3, max_new_tokens=4)
    looked = sft(rows, section(toy_model, dev=dev), tmp_path / "looked", RunContext(quiet=True))
    kept, _ = hold_out(list(rows), 4, seed=3)
    write_jsonl(tmp_path / "kept.jsonl", [row.model_dump() for row in kept])
    merely = sft(Rows(path=tmp_path / "kept.jsonl"), section(toy_model), tmp_path / "merely", RunContext(quiet=True))
    assert looked.adapter_sha256 == merely.adapter_sha256
    for name in ("loss", "entropy", "tokens"):
        assert [row[name] for row in looked.metrics()] == [row[name] for row in merely.metrics()], name


@pytest.fixture
def quick_learner(toy_model, tmp_path):
    """The toy model with larger random weights: in a few steps its loss falls far, that of the toy hardly."""
    from transformers import AutoConfig

    from tunewright.models.tiny import build

    config = AutoConfig.from_pretrained(toy_model)
    config.initializer_range = 0.3
    folder = tmp_path / "quick"
    build(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(toy_model / name, folder / name)
    return folder


def test_a_loss_that_falls_while_no_dev_row_comes_right_fails(quick_learner, rows, tmp_path):
    run = RunContext(quiet=True)
    dev = Dev(suite="exact-match", limit=4, max_new_tokens=2)  # too short for any answer: the score cannot rise
    sft(rows, section(quick_learner, dev=dev, steps=20, learning_rate=1e-2), tmp_path / "out", run)
    verdict = named(run)["loss_is_learning"]
    assert verdict.status is Status.FAILED, verdict.measured
    assert "dev_answers.jsonl" in verdict.remedy


def test_a_suite_that_scores_no_single_answer_is_refused(toy_model, rows, tmp_path):
    chosen = section(toy_model, dev=Dev(suite="perplexity", limit=4))
    with pytest.raises(UserError, match="perplexity"):
        sft(rows, chosen, tmp_path / "out", RunContext(quiet=True))
