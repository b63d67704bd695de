"""`tw init`, `tw check --static` and `tw schema`, as a user calls them."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
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
    assert (recipe.recipe, recipe.stages[2][1].steps, recipe.stages[2][1].weighting.type) == ("new", 30, "linear")
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


def test_init_without_a_terminal_says_which_flags_are_missing(here):
    done = subprocess.run([TW, "init"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "tw init --model" in done.stderr


def test_init_asks_on_a_terminal_for_what_flags_do_not_say(here):
    pty = pytest.importorskip("pty")
    import os

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
    assert len(out.splitlines()) == 6
    assert "from before, after" in out
    assert "makes data.train, data.test" in out


def test_check_prints_json(here, capsys):
    (here / "good.yaml").write_text(GOOD)
    main(["check", "good.yaml", "--static", "--json", "--set", "seed=3"])
    value = json.loads(capsys.readouterr().out)
    assert value["recipe"]["seed"] == 3
    assert [stage["id"] for stage in value["plan"]] == ["data", "before", "sft", "after", "compare"]
    assert value["plan"][3]["reads"] == ["sft", "data.test"]
    assert value["verdicts"] == []


def test_check_tells_six_mistakes_with_their_places_and_exits_2(here, capsys):
    (here / "six.yaml").write_text(SIX)
    assert main(["check", "six.yaml", "--static"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    places = [line.split(" ")[0] for line in err.splitlines() if line.startswith("six.yaml:")]
    assert places == [f"six.yaml:{place}:" for place in ("2:1", "5:45", "6:5", "7:36", "7:43", "9:25")]
    for right in ("seed", "data.split.test", "evaluate", "sft.lora.rank", "before"):
        assert f"did you mean: {right}\n" in err
    assert err.endswith("6 problems in the recipe\n")


def test_check_gives_all_problems_as_json(here, capsys):
    (here / "six.yaml").write_text(SIX)
    assert main(["check", "six.yaml", "--static", "--json"]) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [problem["where"] for problem in problems][:2] == ["six.yaml:2:1", "six.yaml:5:45"]


def test_check_static_of_six_mistakes_takes_less_than_six_tenths_of_a_second(here):
    (here / "six.yaml").write_text(SIX)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([TW, "check", "--static", "six.yaml"], capture_output=True, timeout=60)
        times.append(time.perf_counter() - start)
        assert done.returncode == 2
    assert min(times) < 0.6


# ── schema ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_schema_prints_or_writes_the_json_schema(here, capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == recipe_schema()
    assert main(["schema", "--output", "deep/schema.json"]) == 0
    assert json.loads((here / "deep/schema.json").read_text()) == recipe_schema()
