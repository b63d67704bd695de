import contextlib
import json
import math
import random
import resource

import pytest
import torch

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.files import write_jsonl, writing_weights
from tunewright.chat.render import Renderer
from tunewright.errors import DataError, EnvironmentProblem, ModelError
from tunewright.models.load import load_model
from tunewright.recipe.sections import EntropyConfig, SftSection
from tunewright.stages.sft.batches import num_steps, plan_order
from tunewright.stages.sft.collate import PackedCollator
from tunewright.stages.sft.head import find_output_head
from tunewright.stages.sft.packing import IGNORED
from tunewright.stages.sft.stage import plan_training, sft
from tunewright.stages.sft.trial import read


def chat_rows(count=12):
    for i in range(count):
        question, answer = f"What is {i} plus {i}?" + " Please." * (i % 5), f"{i} plus {i} is {2 * i}."
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        yield {"id": f"r{i}", "messages": messages, "source": "test", "group": f"g{i}", "meta": {}}


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "train.jsonl"
    write_jsonl(path, chat_rows())
    return Rows(path=path)


def section(toy_model, **fields):
    options = {"rows": "data.train", "model": str(toy_model), "steps": 6, "batch_size": 2, "seed": 3, "save_every": 2}
    return SftSection(**{**options, "precision": "float32", **fields})


def trainer_for(toy_model, rows, out, weighting, **fields):
    from transformers import AutoTokenizer

    from tunewright.models.load import load_model
    from tunewright.stages.sft.trainer import make_trainer

    chosen = section(toy_model, weighting=weighting, **fields)
    plan = plan_training(rows, chosen, Renderer.from_folder(toy_model))
    tokenizer = AutoTokenizer.from_pretrained(toy_model)
    model = load_model(toy_model, "float32")
    return make_trainer(model, tokenizer, plan.examples, chosen, plan.steps, out, "float32")


def adapter_weights(trainer):
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}


