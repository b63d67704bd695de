from sample_run import SampleRun, complete_run

from tunewright.artifacts.verdict import judge
from tunewright.reports.gather import changes
from tunewright.reports.journal import NOTES, journal_rows, write_journal


def test_the_journal_tells_hypothesis_result_verdict_cost_and_command(run):
    text = write_journal(run).read_text(encoding="utf-8")
    for part in (
        "# tour/1, 21 November 2026",
        "**Hypothesis.** A model of 135M",
        "args exact 0% → 45.3% (+45.3 points, 95% interval 37.4 to 53.3, p < 1e-12, n = 150)",
        "Against base, 3 worked examples: better",
        "**Verdict: keep.**",
        "| sft | sft | done",
        "6 min 50 s |",
        "**warned** `gradient_clipped` (sft)",
        "git checkout 4f6c2a91",
        "    tw run recipes/tour.yaml",
    ):
        assert part in text, part


def test_notes_survive_when_the_journal_is_written_again(run):
    path = write_journal(run)
    path.write_text(path.read_text(encoding="utf-8") + "\nTry rank 32.\n\n- and more rows ✓\n", encoding="utf-8")
    once = write_journal(run).read_text(encoding="utf-8")
    assert once.endswith("\nTry rank 32.\n\n- and more rows ✓\n")
    assert write_journal(run).read_text(encoding="utf-8") == once


def test_notes_whose_marker_was_taken_away_are_not_lost(run):
    path = write_journal(run)
    path.write_text("my own words", encoding="utf-8")
    text = write_journal(run).read_text(encoding="utf-8")
    assert text.startswith("# tour/1") and text.partition(NOTES)[2].strip() == "my own words"


def test_a_hypothesis_cannot_open_the_notes(tmp_path):
    sample = SampleRun(tmp_path / "runs", hypothesis=f"more | rows\n{NOTES}\nhelp")
    run = sample.state("stopped")
    once = write_journal(run).read_text(encoding="utf-8")
    assert once.count(NOTES) == 1 and write_journal(run).read_text(encoding="utf-8") == once


def test_a_line_of_a_table_cannot_be_broken_by_what_it_tells(sample):
    sample.stages["data"] |= {"status": "failed", "why": "a | b\nc"}
    assert "| data | data | failed: a \\| b c | – |" in write_journal(sample.state("failed")).read_text(
        encoding="utf-8"
    )


def test_the_journal_says_what_changed_since_the_run_before(tmp_path):
    complete_run(tmp_path / "runs")
    second = SampleRun(tmp_path / "runs", learning_rate=2e-3, hypothesis="faster").state("stopped")
    text = write_journal(second).read_text(encoding="utf-8")
    assert "Since tour/1:\n\n- `sft.learning_rate: 0.001 -> 0.002`\n" in text and "hypothesis:" not in text
    assert "**The run was stopped between two stages.** Give `tw run recipes/tour.yaml` again" in text


def test_failed_gates_open_the_list(sample):
    sample.data(
        judge("short_rows", False, warn=True, measured="9", bound="0", remedy=""),
        judge("leak", False, measured="12", bound="0", remedy="split by function"),
    )
    text = write_journal(sample.state("failed")).read_text(encoding="utf-8")
    assert text.index("**failed** `leak`") < text.index("**warned** `short_rows`")


def test_added_and_removed_stages_are_named_by_id():
    old = {"model": "a", "stages": [{"data": {"id": "data", "x": 1}}, {"sft": {"id": "sft"}}]}
    new = {"model": "b", "stages": [{"data": {"id": "data", "x": 2}}, {"evaluate": {"id": "after"}}]}
    assert changes(old, new) == ["data.x: 1 -> 2", 'model: "a" -> "b"', "stage after added", "stage sft removed"]


def test_all_runs_stand_in_one_table_by_the_time_they_started(tmp_path):
    root = tmp_path / "runs"
    complete_run(root)
    SampleRun(root, learning_rate=2e-3).state("failed")
    first, second = journal_rows(root)
    assert (first.run, first.verdict, first.num_rows, first.metric) == ("tour/1", "better", 150, "args_exact")
    assert (second.run, second.verdict, second.status) == ("tour/2", None, "failed")
    assert second.changed == ["sft.learning_rate: 0.001 -> 0.002"]
    assert first.interval[0] < first.difference < first.interval[1]


def test_no_runs_are_no_rows(tmp_path):
    assert journal_rows(tmp_path / "nothing") == []


def test_a_damaged_run_hides_no_other(tmp_path):
    root = tmp_path / "runs"
    complete_run(root)
    SampleRun(root, learning_rate=2e-3).state("failed")
    SampleRun(root, learning_rate=3e-3).state("failed")
    (root / "tour" / "2" / "recipe.resolved.json").write_text("{")
    damaged, first, third = journal_rows(root)
    assert (damaged.run, damaged.status.split(":")[0]) == ("tour/2", "damaged")
    assert first.verdict == "better"
    assert third.changed == ["sft.learning_rate: 0.001 -> 0.003"]  # since the newest run that can be read
