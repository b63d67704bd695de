import pytest
from benchmarks.sft_step import ARMS, KINDS, OURS, STOCK, race, read_setup, shares, steps_of


@pytest.fixture(scope="module")
def setup(toy_model, tmp_path_factory):
    from tunewright.artifacts.files import write_jsonl

    folder = tmp_path_factory.mktemp("sft-step")
    messages = [
        [
            {"role": "user", "content": f"Say {i}." + " Please." * (i % 5)},
            {"role": "assistant", "content": f"It is {i}."},
        ]
        for i in range(20)
    ]
    write_jsonl(folder / "rows.jsonl", ({"id": f"r{i}", "messages": each} for i, each in enumerate(messages)))
    (folder / "toy.yaml").write_text(
        f"recipe: toy\nmodel: {toy_model}\nstages:\n"
        "  - data: {sources: [{type: jsonl, path: rows.jsonl}], split: {test: 2}}\n"
        "  - sft: {rows: data.train, steps: 9, batch_size: 2, learning_rate: 1e-2, precision: float32,"
        " weighting: {type: linear}}\n"
    )
    return read_setup(folder / "toy.yaml", folder, steps=3)


def test_what_is_added_changes_no_loss_before_the_weights_do(setup):
    trainers = {name: steps_of(make(setup), setup.plan.steps) for name, make in ARMS.items()}
    seconds, losses = race(trainers, 2)
    assert all(len(values) == 2 for values in seconds.values())
    for name in ARMS:
        if name != OURS:
            assert losses[name] == pytest.approx(losses[STOCK], rel=2e-5), name
    assert (setup.out / "weights" / "metrics.jsonl").read_text().count("\n") == 2
    found = shares(trainers[OURS], 1)
    assert list(found["seconds"]) == list(KINDS)
    assert found["seconds"]["matmul of the head"] > 0
    assert found["flop"] > 0


def test_tokens_of_a_step_are_those_of_its_rows(setup):
    rows = [len(row["input_ids"]) for row in setup.plan.examples]
    assert [setup.tokens_of_step(step) for step in range(3)] == [sum(rows[at : at + 2]) for at in (0, 2, 4)]