def stock_trainer_for(toy_model, rows, out, **fields):
    """TRL's own trainer on the same rows in the same order: padded batches, its own head, PEFT's own layers."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTTrainer

    from tunewright.models.load import load_model
    from tunewright.stages.sft.trainer import _config

    chosen = section(toy_model, **fields)
    plan = plan_training(rows, chosen, Renderer.from_folder(toy_model))
    lora = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
    return SFTTrainer(
        model=load_model(toy_model, "float32"),
        args=_config(chosen, plan.steps, out, "float32"),
        train_dataset=Dataset.from_list(plan.examples),
        processing_class=AutoTokenizer.from_pretrained(toy_model),
        peft_config=lora,
    )


@pytest.mark.parametrize("weighting", [{"type": "none"}, {"type": "linear", "floor": 1.0}])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_weight_one_gives_the_losses_of_the_stock_trainer(toy_model, rows, tmp_path, weighting, accumulation):
    fields = {"steps": 3, "gradient_accumulation": accumulation}
    stock = stock_trainer_for(toy_model, rows, tmp_path / "stock", **fields)
    ours = trainer_for(toy_model, rows, tmp_path / "ours", weighting, **fields)
    assert ours.head_used == "fused head, packed rows"
    losses = []
    for trainer in (stock, ours):
        trainer.train()
        losses.append([(row["loss"], row["grad_norm"]) for row in trainer.state.log_history if "loss" in row])
    assert len(losses[0]) == 3
    for one, other in zip(*losses, strict=True):
        assert other == pytest.approx(one, rel=2e-5)


def test_a_model_with_another_head_trains_on_the_one_of_trl(toy_model, rows, tmp_path):
    trained = {}
    for name in ("fused", "trl"):
        trainer = trainer_for(toy_model, rows, tmp_path / name, {"type": "linear", "floor": 0.2}, steps=2)
        if name == "trl":
            trainer = trainer_of_unknown_model(toy_model, rows, tmp_path / "unknown")
        trainer.train()
        trained[trainer.head_used] = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert set(trained) == {"fused head, packed rows", "trl head, padded rows"}
    assert trained["trl head, padded rows"] == pytest.approx(trained["fused head, packed rows"], rel=2e-5)


def trainer_of_unknown_model(toy_model, rows, out, weighting=None):
    """The toy model with a head whose config promises something else than it does: it must not be believed."""
    from transformers import AutoTokenizer

    from tunewright.models.load import load_model
    from tunewright.stages.sft.trainer import make_trainer

    chosen = section(toy_model, weighting=weighting or {"type": "linear", "floor": 0.2}, steps=2)
    plan = plan_training(rows, chosen, Renderer.from_folder(toy_model))
    model = load_model(toy_model, "float32")
    model.config.lm_head_multiplier = 3.0
    tokenizer = AutoTokenizer.from_pretrained(toy_model)
    assert find_output_head(model) is None
    model.config.lm_head_multiplier = 1.0
    model.config.num_experts = 1  # what keeps it from the fused head, and changes nothing else
    return make_trainer(model, tokenizer, plan.examples, chosen, plan.steps, out, "float32")


@pytest.mark.parametrize("head", ["fused", "trl"])
def test_what_each_token_costs_is_told_row_behind_row_on_either_head(toy_model, rows, tmp_path, head):
    if head == "fused":
        trainer = trainer_for(toy_model, rows, tmp_path, {"type": "none"}, steps=2)
    else:
        trainer = trainer_of_unknown_model(toy_model, rows, tmp_path)
    plan = plan_training(rows, section(toy_model), Renderer.from_folder(toy_model))
    examples = sorted(plan.examples[:5], key=lambda row: len(row["input_ids"]) % 7)  # of many lengths, in no order
    told = trainer.token_nll(examples)
    model, expected = load_model(toy_model, "float32"), []
    with torch.no_grad():
        for row in examples:
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
            targets = torch.tensor(row["labels"][1:])
            nll = torch.nn.functional.cross_entropy(logits[:-1], targets, ignore_index=IGNORED, reduction="none")
            expected.append(nll[targets != IGNORED])
    assert torch.allclose(told.float(), torch.cat(expected), atol=1e-4)
    assert trainer.mean_nll(examples) == pytest.approx(float(told.mean()))


def test_a_model_reads_all_of_its_rows_and_the_frame_of_rows_that_ask_the_same(toy_model, rows, tmp_path):
    plan = plan_training(rows, section(toy_model), Renderer.from_folder(toy_model))
    first = plan.examples[0]
    begin = next(at for at, label in enumerate(first["labels"]) if label != IGNORED)
    trainer = trainer_for(toy_model, rows, tmp_path, {"type": "none"}, steps=2)
    reading = read(trainer, [first, first], around=3)
    with torch.no_grad():
        logits = load_model(toy_model, "float32")(input_ids=torch.tensor([first["input_ids"]])).logits[0]
    nll = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(first["input_ids"][1:]), reduction="none")
    assert reading.frame == pytest.approx(float(nll[begin - 4 : begin - 1].mean()), rel=1e-4)
    assert reading.rows == pytest.approx(float(nll[begin - 4 :].mean()), rel=1e-4)  # the rest of the start is shared


def test_entropy_weights_change_what_is_learned(toy_model, rows, tmp_path):
    trained = []
    for floor in (1.0, 0.0):
        trainer = trainer_for(toy_model, rows, tmp_path / str(floor), {"type": "linear", "floor": floor}, steps=3)
        trainer.train()
        trained.append(adapter_weights(trainer))
    assert any(not torch.equal(one, trained[1][name]) for name, one in trained[0].items())


def test_the_weighted_loss_is_the_formula_on_the_full_logits(toy_model, rows, tmp_path):
    trainer = trainer_for(toy_model, rows, tmp_path, {"type": "linear", "floor": 0.2})
    examples = [dict(trainer.train_dataset[row]) for row in range(2)]
    loss = trainer.compute_loss(trainer.model, PackedCollator()(examples))
    reference = load_model(toy_model, "float32")
    labels = [torch.tensor(example["labels"][1:]) for example in examples]
    logits = [reference(torch.tensor([example["input_ids"]])).logits[0, :-1] for example in examples]
    logits, labels = torch.cat(logits), torch.cat(labels)
    mask = labels != IGNORED
    log_probs = logits.double().log_softmax(-1)[mask]
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    weights = 0.2 + 0.8 * entropy / math.log(logits.shape[-1])
    weights = weights / weights.mean()
    nll = -log_probs.gather(1, labels[mask][:, None])[:, 0]
    assert loss.item() == pytest.approx(((nll * weights).sum() / mask.sum()).item(), rel=1e-5)


def weighted_rows(path, toy_model, weight):
    """The chat rows, with `weight(place)` for each trained token."""
    renderer = Renderer.from_folder(toy_model)
    made = []
    for row in chat_rows():
        trained = sum(renderer.conversation(row["messages"], None).trained)
        made.append({**row, "meta": {"token_weights": [weight(place) for place in range(trained)]}})
    write_jsonl(path, made)
    return Rows(path=path)


def test_weights_that_rows_bring_scale_the_loss_of_their_tokens(toy_model, tmp_path):
    losses = {}
    for factor in (1.0, 0.5):
        own = weighted_rows(tmp_path / f"{factor}.jsonl", toy_model, lambda place, factor=factor: factor)
        trainer = trainer_for(toy_model, own, tmp_path / str(factor), {"type": "external"}, steps=1)
        trainer.train()
        losses[factor] = trainer.state.log_history[0]["loss"]
    assert losses[0.5] == pytest.approx(losses[1.0] / 2)


def test_weights_that_do_not_fit_their_row_are_refused_by_name(toy_model, rows, tmp_path):
    with pytest.raises(DataError, match=r"row r0.*token_weights"):
        sft(rows, section(toy_model, weighting=EntropyConfig(type="external")), tmp_path / "a", RunContext(quiet=True))
    short = tmp_path / "short.jsonl"
    write_jsonl(short, [{**row, "meta": {"token_weights": [1.0]}} for row in chat_rows()])
    chosen = section(toy_model, weighting=EntropyConfig(type="external"))
    with pytest.raises(DataError, match=r"is \[1.0\]"):
        sft(Rows(path=short), chosen, tmp_path / "b", RunContext(quiet=True))


def test_weights_that_are_all_zero_are_refused_before_anything_is_trained(toy_model, tmp_path):
    silent = weighted_rows(tmp_path / "rows.jsonl", toy_model, lambda place: 0.0)
    chosen = section(toy_model, weighting=EntropyConfig(type="external"))
    with pytest.raises(DataError, match="nothing would be trained"):
        sft(silent, chosen, tmp_path / "out", RunContext(quiet=True))
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_training_leaves_adapter_metrics_and_events_and_no_checkpoints(toy_model, rows, tmp_path):
    run = RunContext(quiet=True)
    trained = sft(rows, section(toy_model), tmp_path / "out", run)
    metrics = trained.metrics()
    assert [row["step"] for row in metrics] == [1, 2, 3, 4, 5, 6]
    wanted = {"loss", "learning_rate", "grad_norm", "entropy", "accuracy", "mean_weight", "tokens", "seconds"}
    assert wanted | {"tokens_per_second"} <= set(metrics[0])
    assert metrics[-1]["tokens"] == trained.tokens_seen
    assert 0 < metrics[0]["entropy"] < 10.9  # at most ln(vocabulary)
    assert (trained.adapter / "adapter_model.safetensors").is_file()
    assert json.loads((trained.adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        toy_model
    )
    assert list((tmp_path / "out" / "tb").glob("events*"))
    assert not (tmp_path / "out" / "checkpoints").exists()
    assert [verdict.name for verdict in run.verdicts] == [
        "fits_memory",
        "loss_is_finite",
        "loss_fell",
        "loss_spikes",
        "weights_moved",
        "entropy_collapsed",
    ]


@pytest.mark.parametrize(
    "weighting", [EntropyConfig(type="linear"), EntropyConfig(type="top_quantile", quantile=0.5, scope="ema")]
)
def test_a_run_that_stopped_half_way_ends_in_the_same_adapter(toy_model, rows, tmp_path, weighting):
    chosen = section(toy_model, weighting=weighting)
    whole = sft(rows, chosen, tmp_path / "whole", RunContext(quiet=True))
    half = tmp_path / "half"
    with pytest.raises(Stopped):
        train_until_step(5, toy_model, rows, chosen, half)
    # as a kill leaves it: the newest checkpoint cut short, the metrics further than the one before it
    assert (half / "checkpoints" / "checkpoint-4" / "complete").is_file()
    (half / "checkpoints" / "checkpoint-5").mkdir()
    assert len((half / "metrics.jsonl").read_text().splitlines()) == 5
    resumed = sft(rows, chosen, half, RunContext(quiet=True))
    assert resumed.adapter_sha256 == whole.adapter_sha256
    for name in ("loss", "tokens", "entropy", "entropy_histogram", "trained_tokens"):
        assert [row[name] for row in resumed.metrics()] == [row[name] for row in whole.metrics()], name
    assert [row["step"] for row in resumed.metrics()] == [1, 2, 3, 4, 5, 6]


def test_with_a_ratio_the_b_matrices_learn_faster_and_the_others_as_before(toy_model, rows, tmp_path):
    trainer = trainer_for(toy_model, rows, tmp_path, {"type": "none"}, lora={"lr_ratio": 4.0}, warmup=0.0, steps=1)
    trainer.train()
    rates = {
        name.split(".")[-3]: group["initial_lr"]
        for group in trainer.optimizer.param_groups
        for name, parameter in trainer.model.named_parameters()
        if any(parameter is held for held in group["params"])
    }
    assert rates == {"lora_A": 1e-3, "lora_B": 4e-3}


class Stopped(Exception):
    pass


def train_until_step(step, toy_model, rows, chosen, out):
    """Train as the stage does, and break off in the middle."""
    from transformers import AutoTokenizer, TrainerCallback

    from tunewright.models.load import load_model
    from tunewright.progress import task
    from tunewright.stages.sft.progress import Recorder
    from tunewright.stages.sft.trainer import make_trainer

    class Stop(TrainerCallback):
        def on_log(self, args, state, control, **_):
            if state.global_step == step:
                raise Stopped

    out.mkdir()
    plan = plan_training(rows, chosen, Renderer.from_folder(toy_model))
    with task("training", plan.steps) as bar:
        tokenizer = AutoTokenizer.from_pretrained(toy_model)
        model = load_model(toy_model, "float32")
        trainer = make_trainer(model, tokenizer, plan.examples, chosen, plan.steps, out, "float32")
        trainer.add_callback(Recorder(out, 0, bar, trainer.meter, trainer.selector, None))
        trainer.add_callback(Stop())
        trainer.train()


def test_every_step_is_in_a_line_however_seldom_lines_are_written(toy_model, rows, tmp_path):
    seldom = sft(rows, section(toy_model, log_every=4, save_every=3), tmp_path / "a", RunContext(quiet=True))
    assert [row["step"] for row in seldom.metrics()] == [3, 4, 6]
    always = sft(rows, section(toy_model), tmp_path / "b", RunContext(quiet=True))
    for name in ("trained_tokens",):
        assert sum(row[name] for row in seldom.metrics()) == sum(row[name] for row in always.metrics())
    assert seldom.adapter_sha256 == always.adapter_sha256


def test_an_attempt_that_stopped_before_its_summary_is_made_good(toy_model, rows, tmp_path):
    whole = sft(rows, section(toy_model), tmp_path / "out", RunContext(quiet=True))
    (tmp_path / "out" / "trained.json").unlink()
    again = sft(rows, section(toy_model), tmp_path / "out", RunContext(quiet=True))
    assert again.adapter_sha256 == whole.adapter_sha256


@pytest.mark.parametrize("weighting", [{"type": "deft"}, {"type": "linear", "eaft_compat": "axolotl"}])
def test_a_weighting_that_the_head_of_trl_cannot_carry_out_is_refused(toy_model, rows, tmp_path, weighting):
    with pytest.raises(ModelError, match="needs the fused path"):
        trainer_of_unknown_model(toy_model, rows, tmp_path, weighting)


def test_two_runs_of_the_same_section_give_the_same_adapter(toy_model, rows, tmp_path):
    hashes = {
        sft(rows, section(toy_model), tmp_path / name, RunContext(quiet=True)).adapter_sha256 for name in ("a", "b")
    }
    assert len(hashes) == 1


def test_only_answer_and_end_of_turn_are_labels(toy_model, rows):
    renderer = Renderer.from_folder(toy_model)
    plan = plan_training(rows, section(toy_model), renderer)
    for example in plan.examples:
        kept = [token for token in example["labels"] if token != IGNORED]
        assert kept[-1] in renderer.stop_token_ids
        assert renderer.decode(kept).strip().endswith(".")
        assert len(example["labels"]) == len(example["input_ids"])


def test_a_row_longer_than_the_context_is_refused_by_name(toy_model, tmp_path):
    path = tmp_path / "long.jsonl"
    messages = [{"role": "user", "content": "word " * 600}, {"role": "assistant", "content": "yes"}]
    write_jsonl(path, [{"id": "the-long-one", "messages": messages}])
    with pytest.raises(DataError, match="the-long-one") as caught:
        sft(Rows(path=path), section(toy_model), tmp_path / "out", RunContext(quiet=True))
    assert "at most 512" in str(caught.value)


def test_no_rows_are_refused(toy_model, tmp_path):
    path = tmp_path / "none.jsonl"
    path.touch()
    with pytest.raises(DataError, match="no rows to train on"):
        sft(Rows(path=path), section(toy_model), tmp_path / "out", RunContext(quiet=True))


def test_three_passes_see_every_row_three_times():
    order = plan_order([5] * 10, batch_size=2, num_rows=30, seed=1)
    assert sorted(order) == sorted(list(range(10)) * 3)


def test_the_order_depends_on_the_seed_alone():
    lengths = list(range(40))
    assert plan_order(lengths, 4, 60, 1) == plan_order(lengths, 4, 60, 1)
    assert plan_order(lengths, 4, 60, 1) != plan_order(lengths, 4, 60, 2)


def test_batches_hold_rows_of_similar_length():
    rng = random.Random(0)
    lengths = [rng.randint(10, 400) for _ in range(256)]
    order = plan_order(lengths, 4, 256, 0)

    def padded(rows):
        return sum(4 * max(lengths[i] for i in rows[at : at + 4]) for at in range(0, 256, 4))

    shuffled = rng.sample(range(256), 256)
    assert padded(order) < 0.75 * padded(shuffled)


def test_steps_come_from_epochs_and_rows():
    assert num_steps(100, 8, None, 2) == 25
    assert num_steps(101, 8, None, 1) == 13
    assert num_steps(3, 8, None, 0.1) == 1
    assert num_steps(100, 8, 60, None) == 60


# ── a full disk ─────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def files_of_at_most(num_bytes):
    """No file of this process may grow larger, as on a disk that fills up; Python lets it be an error, not a signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("rank", "num_bytes", "told"),
    [
        pytest.param(64, 200_000, "Error while serializing: .*File too large", id="safetensors-writes-the-adapter"),
        pytest.param(512, 5_000_000, "unexpected pos|iostream error", id="torch-writes-the-optimizer"),
    ],
)
def test_a_disk_that_is_full_while_a_checkpoint_is_written_is_told_and_training_goes_on_later(
    toy_model, rows, tmp_path, rank, num_bytes, told
):
    chosen = section(toy_model, lora={"rank": rank}, steps=2, save_every=1)
    with files_of_at_most(num_bytes), pytest.raises(EnvironmentProblem, match=rf"no room left to write \(.*({told})"):
        sft(rows, chosen, tmp_path, RunContext(quiet=True))
    assert sft(rows, chosen, tmp_path, RunContext(quiet=True)).steps == 2


