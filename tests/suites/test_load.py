import json
import textwrap

import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError, RecipeError, UserError
from tunewright.suites.options import SuiteError
from tunewright.suites.protocol import find_suite, score_all

RECORDS = [
    {"id": "one", "question": "2 + 2?", "choices": ["3", "4"], "answer": "B", "document": "sums"},
    {"id": "two", "question": "3 + 3?", "choices": ["6", "7"], "answer": "A", "document": "sums"},
]

LETTERS = """
    suite: sums
    rows: {path: rows.jsonl}
    prompt:
      system: You are exact.
      template: |
        {{ question }}
        {% for choice in choices %}
        {{ "ABCD"[loop.index0] }}) {{ choice }}
        {% endfor %}
      reference: "{{ answer }}"
    sampling: {max_new_tokens: 8, temperature: 0.5, seed: 3}
    scorers:
      letter: {suite: multiple-choice-letter}
      same:
        grader:
         {type: string_check, name: s, input: "{{ sample.output_text }}", reference: "{{ item.answer }}", operation: eq}
    metrics:
      - {name: same, binary: true, denominator: every sum}
      - {name: accuracy}
    main_metric: accuracy
    cluster: meta.document
"""


def write(tmp_path, text, records=RECORDS):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "suite.yaml").write_text(textwrap.dedent(text))
    return str(tmp_path / "suite.yaml")


def problems(tmp_path, text):
    with pytest.raises(SuiteError) as raised:
        find_suite(write(tmp_path, text))
    return [problem.render() for problem in raised.value.problems]


def test_a_file_makes_rows_questions_scores_and_metrics(tmp_path):
    suite = find_suite(write(tmp_path, LETTERS))
    one, two = suite.rows(0, None)
    assert one.messages[0] == {"role": "system", "content": "You are exact."}
    assert one.messages[1]["content"] == "2 + 2?\nA) 3\nB) 4\n"
    assert (one.answer["content"], one.group, two.group) == ("B", "sums", "sums")
    assert suite.score("B", one).scores == {"accuracy": 1.0, "valid_letter": 1.0, "same": 1.0}
    assert suite.score("(B)", one).scores == {"accuracy": 1.0, "valid_letter": 1.0, "same": 0.0}
    assert suite.score("(B)", one).failure == "same: no score"
    assert [(m.name, m.binary, m.denominator) for m in suite.metrics] == [
        ("same", True, "every sum"), ("accuracy", True, "all rows")
    ]  # fmt: skip
    assert (suite.main_metric, suite.max_new_tokens, suite.cluster) == ("accuracy", 8, "meta.document")
    assert suite.sampling == {"max_new_tokens": 8, "temperature": 0.5, "seed": 3}
    assert [row.id for row in suite.rows(0, 1)] == ["one"]


def test_a_row_that_one_scorer_cannot_score_is_unscored_in_all(tmp_path):
    suite = find_suite(write(tmp_path, LETTERS))
    (row,) = suite.rows(0, 1)
    scored = suite.score("B", row.model_copy(update={"meta": {"answer": "B"}}))
    assert scored.scores == {}
    assert scored.error.startswith("letter: ")


def test_chat_rows_are_taken_as_they_are(tmp_path):
    rows = [{"prompt": "2 + 2?", "completion": "4"}]
    suite = find_suite(
        write(tmp_path, "suite: own\nrows: {path: rows.jsonl}\nscorers: {same: {suite: exact-match}}", rows)
    )
    (row,) = suite.rows(0, None)
    assert suite.score("4", row).scores["exact_match"] == 1.0


def test_the_rows_of_a_built_in_suite_can_be_asked_in_another_form(tmp_path):
    text = """
        suite: sums
        rows: {suite: reasoning-gym, options: {tasks: [chain_sum], rows: 2}}
        prompt: {system: "Say <answer>…</answer>."}
        scorers: {gym: {suite: reasoning-gym, options: {tasks: [chain_sum]}}}
    """
    suite = find_suite(write(tmp_path, text))
    rows = suite.rows(1, None)
    assert [row.messages[0]["content"] for row in rows] == ["Say <answer>…</answer>."] * 2
    assert suite.score(rows[0].answer["content"], rows[0]).scores["correct"] == 1.0


