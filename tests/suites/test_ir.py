import math

import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.errors import DataError
from tunewright.suites.ir import evaluate_run, measure, ndcg, rank, read_qrels, read_run

DOCUMENTS = [*(f"d{number}" for number in range(12)), "D1", "é", "z-9", "𝒟"]  # ids of one, two and four bytes a letter
# Few distinct scores, so that most documents share theirs; the last two differ by less than a 32-bit float can hold.
SCORES = st.sampled_from([0.0, -1.5, 0.25, 1.0, 3.0, 0.1, 0.1 + 1e-12])
RUN = st.dictionaries(st.sampled_from(DOCUMENTS), SCORES, min_size=1)
QRELS = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(-1, 3), min_size=1)
NAMES = {"ndcg@{k}": "ndcg_cut_{k}", "mrr": "recip_rank", "map": "map", "recall@{k}": "recall_{k}"}


def oracle(run, qrels, k):
    names = {name.format(k=k): other.format(k=k) for name, other in NAMES.items()}
    asked = {f"ndcg_cut.{k}", "recip_rank", "map", f"recall.{k}"}
    found = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    return {query: {name: scores[other] for name, other in names.items()} for query, scores in found.items()}


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), RUN, min_size=1),
    st.dictionaries(st.sampled_from("abc"), QRELS),
    st.integers(1, 20),
)
def test_every_measure_is_that_of_trec_eval_ties_included(run, qrels, k):
    ours, theirs = evaluate_run(run, qrels, k), oracle(run, qrels, k)
    assert ours.queries.keys() - set(ours.missing) == theirs.keys()
    for query, expected in theirs.items():
        assert ours.queries[query] == pytest.approx(expected, abs=1e-12)


def test_equal_scores_stand_by_document_id_from_the_highest_down():
    assert rank({"a": 1.0, "b": 1.0, "c": 2.0, "B": 1.0}) == ["c", "b", "a", "B"]
    assert rank({"a": 0.1, "b": 0.1 + 1e-12}) == rank({"a": 0.1 + 1e-12, "b": 0.1}) == ["b", "a"]
    assert rank({"a": 1e300, "b": -1e300, "c": math.inf}) == ["c", "a", "b"]


def test_the_textbook_numbers():
    found = measure(["x", "a", "y", "b"], {"a": 2, "b": 1, "c": 0}, k=3)
    assert found["mrr"] == 1 / 2
    assert found["map"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found["recall@3"] == 1 / 2
    assert found["ndcg@3"] == pytest.approx((2 / math.log2(3)) / (2 + 1 / math.log2(3)))


def test_a_query_that_the_run_lacks_counts_zero_and_is_named():
    found = evaluate_run({"a": {"d": 1.0}, "c": {"d": 1.0}}, {"a": {"d": 1}, "b": {"d": 1}})
    assert found.means["mrr"] == 0.5
    assert (found.missing, found.not_judged) == (("b",), ("c",))


def test_a_query_without_a_relevant_document_counts_zero_and_is_named():
    found = evaluate_run({"a": {"d": 1.0}}, {"a": {"d": 0}})
    assert set(found.means.values()) == {0.0}
    assert found.without_relevant == ("a",)


def test_a_score_that_is_no_number_has_no_place():
    with pytest.raises(ValueError, match="NaN"):
        rank({"a": math.nan, "b": 1.0})


@given(st.permutations(DOCUMENTS), QRELS)
def test_ndcg_is_one_for_the_best_ranking_and_never_above(ranking, qrels):
    best = sorted(qrels, key=lambda document: -qrels[document])
    assert 0 <= ndcg(ranking, qrels, 5) <= 1 + 1e-12
    assert ndcg(best, qrels, 5) == (pytest.approx(1) if max(qrels.values()) > 0 else 0)


def test_runs_and_judgements_are_read_as_trec_writes_them(tmp_path):
    (tmp_path / "qrels").write_text("1 0 d1 2\n1\t0\td2\t0\n\n2 Q0 d1 -1\n")
    (tmp_path / "run").write_text("1 Q0 d2 1 0.5 me\n1 Q0 d1 2 3e-1 me\n")
    assert read_qrels(tmp_path / "qrels") == {"1": {"d1": 2, "d2": 0}, "2": {"d1": -1}}
    assert read_run(tmp_path / "run") == {"1": {"d2": 0.5, "d1": 0.3}}


@pytest.mark.parametrize(
    ("reader", "text", "seen"),
    [
        (read_qrels, "1 0 d1 1\n1 0 d1\n", r"file:2: 3 columns"),
        (read_qrels, "1 0 d1 high\n", r"file:1: the relevance is 'high'"),
        (read_qrels, "1 0 d1 1\n1 0 d1 2\n", r"file:2: document 'd1' stands twice"),
        (read_run, "1 Q0 d1 1 nan me\n", r"file:1: the score is 'nan'"),
        (read_run, "1 Q0 d1 1 best me\n", r"file:1: the score is 'best'"),
    ],
)
def test_a_broken_line_is_named(tmp_path, reader, text, seen):
    (tmp_path / "file").write_text(text)
    with pytest.raises(DataError, match=seen):
        reader(tmp_path / "file")


def test_a_file_that_is_not_there_is_a_clean_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_run(tmp_path / "none")