def test_a_disk_that_is_full_while_a_tokenizer_is_written_is_told(toy_model, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(toy_model)
    with files_of_at_most(1_000_000), pytest.raises(EnvironmentProblem, match=r"no room left to write \(.*too large"):  # noqa: SIM117
        with writing_weights(tmp_path):
            tokenizer.save_pretrained(tmp_path)


def test_a_disk_that_is_full_when_the_adapter_is_put_in_place_is_told(toy_model, rows, tmp_path):
    chosen = section(toy_model, lora={"rank": 64}, steps=1, save_every=9)
    with files_of_at_most(200_000), pytest.raises(EnvironmentProblem, match="no room left to write"):
        sft(rows, chosen, tmp_path, RunContext(quiet=True))
    assert not (tmp_path / "adapter").exists()
    assert sft(rows, chosen, tmp_path, RunContext(quiet=True)).steps == 1


def test_another_error_in_training_is_no_full_disk(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"), writing_weights(tmp_path):
        raise RuntimeError("CUDA out of memory")


def test_few_tokens_compile_no_row_functions_and_their_number_is_told_from_the_first_rows(toy_model, rows, tmp_path):
    from datasets import Dataset

    from tunewright.stages.sft.trainer import num_logits

    trainer = trainer_for(toy_model, rows, tmp_path, {"type": "none"}, steps=1)
    counted = sum(label != -100 for row in trainer.train_dataset["labels"] for label in row)
    assert num_logits(trainer.train_dataset, trainer.model) == counted * trainer.model.config.vocab_size
    assert trainer._row_kernels == ("eager" if trainer.args.device.type == "cpu" else "auto")
    many = Dataset.from_list([{"labels": [-100, 1, 2]}] * 1500)
    assert num_logits(many, trainer.model) == 3000 * trainer.model.config.vocab_size
    assert num_logits(Dataset.from_list([{"input_ids": [1]}]), trainer.model) == math.inf