def test_a_suite_of_probabilities_keeps_its_candidates_and_its_totals(tmp_path):
    suite = find_suite(write(tmp_path, "suite: own\nscorers: {ppl: {suite: perplexity}}"))
    assert (suite.mode, suite.rows) == ("log_probs", None)
    assert suite.candidates is not None
    assert suite.aggregate is not None
    assert not suite.metrics[0].higher_is_better


def test_the_main_metric_is_the_first_scorers_own(tmp_path):
    assert find_suite(write(tmp_path, "suite: own\nscorers: {tools: {suite: tool-calls}}")).main_metric == "args_exact"


def test_a_metric_said_to_be_0_or_1_that_is_not_leaves_the_row_unscored(tmp_path):
    text = "suite: own\nscorers: {words: {suite: exact-match}}\nmetrics: [{name: token_f1, binary: true}]"
    suite = find_suite(write(tmp_path, text))
    row = ChatRow(id="r", messages=[{"role": "assistant", "content": "a b"}])
    assert suite.score("a b", row).scores["token_f1"] == 1.0
    assert "said to be 0 or 1" in suite.score("a", row).error


def test_every_mistake_is_told_with_its_line(tmp_path):
    told = problems(
        tmp_path,
        """\
        suite: own
        row: {path: rows.jsonl}
        sampling: {temprature: 1, top_p: 2}
        scorers:
          a: {grader: {type: string_check}, suite: keywords}
        """,
    )
    assert [problem.split("\n")[0].split("suite.yaml")[1] for problem in told] == [
        ":2:1: unknown key `row`",
        ":3:12: unknown key `temprature` in `sampling`",
        ":3:34: `sampling.top_p` is 2",
    ]
    assert "did you mean: rows" in told[0]
    assert "did you mean: temperature" in told[1]


@pytest.mark.parametrize(
    ("text", "line", "seen"),
    [
        ("suite: a\nscorers:\n  x: {}", 3, "one of `grader` and `suite`"),
        ("suite: a\nscorers:\n  x: {suite: keyword}", 3, "there is no suite 'keyword'"),
        ("suite: a\nscorers:\n  x:\n    suite: ranking\n    options:\n      k: 0", 6, "`k` is 0"),
        ("suite: a\nscorers:\n  x: {grader: {type: string_chek}}", 3, "string_chek"),
        (
            "suite: a\nscorers: {x: {suite: keywords}}\nmetrics:\n  - {name: keyword}",
            4,
            "no scorer has a metric `keyword`",
        ),
        ("suite: a\nscorers: {x: {suite: keywords}}\nmain_metric: words", 3, "there is no metric `words`"),
        ("suite: a\nscorers: {x: {suite: keywords}}\ncluster: document", 3, "`document` is no key of a row"),
        ("suite: a\nscorers: {x: {suite: keywords}}\nprompt: {system: hi}", 3, "needs `rows`"),
        ("suite: a\nscorers: {x: {suite: keywords}}\nrows: {}", 3, "one of `path` and `suite`"),
        ("suite: a\nscorers: {x: {suite: keywords}}\nrows: {suite: keywords}", 3, "brings no rows"),
        ("suite: a\nscorers:\n  x: {suite: keywords}\n  y: {suite: keywords}", 4, "a metric `keywords` too"),
        ("suite: a\nscorers:\n  x: {suite: keywords}\n  y: {suite: perplexity}", 4, "cannot stand beside"),
        ("suite: a\nsuite: b\nscorers: {x: {suite: keywords}}", 2, "a second time"),
        ("- a", 1, "no mapping"),
    ],
)
def test_a_mistake_is_told_where_it_stands(tmp_path, text, line, seen):
    told = "\n".join(problems(tmp_path, text))
    assert f"suite.yaml:{line}:" in told
    assert seen in told


