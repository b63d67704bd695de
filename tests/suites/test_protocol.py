import json
import subprocess
import sys

import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import UserError
from tunewright.suites import MAIN_METRIC, METRICS
from tunewright.suites.protocol import CandidateScore, cluster_of, find_suite, log_probs_answer

OPTIONS = {
    "multiple-choice": {"unconditional": True},
    "reasoning-gym": {"tasks": ["chain_sum"]},
    "sample": {"grader": {"type": "string_check", "name": "s", "input": "{{ sample.output_text }}",
                          "reference": "{{ item.reference }}", "operation": "eq"}},
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_every_suite_has_the_metrics_that_the_table_names(name):
    suite = find_suite(name, OPTIONS.get(name))
    names = tuple(metric.name for metric in suite.metrics)
    assert suite.name == name
    assert suite.main_metric == MAIN_METRIC[name] in names
    assert METRICS[name] in ((), names)


@pytest.mark.parametrize("name", METRICS)
def test_a_suite_that_asks_for_probabilities_says_of_which_texts(name):
    suite = find_suite(name, OPTIONS.get(name))
    assert (suite.candidates is not None) == (suite.mode == "log_probs")


def test_a_suite_that_does_not_exist_is_told_with_the_nearest():
    with pytest.raises(UserError, match="did you mean keywords"):
        find_suite("keyword")


@pytest.mark.parametrize("name", ["exact-match", "perplexity", "instructions"])
def test_a_suite_without_options_refuses_them(name):
    with pytest.raises(UserError, match="depth"):
        find_suite(name, {"depth": 3})


@pytest.mark.parametrize("name", ["extraction", "keywords", "multiple-choice", "multiple-choice-letter", "ranking"])
def test_an_option_that_does_not_exist_is_refused(name):
    with pytest.raises(UserError, match="unknown key `depht`"):
        find_suite(name, {"depht": 3})


def test_an_option_of_a_wrong_type_is_told_with_what_may_stand_there():
    with pytest.raises(UserError, match="a whole number, at least 1"):
        find_suite("ranking", {"k": "ten"})


def test_what_a_model_says_of_candidates_is_an_answer_that_can_be_scored_again():
    answer = log_probs_answer([CandidateScore("a", (-0.5, -0.25), 4, True)])
    assert json.loads(answer) == [
        {"name": "a", "log_prob": -0.75, "num_tokens": 2, "num_bytes": 4, "is_greedy": True}
    ]  # fmt: skip


def test_a_row_without_the_key_of_its_cluster_is_its_own():
    row = ChatRow(id="r", messages=[], meta={"document": "d"})
    assert [cluster_of(row, key) for key in ("group", "meta.document", "meta.author")] == ["r", "d", "r"]


def test_no_suite_imports_torch():
    code = (
        "import sys; from tunewright.suites.protocol import _SUITES; from importlib import import_module\n"
        "for name in [*_SUITES.values(), 'load', 'ir']: import_module(f'tunewright.suites.{name}')\n"
        "print([name for name in ('torch', 'reasoning_gym', 'jsonschema', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
