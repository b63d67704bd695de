import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

from sample_run import SampleRun, complete_run

from tunewright.cli.main import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return complete_run(Path("runs"))


def test_show_puts_a_run_on_one_screen(run, capsys):
    assert main(["show", "tour"]) == 0
    out = capsys.readouterr().out
    assert "tour/1  done" in out and "calls tools better: args exact 0% → 45.3%" in out
    assert "100 steps, loss 1.18 → 0.131" in out and "warned: gradient_clipped" in out
    assert len(out.splitlines()) < 24 and "\x1b" not in out


def test_the_report_of_a_run_elsewhere_is_named_by_its_folder(tmp_path, monkeypatch, capsys):
    run = complete_run(tmp_path / "other place")
    (run.path / "report.html").unlink(missing_ok=True)
    monkeypatch.chdir(tmp_path)
    assert main(["show", str(run.path)]) == 0
    assert f"`tw report '{run.path}'` writes it" in capsys.readouterr().out
    assert main(["checklist", str(run.path)]) == 1
    assert f"`tw report '{run.path}'`" in " ".join(capsys.readouterr().out.split())


def test_show_as_json_is_one_document_with_every_stage(run, capsys):
    assert main(["show", "tour/1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [stage["id"] for stage in told["stages"]] == run.stage_ids()
    assert told["verdict"] == "better" and told["stages"][5]["result"]["main_metric"] == "args_exact"


def test_show_says_what_to_do_with_a_stopped_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sample = SampleRun(Path("runs"))
    sample.data()
    sample.state("stopped")
    assert main(["show", "tour"]) == 0
    assert "Give `tw run recipes/tour.yaml` again" in capsys.readouterr().out


def test_show_rows_prints_conversations(run, capsys):
    assert main(["show", "rows", "tour", "--limit", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("user: ") == 2 and "assistant: <tool_call>" in out


def test_show_rows_as_tokens_marks_what_is_trained(run, capsys):
    assert main(["show", "rows", "tour", "--tokens", "--limit", "1"]) == 0
    out = capsys.readouterr().out
    marked = out.partition("⟦")[2].partition("⟧")[0]
    assert marked.startswith("<tool_call>") and marked.endswith("<|im_end|>")
    assert "37 of 77 tokens trained" in out and out.count("⟦") == 1 and "\x1b" not in out


def test_tokens_as_json_are_pieces_with_their_mask(run, capsys):
    assert main(["show", "rows", "tour", "--tokens", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 3 and sum(trained for _, trained in rows[0]["pieces"]) == 37


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "rows"], "no run was named"),
        (["show", "nothing"], "no run 'nothing'"),
        (["show", "tour", "more"], "`tw show RUN` or `tw show rows RUN`"),
        (["show", "tour", "--tokens", "--limit", "3"], "fix: tw show rows tour --tokens --limit 3"),
        (["show", "tour", "--limit", "3"], "--limit 3: it is of rows"),
        (["report", "tour/9"], "runs under runs/: tour/1"),
        (["compare", "tour/1", "tour/1:after"], "no scores in 'tour/1'"),
        (["compare", "tour:sft", "tour:after"], "stage 'sft' scored nothing"),
        (["compare", "tour:nope", "tour:after"], "no stage 'nope'"),
    ],
)
def test_what_is_not_there_is_a_clean_error(run, capsys, arguments, message):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_report_prints_where_the_page_is(run, capsys):
    assert main(["report", "tour"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.name == "report.html" and path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main(["report", "tour", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == "tour/1"


def test_journal_lists_all_runs(run, capsys):
    SampleRun(Path("runs"), learning_rate=2e-3).state("failed")
    assert main(["journal"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "args exact 0% → 45.3%" in lines[1] and "keep" in lines[1]
    assert "sft.learning_rate: 0.001 -> 0.002" in lines[2] and "failed" in lines[2]


def test_journal_as_json_is_one_document(run, capsys):
    assert main(["journal", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["run"], row["verdict"], row["num_rows"]) == ("tour/1", "better", 150)


def test_journal_without_runs_says_how_to_make_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["journal"]) == 0
    assert "tw run RECIPE" in capsys.readouterr().out


@pytest.mark.parametrize(
    "form", ["{run}:{id}", "runs/{run}/{n}-{id}", "{run}/{n}-{id}", "runs/{run}/{n}-{id}/scores.jsonl"]
)
def test_compare_takes_stages_folders_and_files(run, capsys, form):
    sides = [form.format(run="tour/1", id=name, n=number) for name, number in (("before", 2), ("after", 5))]
    assert main(["compare", *sides, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["main_metric"], told["verdict"]) == ("args_exact", "better")
    assert {test["metric"]: test["gained"] for test in told["tests"]}["args_exact"] == 68


def test_compare_ends_with_1_when_the_candidate_is_worse(run, capsys):
    assert main(["compare", "tour:after", "tour:before-few-shot"]) == 1
    assert "B is worse: args exact 45.3% → 12%" in capsys.readouterr().out


def test_compare_of_a_model_with_itself_shows_nothing(run, capsys):
    assert main(["compare", "tour:after", "tour:after"]) == 0
    assert "Not shown" in capsys.readouterr().out


def test_compare_names_the_line_that_is_no_scored_row(run, capsys):
    file = Path("mine.jsonl")
    file.write_text('{"id": "a"}\n', encoding="utf-8")
    assert main(["compare", str(file), "tour:after"]) == 2
    assert "mine.jsonl:1" in capsys.readouterr().err


def test_what_people_read_of_a_run_needs_no_torch(run):
    code = (
        "import sys; from tunewright.cli.main import main\n"
        "for words in (['show', 'tour'], ['show', 'rows', 'tour', '--tokens'], ['report', 'tour'], ['journal'],\n"
        "              ['compare', 'tour:before', 'tour:after']):\n"
        "    assert main(words) == 0, words\n"
        "assert not {'torch', 'transformers', 'trl', 'peft', 'datasets'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