def test_broken_yaml_and_missing_files_are_clean_errors(tmp_path):
    with pytest.raises(RecipeError, match="broken YAML"):
        find_suite(write(tmp_path, "suite: [a"))
    with pytest.raises(RecipeError, match="no such file"):
        find_suite(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="takes no options"):
        find_suite(write(tmp_path, LETTERS), {"k": 3})


def test_a_template_that_uses_a_field_that_is_not_there_names_the_line_of_the_row(tmp_path):
    suite = find_suite(write(tmp_path, LETTERS, [RECORDS[0], {"id": "two", "answer": "A"}]))
    with pytest.raises(DataError, match=r"rows.jsonl:2.*'question' is undefined"):
        suite.rows(0, None)


@pytest.mark.parametrize(
    "attack", ["{{ ''.__class__.__mro__ }}", "{{ [].append(1) }}", "{{ x }}", "{% for %}", "{{ 1/0 }}"]
)
def test_a_template_reaches_nothing_but_the_row(tmp_path, attack):
    text = "suite: a\nrows: {path: rows.jsonl}\nprompt: {template: ATTACK}\nscorers: {x: {suite: exact-match}}"
    text = text.replace("ATTACK", f'"{attack}"')
    with pytest.raises(DataError):
        find_suite(write(tmp_path, text)).rows(0, None)


MODULE = """
from tunewright.suites.protocol import Metric, Scored, Suite

def shout(marks=1):
    def score(answer, row):
        return Scored({"loud": float(answer.count("!") >= marks)}, "")

    return Suite("shout", (Metric("loud", "all rows"),), score, "loud")

SUITE = shout()
NOTHING = 3
"""


def test_a_suite_is_also_a_python_object_or_what_makes_one(tmp_path, monkeypatch):
    (tmp_path / "loud_suites.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    assert find_suite("loud_suites:SUITE").score("Hey!", None).scores == {"loud": 1.0}
    assert find_suite("loud_suites:shout", {"marks": 2}).score("Hey!", None).scores == {"loud": 0.0}
    with pytest.raises(UserError, match=r"does not take these options.*'mark'"):
        find_suite("loud_suites:shout", {"mark": 2})
    for name in ("loud_suites:NOTHING", "loud_suites:none", "no_such_module:SUITE"):
        with pytest.raises(UserError, match=r"loud_suites|no_such_module"):
            find_suite(name)


ROW = {
    "id": "r7",
    "source": "s",
    "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
}
FAILING = """
from tunewright.suites.protocol import Metric, Scored, Suite

def score(answer, row):
    return Scored({"ok": 1 / len(answer)}, "") if answer != "text" else "a text"

class AtOnce:
    def __call__(self, answer, row):
        return Scored({"ok": 1.0}, "")

    def score_all(self, answers, rows):
        return [self(answers[0], rows[0])]

SUITE = Suite("own", (Metric("ok", "all rows"),), score, "ok")
AT_ONCE = Suite("own", (Metric("ok", "all rows"),), AtOnce(), "ok")
"""


def test_an_own_scorer_that_fails_is_named_with_its_row_and_its_line(tmp_path, monkeypatch):
    (tmp_path / "failing_suites.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    suite, row = find_suite("failing_suites:SUITE"), ChatRow(**ROW)
    assert score_all(suite.score, ["a", "bb"], [row, row])[1].scores == {"ok": 0.5}
    with pytest.raises(UserError, match=r"suite failing_suites:SUITE, row r7: .*ZeroDivisionError.*\.py:5\)"):
        score_all(suite.score, ["a", ""], [row, row])
    with pytest.raises(UserError, match=r"row r7: its scorer returned a str"):
        suite.score("text", row)


def test_an_own_scorer_of_many_answers_returns_as_many_scores(tmp_path, monkeypatch):
    (tmp_path / "failing_suites.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    scorer, row = find_suite("failing_suites:AT_ONCE").score, ChatRow(**ROW)
    assert score_all(scorer, ["a"], [row])[0].scores == {"ok": 1.0}
    with pytest.raises(UserError, match="2 rows at once: its scorer returned 1 scores"):
        score_all(scorer, ["a", "b"], [row, row])
