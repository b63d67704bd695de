"""The benchmark of a ranking set, on a small one in TREC's files."""

from __future__ import annotations

import random

import pytest

from benchmarks import ranking

pytest.importorskip("bm25s")
pytest.importorskip("pytrec_eval")


@pytest.fixture
def files(tmp_path):
    """Documents, topics that are numbered 3, 6, 9, …, and judgements of their positions, as Cranfield has them."""
    rng = random.Random(0)
    vocabulary = [f"w{number}" for number in range(300)]
    texts = {number: rng.choices(vocabulary, k=rng.randrange(20, 60)) for number in range(1, 121)}
    documents = "".join(f"<doc><docno>{n}</docno><text>{' '.join(text)}</text></doc>\n" for n, text in texts.items())
    topics, judged = [], []
    for place in range(1, 31):
        relevant = rng.sample(sorted(texts), 3)
        query = [*rng.sample(texts[relevant[0]], 5), *rng.sample(texts[relevant[1]], 3)]
        topics.append(f"<top><num>{3 * place}</num><title>{' '.join(query)}</title></top>\n")
        judged += [f"{place} 0 {document} {grade}\n" for grade, document in enumerate(relevant)]
    for name, text in (("docs.xml", documents), ("topics.xml", "".join(topics)), ("qrels.txt", "".join(judged))):
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in ("docs.xml", "topics.xml", "qrels.txt")]


def test_every_query_scores_as_the_reference_and_no_group_is_on_both_sides(files, tmp_path):
    found = ranking.measured(*files, True, tmp_path / "work")
    assert found["passed"]
    assert (found["documents"], found["queries"], found["queries that differ"]) == (120, 30, 0)
    assert 0.1 < found["ndcg@10 of ours"] < 1
    assert found["ndcg@10 of ours"] == found["ndcg@10 of the reference"] == found["ndcg@10 by pytrec_eval"]
    assert found["rows: hard"] > found["rows: relevant"] > 30


def test_a_ranking_by_another_formula_is_seen(files, tmp_path):
    found = ranking.measured(*files, True, tmp_path / "work", b=0.0)
    assert not found["passed"]
    assert found["queries that differ"] > 0
