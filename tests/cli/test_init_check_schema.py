"""`tw init`, `tw check --static` and `tw schema`, as a user calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.pace import assert_takes_less_than
from tests.recipe.conftest import GOOD, SIX

from tunewright.cli.main import main
from tunewright.recipe.load import load_recipe
from tunewright.recipe.schema import recipe_schema

TW = Path(sys.executable).with_name("tw")
FLAGS = ["--model", "smollm2-135m-instruct", "--dataset", "bfcl"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ── init ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_init_asks_nothing_when_flags_say_it_all(here, capsys):
    assert main(["init", "new.yaml", *FLAGS, "--steps", "30", "--entropy-aware"]) == 0
    recipe = load_recipe(here / "new.yaml")
    assert (recipe.recipe, recipe.stages[3][1].steps, recipe.stages[3][1].weighting.type) == ("new", 30, "linear")
    assert "tw check new.yaml" in capsys.readouterr().out


def test_init_writes_the_schema_that_the_recipe_points_to(here, capsys):
    main(["init", "a/b/new.yaml", *FLAGS])
    line = (here / "a/b/new.yaml").read_text().splitlines()[0]
    target = here / "a/b" / line.rpartition("=")[2]
    assert json.loads(target.read_text()) == recipe_schema()


def test_init_writes_a_files_path_as_seen_from_the_recipe(here, capsys):
    (here / "my rows.jsonl").write_text("{}\n")
    assert main(["init", "a/new.yaml", "--model", "a/b", "--dataset", "my rows.jsonl"]) == 0
    assert load_recipe(here / "a/new.yaml").stages[0][1].sources[0].path == "my rows.jsonl"


@pytest.mark.parametrize("name", ["rows", "rows.dat"])
@pytest.mark.parametrize("recipe", ["new.yaml", "a/new.yaml"])
def test_init_takes_a_file_of_any_ending_wherever_the_recipe_stands(here, name, recipe):
    (here / name).write_text("{}\n")
    assert main(["init", recipe, "--model", "a/b", "--dataset", f"./{name}"]) == 0
    assert load_recipe(here / recipe).stages[0][1].sources[0].path == name


CONTROLS = ["two\nlines", "a\u2028b", "a\x85b\x7f", "\x1b[31mred", "tab\t", "\U000e0001"]
ODD = [*CONTROLS, "it's", 'a "b"', "a # b", "a  # b", "{x}: [y]"]


@pytest.mark.parametrize("name", ODD)
def test_init_takes_files_and_folders_of_any_name(here, name):
    (here / name).mkdir()
    (here / name / f"{name}.jsonl").write_text("{}\n")
    dataset, recipe = f"{name}/{name}.jsonl", f"{name}/{name}.yaml"
    assert main(["init", recipe, "--model", f"./{name}", "--dataset", dataset]) == 0
    loaded = load_recipe(Path(recipe))
    assert (loaded.model, loaded.stages[0][1].sources[0].path) == (f"./{name}", dataset)


def test_the_commands_that_a_new_recipe_shows_can_be_pasted_whatever_it_is_called(here):
    name = os.fsdecode(b"odd \xff\n$(x) it's.yaml")
    assert main(["init", name, *FLAGS]) == 0
    line = next(line for line in Path(name).read_text().splitlines() if line.startswith("#   check it"))
    pasted = line.partition("tw check ")[2]
    done = subprocess.run(["bash", "-c", f"ls -d {pasted}"], capture_output=True, timeout=600, check=False)
    assert done.stdout == os.fsencode(name) + b"\n"


@pytest.mark.parametrize("flag", ["--model", "--dataset"])
def test_init_refuses_a_name_that_utf8_text_cannot_hold(here, capsys, flag):
    name = os.fsdecode(b"\xff/rows.jsonl")
    Path(name).parent.mkdir()
    Path(name).write_text("{}\n")
    for verb in (["init", "new.yaml"], ["finetune"]):
        other = {"--model": ["--dataset", "bfcl"], "--dataset": ["--model", "a/b"]}[flag]
        assert main([*verb, flag, name, *other]) == 2
        assert r"\xff/rows.jsonl' is not UTF-8" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == [os.fsdecode(b"\xff")]


@pytest.mark.parametrize("epochs", ["0.123456789012", "1234567.5", "3", "1e-7", "1e22"])
def test_init_keeps_every_digit_of_the_epochs(here, epochs):
    assert main(["init", "new.yaml", *FLAGS, "--epochs", epochs]) == 0
    assert load_recipe(here / "new.yaml").stages[3][1].epochs == float(epochs)


@pytest.mark.parametrize("verb", [["init", "new.yaml"], ["finetune"]])
@pytest.mark.parametrize("epochs", ["nan", "inf", "-inf", "0", "-1", "1e-999"])
def test_epochs_that_are_no_number_of_passes_are_refused_before_anything_is_written(here, capsys, verb, epochs):
    assert main([*verb, *FLAGS, "--epochs", epochs]) == 2
    assert "--epochs: --epochs is" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_init_never_overwrites_without_force(here, capsys):
    (here / "new.yaml").write_text("mine")
    assert main(["init", "new.yaml", *FLAGS]) == 2
    assert (here / "new.yaml").read_text() == "mine"
    assert main(["init", "new.yaml", *FLAGS, "--force"]) == 0
    assert (here / "new.yaml").read_text() != "mine"


def test_init_checks_everything_before_it_writes_anything(here, capsys):
    for wrong in (
        ["--model", "smolm2", "--dataset", "bfcl"],
        ["--model", "a/b", "--dataset", "nothing.jsonl"],
        ["--model", "a/b", "--dataset", "nothing"],
        [*FLAGS, "--steps", "3", "--epochs", "1"],
        [*FLAGS, "--epochs", "0"],
        [*FLAGS, "--name", "No Name"],
    ):
        assert main(["init", "new.yaml", *wrong]) == 2, wrong
        assert list(here.iterdir()) == []


@pytest.mark.parametrize("file", ["qa.parquet", "qa.txt", "data/qa.csv", "qa.xlsx"])
def test_init_tells_of_a_file_that_is_not_there_and_which_formats_it_may_have(here, capsys, file):
    assert main(["init", "new.yaml", "--model", "a/b", "--dataset", file]) == 2
    told = capsys.readouterr().err
    assert f"there is no file `{file}`" in told and ".parquet, .csv, .tsv" in told


def test_init_without_a_terminal_says_which_flags_are_missing(here):
    done = subprocess.run([TW, "init"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert "tw init --model" in done.stderr


def test_init_asks_on_a_terminal_for_what_flags_do_not_say(here):
    pty = pytest.importorskip("pty")
    child, terminal = pty.fork()
    if child == 0:
        os.execv(TW, [str(TW), "init", "new.yaml", "--model", "a/b"])
    os.write(terminal, b"bfcl\n")
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert load_recipe(here / "new.yaml").stages[0][1].sources[0].type == "bfcl"


def test_init_into_a_folder_is_told(here, capsys):
    assert main(["init", ".", *FLAGS]) == 2
    assert "folder" in capsys.readouterr().err


def test_init_prints_json(here, capsys):
    main(["init", "new.yaml", *FLAGS, "--json"])
    assert json.loads(capsys.readouterr().out) == {"recipe": "new.yaml", "schema": ".tunewright/schema.json"}


# ── check ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_check_prints_a_line_a_stage(here, capsys):
    (here / "good.yaml").write_text(GOOD)
    assert main(["check", "good.yaml", "--static"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 7
    assert out.splitlines()[-1] == "7 gates PASSED"
    assert "from before, after" in out
    assert "makes data.train, data.test" in out


def test_check_prints_nothing_that_a_terminal_obeys(here, capsys):
    (here / "\x1b[31m").mkdir()
    (here / "good.yaml").write_text(GOOD.replace("smollm2-135m-instruct", '"./\\e[31m"'))
    assert main(["check", "good.yaml", "--static"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "⟨U+001B⟩[31m" in out


def test_check_prints_json(here, capsys):
    (here / "good.yaml").write_text(GOOD)
    main(["check", "good.yaml", "--static", "--json", "--set", "seed=3"])
    value = json.loads(capsys.readouterr().out)
    assert value["recipe"]["seed"] == 3
    assert [stage["id"] for stage in value["plan"]] == ["data", "before", "sft", "after", "compare"]
    assert value["plan"][3]["reads"] == ["sft", "data.test"]
    assert {verdict["status"] for verdict in value["verdicts"]} == {"PASSED"}


def test_check_ends_with_1_where_the_design_cannot_show_anything(here, capsys):
    (here / "swapped.yaml").write_text(
        GOOD.replace("baseline: before, candidate: after", "baseline: after, candidate: before")
    )
    assert main(["check", "swapped.yaml", "--static"]) == 1
    out = capsys.readouterr().out
    assert "FAILED  candidate_is_the_trained_one" in out and "swap them" in out
    assert out.splitlines()[-1] == "6 gates PASSED"


def test_check_tells_six_mistakes_with_their_places_and_exits_2(here, capsys):
    (here / "six.yaml").write_text(SIX)
    assert main(["check", "six.yaml", "--static"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    places = [line.split(" ")[0] for line in err.splitlines() if line.startswith("six.yaml:")]
    assert places == [f"six.yaml:{place}:" for place in ("2:1", "5:49", "6:5", "7:41", "7:48", "9:26")]
    for right in ("seed", "data.split.test", "evaluate", "sft.lora.rank", "before"):
        assert f"did you mean: {right}\n" in err
    assert err.endswith("6 problems in the recipe\n")


def test_check_gives_all_problems_as_json(here, capsys):
    (here / "six.yaml").write_text(SIX)
    assert main(["check", "six.yaml", "--static", "--json"]) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [problem["where"] for problem in problems][:2] == ["six.yaml:2:1", "six.yaml:5:49"]


def test_check_static_of_six_mistakes_takes_less_than_six_tenths_of_a_second(here):
    (here / "six.yaml").write_text(SIX)
    assert_takes_less_than(0.6, [TW, "check", "--static", "six.yaml"], returncode=2)


# ── schema ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_schema_prints_or_writes_the_json_schema(here, capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == recipe_schema()
    assert main(["schema", "--output", "deep/schema.json"]) == 0
    assert json.loads((here / "deep/schema.json").read_text()) == recipe_schema()
    assert capsys.readouterr().out == ""
    assert main(["schema", "--output", "deep/schema.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": "deep/schema.json"}
