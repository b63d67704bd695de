import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError
from tunewright.suites.protocol import find_suite
from tunewright.suites.ranking import read_ranking, rows_from_run

QRELS = {"a": 0, "b": 2, "c": 1, "elsewhere": 1}
ROW = ChatRow(id="q", messages=[], meta={"passages": ["a", "b", "c"], "qrels": QRELS})


def score(answer, row=ROW, **options):
    return find_suite("ranking", options).score(answer, row)


@pytest.mark.parametrize(
    "answer",
    [
        "[2] > [3] > [1]",
        "Ranking:\n[2]\n[3]\n[1]",
        "[2, 3, 1]",
        '["b", "c", "a"]',
        "[[2], [3], [1]]",
        "```json\n[2,3,1]\n```",
    ],
)
def test_a_ranking_is_read_in_each_form(answer):
    assert read_ranking(answer, ["a", "b", "c"]) == ["b", "c", "a"]


def test_recall_and_map_know_of_relevant_documents_that_were_not_shown():
    scores = score("[2] > [3] > [1]").scores
    assert scores["mrr"] == 1.0
    assert scores["recall@10"] == pytest.approx(2 / 3)
    assert scores["map"] == pytest.approx((1 + 1) / 3)
    assert scores["valid_ranking"] == 1.0
    assert scores["ndcg@10"] < 1


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ("", "no ranking"), ("I would say the second.", "no ranking"), ("{}", "no ranking"),
        ("[2] > [3]", "passages left out"), ("[2] > [3] > [1] > [2]", "passages twice, or of its own"),
        ("[2] > [3] > [1] > [7]", "passages twice, or of its own"), ("[1] > [2] > [3]", "other order"),
    ],
)  # fmt: skip
def test_the_failure_class_says_what_is_wrong(answer, failure):
    assert score(answer).failure == failure


def test_passages_that_are_left_out_are_not_retrieved_unless_asked_for():
    assert score("[1]").scores["recall@10"] == 0.0
    assert score("[1]", missing="append").scores["recall@10"] == pytest.approx(2 / 3)
    assert score("[1]", missing="append").scores["valid_ranking"] == 0.0


def test_an_empty_answer_scores_nothing():
    assert set(score("").scores.values()) == {0.0}


def test_the_cut_is_an_option_and_part_of_the_names():
    assert score("[3] > [2]", k=1).scores["recall@1"] == pytest.approx(1 / 3)
    assert find_suite("ranking", {"k": 1}).main_metric == "ndcg@1"


def test_a_row_without_a_relevant_passage_scores_zero_and_says_why():
    row = ROW.model_copy(update={"meta": {"passages": ["a"], "qrels": {"a": 0, "z": 1}}})
    assert score("[1]", row).failure == "no relevant passage shown"


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"passages": ["a"], "qrels": {"a": "1"}},
        {"passages": ["a", "a"], "qrels": {}},
        {"passages": [1], "qrels": {}},
    ],
)
def test_a_row_without_passages_or_judgements_is_unscored(meta):
    scored = score("[1]", ROW.model_copy(update={"meta": meta}))
    assert scored.scores == {}
    assert "row q" in scored.error


@given(st.text('[]0123 >,"ab\n'))
def test_no_answer_breaks_the_reader(answer):
    assert set(read_ranking(answer, ["a", "b"])) <= {"a", "b", None}


def test_rows_are_made_from_a_run_and_their_own_reference_ranks_best(tmp_path):
    (tmp_path / "run").write_text("q Q0 a 1 3 x\nq Q0 b 2 2 x\nq Q0 c 3 1 x\n")
    (tmp_path / "qrels").write_text("q 0 c 2\nq 0 b 1\n")
    texts = {"a": "apple", "b": "bear", "c": "cat"}
    (row,) = rows_from_run({"q": "animals", "other": "?"}, texts, tmp_path / "run", tmp_path / "qrels")
    assert "[1] apple\n[2] bear\n[3] cat" in row.messages[0]["content"]
    assert row.answer["content"] == "[3] > [2] > [1]"
    assert score(row.answer["content"], row).scores["ndcg@10"] == 1.0
    with pytest.raises(DataError, match="'c' of the run has no text"):
        rows_from_run({"q": "?"}, {"a": "", "b": ""}, tmp_path / "run", tmp_path / "qrels")
