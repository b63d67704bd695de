import json

import pytest
from tests.conftest import run as run_recipe
from tests.stages.toy_models import CHATS, PROSE, train

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.rundir import find_run
from tunewright.cli.main import main
from tunewright.cli.probe import _section
from tunewright.errors import GateFailed
from tunewright.recipe.sections import ProbeSection
from tunewright.reports.report import write_report
from tunewright.stages.probe.sentinels import (
    declines,
    gives_json,
    has_headings,
    is_chat,
    lists,
    names_itself,
    opens_as_assistant,
    says,
)
from tunewright.stages.probe.stage import probe


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Three tiny models: of prose alone, the same shown a few chats afterwards, and one of chats and prose."""
    place = tmp_path_factory.mktemp("toys")
    base = train(place / "base", PROSE, steps=40, template=False)
    exposed = train(place / "exposed", [*CHATS[:4], *PROSE], steps=12, start=base)
    return {"base": base, "exposed": exposed, "instruct": train(place / "instruct", [*CHATS, *PROSE], steps=60)}


@pytest.fixture(scope="module")
def probed(toys, tmp_path_factory):
    """What the stage makes of each of them, with nothing expected."""
    found = {}
    for name, folder in toys.items():
        out = tmp_path_factory.mktemp(name)
        found[name] = probe(ProbeSection(model=str(folder), seed=1), out, RunContext(quiet=True))
    return found


def test_a_base_a_half_taught_model_and_an_assistant_get_their_grades(probed):
    assert {name: result.grade for name, result in probed.items()} == {
        "base": "BASE",
        "exposed": "INSTRUCT-EXPOSED",
        "instruct": "INSTRUCT",
    }


def test_a_template_less_base_is_tried_in_the_form_of_its_control_tokens(probed):
    assert probed["base"].form == "ChatML"
    tokens = {one.name: one for one in probed["base"].results}["control_tokens_trained"]
    assert (tokens.successes, tokens.trials) == (0, 2)
    trained = {one.name: one for one in probed["instruct"].results}["control_tokens_trained"]
    assert (trained.successes, trained.trials) == (2, 2)


def test_the_same_seed_gives_the_same_numbers_and_the_same_answers(toys, probed, tmp_path):
    again = probe(ProbeSection(model=str(toys["base"]), seed=1), tmp_path, RunContext(quiet=True))
    assert again.results == probed["base"].results
    assert (tmp_path / "answers.jsonl").read_bytes() == (probed["base"].folder / "answers.jsonl").read_bytes()
    assert json.loads((tmp_path / "probe.json").read_text())["grade"] == "BASE"


# ── in a recipe, and on the command line ────────────────────────────────────────────────────────────────────────────


def recipe(folder, place, expect):
    path = place / "recipe.yaml"
    data = "data: {sources: [{type: jsonl, path: rows.jsonl}], split: {test: 4}}"
    rows = [{"prompt": f"Say {at}.", "completion": f"It is {at}."} for at in range(12)]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path.write_text(f"recipe: probed\nmodel: {folder}\nstages:\n  - probe: {{expect: {expect}}}\n  - {data}\n")
    return path


def test_an_assistant_said_to_be_a_base_stops_the_run_before_the_next_stage(toys, tmp_path, root):
    with pytest.raises(GateFailed) as stopped:
        run_recipe(recipe(toys["instruct"], tmp_path, "base"), root)
    assert "model_is_what_it_claims FAILED: INSTRUCT" in stopped.value.seen
    run = find_run("probed", root)
    assert [stage["status"] for stage in run.state["stages"]] == ["done", "waiting"]


def test_an_assistant_said_to_be_one_goes_on(toys, tmp_path, root):
    run = run_recipe(recipe(toys["instruct"], tmp_path, "instruct"), root)
    assert [verdict.status for verdict in run.records()[0].verdicts] == ["PASSED"]
    assert run.artifact("probe").grade == "INSTRUCT"
    page = write_report(run).read_text()
    assert "What the model was before" in page and "stops_by_itself" in page


@pytest.fixture
def tw(warm_python):
    return lambda *arguments: warm_python.run("-m", "tunewright", *arguments)


def test_the_command_line_prints_the_table_and_exits_1_where_a_base_was_expected(tw, toys, tmp_path):
    done = tw("probe", str(toys["instruct"]), "--set", "expect=base", "--output", str(tmp_path / "kept"))
    assert done.returncode == 1, done.stderr
    assert "stops_by_itself" in done.stdout and "FAILED: INSTRUCT" in done.stdout
    assert (tmp_path / "kept" / "answers.jsonl").is_file()


def test_a_model_may_have_any_name():
    assert _section("./🎈", ()).model == "./🎈"


def test_a_clean_base_passes_on_the_command_line_as_json(toys, capsys):
    assert main(["probe", str(toys["base"]), "--set", "expect=base", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["grade"] == "BASE" and told["verdict"]["status"] == "PASSED"


# ── the rules by which an answer counts ─────────────────────────────────────────────────────────────────────────────


def test_an_order_counts_as_met_only_where_it_is():
    assert says("livre", "rouge")("J'ai un livre rouge.") and not says("livre", "rouge")("I have a red book.")
    assert lists(3)("Here:\n1. apple\n2. pear\n3. plum") and not lists(3)("1. apple\n2. apple\n3. apple")
    assert not lists(3)("The first is 1, then 2, then 3.")
    assert gives_json("a")('```json\n{"a": 1}\n```') and not gives_json("a")('{"b": 1}')
    assert not gives_json("a")("{" * 5000)
    headings = has_headings("Name", "Use")
    assert headings("**Name:** bicycle\n- Use: riding") and not headings("Use: riding\nName: bicycle")
    assert not headings("Name:\nUse:")


def test_the_voice_of_an_assistant_is_heard_and_that_of_prose_is_not():
    assert names_itself("I am an AI assistant made to help.") and names_itself("I'm Qwen, created by a company")
    assert not names_itself("I am a teacher in a small town.")
    assert declines("I'm sorry, but I cannot help with that.") and not declines("Sorry is a hard word.")
    assert opens_as_assistant("Sure! Here is one.") and not opens_as_assistant("The sure way is long.")
    assert is_chat("User: hi\nBot: hello") and not is_chat("The user of this system must be careful.")
