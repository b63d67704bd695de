import pytest
from benchmarks.entropy_quality import BASE, LABELS, RAW, SCALED, Cell, Settings, corrupted, main, plan, results, run
from benchmarks.quality_report import NONE

from tunewright.artifacts.dataset import ChatRow
from tunewright.recipe.sections import BfclSource
from tunewright.sources.read import read_source


def call(row):
    return row.answer["tool_calls"][0]["function"]


def test_a_fifth_of_the_labels_is_wrong_and_the_same_ones_every_time():
    rows = [row for row in read_source(BfclSource(type="bfcl")) if isinstance(row, ChatRow)][:200]
    wrong = corrupted(rows, 0.2, seed=1)
    changed = [(row, other) for row, other in zip(rows, wrong, strict=True) if call(row) != call(other)]
    assert len(changed) == 40
    assert wrong == corrupted(rows, 0.2, seed=1)
    assert wrong != corrupted(rows, 0.2, seed=2)
    assert all(row.prompt == other.prompt and row.tools == other.tools for row, other in changed)
    kinds = [call(row)["name"] == call(other)["name"] for row, other in changed]
    assert any(kinds)
    assert not all(kinds)


def test_the_first_seed_of_every_arm_comes_first():
    cells = plan([NONE, RAW, SCALED], 2, LABELS)
    assert [cell.seed for cell in cells] == [1] * 6 + [2] * 6
    assert cells.index(Cell(RAW, 1, "clean")) < cells.index(Cell(SCALED, 1, "clean"))


def test_the_scaled_arm_needs_the_one_it_takes_its_rate_from(capsys):
    with pytest.raises(SystemExit):
        main(["--arms", NONE, SCALED])
    assert RAW in capsys.readouterr().err


def test_a_stopped_run_goes_on_and_trains_nothing_twice(toy_model, tmp_path, capsys):
    settings = Settings(model=str(toy_model), steps=1, test_rows=2, prompts=2, answer_tokens=4)
    cells = plan([NONE, RAW, SCALED], 1, ["corrupted"])
    run(settings, cells[:2], tmp_path)
    log = tmp_path / "results.jsonl"
    before = log.read_bytes()
    log.write_bytes(before + b'{"arm": "dft", "se')  # killed while it wrote
    run(settings, cells, tmp_path)
    run(settings, cells, tmp_path)
    assert "3 trainings of 1 steps, 3 of them are there" in capsys.readouterr().out
    assert log.read_bytes().startswith(before)
    found = {line["arm"]: line for line in results(tmp_path, settings)}
    assert list(found) == [BASE, NONE, RAW, SCALED]
    assert found[SCALED]["learning_rate"] == pytest.approx(1e-3 * found[RAW]["mean_weight"])
    assert found[BASE]["kl"] == pytest.approx([0, 0], abs=1e-5)
    assert len(found[NONE]["nll"]) == len(found[NONE]["rows"]) == 2
    main(["--report", "--quick", "--model", str(toy_model), "--out", str(tmp_path)])
    assert "Corrupted labels" in capsys.readouterr().out
    assert list(tmp_path.glob("entropy_quality_*.md"))
