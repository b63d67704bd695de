"""`tw tune inference`, on the toy model."""

import json
from pathlib import Path

import pytest
from tests.cli.test_eval import SHORT, rows, tw  # noqa: F401  # fixtures

from tunewright.artifacts.dataset import ChatRow
from tunewright.cli.tuning import Search, Space, averaged, halves, read_space
from tunewright.errors import DataError


def chat_rows(count, per_group=2):
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    return [ChatRow(id=f"r{i}", messages=talk, group=f"g{i // per_group}") for i in range(count)]


def test_no_group_stands_in_both_halves():
    dev, test = halves(chat_rows(40), 7)
    assert not {row.group for row in dev} & {row.group for row in test}
    assert len(dev) + len(test) == 40
    assert 16 <= len(dev) <= 24


def test_rows_of_one_group_leave_nothing_to_test_on():
    with pytest.raises(DataError, match="one group"):
        halves(chat_rows(10, per_group=10), 7)


class Planted(Search):
    """A search in which the best temperature is known."""

    asked: list

    def value(self, settings):
        self.asked.append(settings)
        return 1 - abs(settings.get("temperature", 0.0) - 0.6)


def planted(folder):
    search = Planted(None, [], Space(top_p=None), folder, 7)
    search.asked = []
    return search


def test_the_search_finds_a_planted_best_setting(tmp_path):
    assert planted(tmp_path).run(25, True)["temperature"] == pytest.approx(0.6, abs=0.051)


def test_a_search_that_goes_on_proposes_what_an_undisturbed_one_would_have(tmp_path):
    whole, first, second = planted(tmp_path / "whole"), planted(tmp_path / "half"), planted(tmp_path / "half")
    whole.run(8, True)
    first.run(3, True)
    second.run(8, True)
    assert [settings for settings, _ in second.trials] == [settings for settings, _ in whole.trials]
    assert len(second.asked) == 1 + 5


def test_settings_as_they_were_win_a_tie(tmp_path):
    search = planted(tmp_path)
    search.space = Space(temperature=(0.0, 0.0), top_p=None)
    assert search.run(2, True) == {}


def test_lower_is_better_for_metrics_that_say_so(tmp_path):
    search = planted(tmp_path)
    found = search.run(15, False)
    assert found == {} or abs(found["temperature"] - 0.6) > 0.35


def test_the_settings_are_chosen_on_dev_and_reported_on_test(tw, toy_model, rows, tmp_path):  # noqa: F811
    (tmp_path / "space.yaml").write_text("temperature: [0, 1]\nsystem: [null, 'Say It is.', 'Answer.']\n")
    command = ("tune", "inference", toy_model, "exact-match", "--rows", rows, "--space", "space.yaml", "--trials", 3)
    code, out, err = tw(*command, *SHORT, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["dev_rows"] + told["test_rows"] == 9
    assert len(told["trials"]) == 4
    low, high = told["after"]["interval"]
    assert low <= told["after"]["test"] <= high
    assert told["test"]["num_rows"] == told["test_rows"]
    again, _, err = tw(*command, *SHORT)
    assert again == 0
    assert "answering" not in err  # nothing was generated twice


def test_a_run_names_its_model_suite_and_rows(tw, recipe_file, root, monkeypatch):  # noqa: F811
    from tests.conftest import run

    done = run(recipe_file, root)
    code, out, err = tw("tune", "inference", f"{done.path}:after", "--trials", 1, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["metric"], told["dev_rows"] + told["test_rows"]) == ("exact_match", 12)


def test_a_stage_with_worked_examples_is_tuned_with_them(tw, recipe_file, root):  # noqa: F811
    from tests.conftest import run

    done = run(recipe_file, root, "before.shots=2", "before.shots_from=data.train")
    code, out, err = tw("tune", "inference", f"{done.path}:before", "--trials", 1, "--json")
    assert code == 0, err
    scores = json.loads((Path(json.loads(out)["before"]["folder"]) / "scores.json").read_text())["scores"]
    assert scores["shots"] == scores["inference"]["shots"] == 2


def test_worked_examples_without_a_recipe_are_refused(tw, toy_model, rows):  # noqa: F811
    more = ("--set", "shots=2", "--set", "shots_from=data.train")
    code, _, err = tw("tune", "inference", toy_model, "exact-match", "--rows", rows, *more)
    assert code == 2
    assert "no recipe is here" in err and "Traceback" not in err


def test_repeats_are_averaged_before_they_are_paired():
    from tunewright.artifacts.scores import ScoreRow

    common = {"group": "g", "source": "", "question": "", "reference": "", "answer": "", "reason": ""}
    common |= {"prompt_sha256": "", "prompt_tokens": 1, "answer_tokens": 1, "finish": "stop", "seconds": 0.0}
    said = [ScoreRow(id="a" if k == 0 else f"a#{k}", repeat=k, scores={"m": float(k > 0)}, **common) for k in range(4)]
    [row] = averaged(iter(said))
    assert (row.id, row.scores) == ("a", {"m": 0.75})


def test_a_suite_of_log_probabilities_has_no_temperature_to_search(tw, toy_model, tmp_path):  # noqa: F811
    from tests.stages.test_evaluate import choice_rows

    choices = choice_rows(tmp_path / "choices.jsonl").path
    code, _, err = tw("tune", "inference", toy_model, "multiple-choice", "--rows", choices)
    assert code == 2
    assert "nothing to search" in err


def test_a_space_with_mistakes_is_told_with_its_line(tmp_path):
    from tunewright.errors import UserError

    (tmp_path / "space.yaml").write_text("temperature: [0, 1]\nsytem: [a]\n")
    with pytest.raises(UserError, match=r"space\.yaml:2"):
        read_space(tmp_path / "space.yaml")
    (tmp_path / "space.yaml").write_text("temperature: [1, 0]\n")
    with pytest.raises(UserError, match="lowest, highest"):
        read_space(tmp_path / "space.yaml")
