import pytest
from sample_run import SampleRun
from test_report_page import Page, embedded, page_of

from tunewright.artifacts.files import read_jsonl, write_jsonl
from tunewright.reports.parts import WEIGHT_CURVES
from tunewright.reports.uncertainty import NUM_BINS, NUM_RIDGES, bin_edges, uncertainty


def lines(steps, **more):
    """Lines whose tokens move from bin 50 to bin 10, a hundred a step."""
    for step in range(1, steps + 1):
        counts = [0] * NUM_BINS
        counts[50 if step <= steps // 2 else 10] = 100
        deciles = [0.02, 0.02, 0.03, 0.03, 0.05, 0.05, 0.1, 0.1, 0.2, 0.4]
        yield {"step": step, "entropy": 1 / step, "entropy_histogram": counts, "nll_by_entropy_decile": deciles, **more}


def changing(line):
    """Columns of an unweighted run: plain NLL and loss are one."""
    return {"nll": line["loss"], "effective_tokens": 300 - 1e-3 * line["step"], "conflict_share": 0.1 / line["step"]}


def test_the_bins_are_those_that_training_writes():
    from tunewright.losses.metrics import histogram_edges

    assert bin_edges() == pytest.approx(histogram_edges())


def test_the_columns_are_those_that_training_writes():
    from tunewright.losses.metrics import EntropyMeter

    drawn = {"entropy", "entropy_histogram", "nll_by_entropy_decile", *(column for column, *_ in WEIGHT_CURVES)}
    assert drawn <= set(EntropyMeter().result())


def test_runs_without_histograms_show_nothing_of_them():
    assert uncertainty([]) is None
    assert uncertainty([{"step": 1, "loss": 0.5, "entropy": 0.1}]) is None
    assert uncertainty([{"step": 1, "entropy_histogram": None}]) is None
    assert uncertainty([{"step": 2, "entropy_histogram": [0] * NUM_BINS}]) is None


def test_ridges_follow_the_training_from_top_to_bottom():
    told = uncertainty(list(lines(70)))
    assert [ridge["steps"] for ridge in told["ridges"]][::3] == ["steps 1–10", "steps 31–40", "steps 61–70"]
    assert len(told["ridges"]) == NUM_RIDGES
    assert (told["ridges"][0]["sure"], told["ridges"][-1]["sure"]) == ("0%", "100%")


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_of_few_steps_has_few_ridges(steps):
    told = uncertainty(list(lines(steps)))
    assert [ridge["steps"] for ridge in told["ridges"]] == [f"step {step}" for step in range(1, steps + 1)]
    assert len(told["deciles"]["key"]) == min(steps, 2)


def test_deciles_that_are_not_there_are_left_out():
    assert uncertainty(list(lines(4, nll_by_entropy_decile=None)))["deciles"] is None


def test_the_report_shows_them_where_the_run_wrote_them(tmp_path):
    sample = SampleRun(tmp_path / "runs")
    sample.sft()
    run = sample.state("stopped")
    assert "How sure it became" not in page_of(run)
    path = run.stage_folder("sft") / "metrics.jsonl"
    old = [line for _, line in read_jsonl(path)]
    new = lines(100, selected_share=1.0, trained_tokens=300)
    write_jsonl(path, ({**old_line, **line, **changing(old_line)} for old_line, line in zip(old, new, strict=True)))
    html = page_of(run)
    page = Page(html)
    assert "How sure it became" in page.said and sum(a.get("class") == "ridge" for _, a in page.tags) == NUM_RIDGES
    curves = set(embedded(html)["curves"])
    assert "sft.conflict_share" in curves and not {"sft.nll", "sft.effective_tokens", "sft.selected_share"} & curves


def test_a_weighted_run_shows_its_plain_loss_too(tmp_path):
    sample = SampleRun(tmp_path / "runs")
    sample.sft()
    run = sample.state("stopped")
    path = run.stage_folder("sft") / "metrics.jsonl"
    old = [line for _, line in read_jsonl(path)]
    write_jsonl(
        path, ({**line, "nll": 0.5 * line["loss"], "selected_share": 0.2 + 1e-4 * line["step"]} for line in old)
    )
    curves = set(embedded(page_of(run))["curves"])
    assert {"sft.nll", "sft.selected_share"} <= curves and "sft.effective_tokens" not in curves
