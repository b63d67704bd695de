"""Ranking sets of three forms, BM25 held against its formula, and rows whose negatives are negative."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path

import pytest

from tunewright.errors import DataError
from tunewright.sources.ranking.bm25 import K1, B, Bm25
from tunewright.sources.ranking.build import RankingOptions, build_rows
from tunewright.sources.ranking.read import read_ranking_set
from tunewright.sources.ranking.rows import RankingSet
from tunewright.sources.text import words

CORPUS = {
    "d1": "Rome is the capital of Italy and lies on the Tiber",
    "d2": "Paris is the capital of France",
    "d3": "The Tiber flows through Rome",
    "d4": "A capital letter opens a sentence",
    "d5": "Cats sleep all day",
}
QUERIES = {"q1": "capital of Italy", "q2": "river in Rome", "q3": "capital of italy?"}
QRELS = {"q1": {"d1": 2, "d2": 0}, "q2": {"d3": 1, "d1": 1}, "q3": {"d1": 1}}


def beir(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    lines = [{"_id": key, "title": "", "text": text} for key, text in CORPUS.items()]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = [{"_id": key, "text": text} for key, text in QUERIES.items()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in asked))
    judged = [f"{query}\t{doc}\t{score}" for query, docs in QRELS.items() for doc, score in docs.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n")
    return folder


def trec(folder: Path, numbers: dict[str, str]) -> list[Path]:
    documents = "".join(
        f"<doc>\n<docno>{k}</docno>\n<title>T.</title>\n<text>{v} &amp; so</text>\n</doc>" for k, v in CORPUS.items()
    )
    topics = "<xml>" + "".join(
        f"<top>\n<num> {numbers[k]}</num>\n<title>\n{v}\n</title>\n</top>" for k, v in QUERIES.items()
    )
    judged = [f"{query} 0 {doc} {score}" for query, docs in QRELS.items() for doc, score in docs.items()]
    paths = [folder / name for name in ("docs.xml", "topics.xml", "qrels.txt")]
    for path, text in zip(paths, (documents, topics, "\n".join(judged)), strict=True):
        path.write_text(text)
    return paths


def test_a_beir_folder_is_read(tmp_path):
    found = read_ranking_set([beir(tmp_path / "set")])
    assert (found.queries, found.documents, found.qrels) == (QUERIES, CORPUS, QRELS)


def test_trec_files_are_read_and_their_entities(tmp_path):
    found = read_ranking_set(trec(tmp_path, {key: key for key in QUERIES}))
    assert found.queries == QUERIES
    assert found.documents["d5"] == "T.\nCats sleep all day & so"
    assert found.qrels == QRELS


def test_tags_inside_a_text_of_trec_do_not_end_it_and_a_tag_that_is_left_open_ends_at_the_next(tmp_path):
    files = {
        "docs": "<DOC><DOCNO>LA1</DOCNO><TEXT><P>One body,</P>\n<P>a < b.</P></TEXT><TYPE>news</TYPE></DOC>",
        "topics": "<top>\n<num> Number: 401\n<title> river <b>in Rome\n<desc> Description:\nWhich?\n</top>",
        "qrels": "401 0 LA1 1",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = read_ranking_set([tmp_path / name for name in files])
    assert found.documents == {"LA1": "One body, a < b."}
    assert found.queries == {"401": "river\nDescription: Which?"}


def test_judgements_by_position_are_noticed_and_read_when_asked(tmp_path):
    paths = trec(tmp_path, {"q1": "3", "q2": "17", "q3": "40"})
    text = paths[2].read_text()
    paths[2].write_text(text.replace("q1", "1").replace("q2", "2").replace("q3", "3"))
    with pytest.raises(DataError, match="2 judged queries are not there") as caught:
        read_ranking_set(paths)
    assert "--by-position" in str(caught.value)
    found = read_ranking_set(paths, by_position=True)
    assert found.queries == {"1": QUERIES["q1"], "2": QUERIES["q2"], "3": QUERIES["q3"]}


def test_a_judged_document_that_is_not_there_is_told(tmp_path):
    folder = beir(tmp_path / "set")
    path = folder / "qrels" / "test.tsv"
    path.write_text(path.read_text() + "q1\td99\t1\n")
    with pytest.raises(DataError, match="document 'd99', judged for query 'q1'"):
        read_ranking_set([folder])


@pytest.mark.parametrize("columnar", [True, False])
def test_ms_marcos_records_are_read_in_both_of_their_shapes(tmp_path, columnar):
    texts, chosen = ["Rome.", "Paris.", "Rome."], [1, 0, 0]
    passages = (
        {"passage_text": texts, "is_selected": chosen}
        if columnar
        else [{"passage_text": text, "is_selected": flag} for text, flag in zip(texts, chosen, strict=True)]
    )
    path = tmp_path / "marco.jsonl"
    path.write_text(json.dumps({"query": "Capital?", "query_id": 7, "passages": passages}) + "\n")
    found = read_ranking_set([path])
    assert found.queries == {"7": "Capital?"}
    assert found.documents == {"p0": "Rome.", "p1": "Paris."}
    assert found.qrels == {"7": {"p0": 1, "p1": 0}}


@pytest.mark.parametrize(
    "passages", [None, {"passage_text": ["a"], "is_selected": []}, [{"passage_text": 1, "is_selected": 0}], ["a"],
                 {"passage_text": ["a"], "is_selected": [7]}]
)  # fmt: skip
def test_broken_passages_are_told_with_their_line(tmp_path, passages):
    path = tmp_path / "marco.jsonl"
    path.write_text(json.dumps({"query": "q", "passages": passages}) + "\n")
    with pytest.raises(DataError, match=r"marco.jsonl:1: passages is"):
        read_ranking_set([path])


def bm25_by_hand(query: str, documents: dict[str, str]) -> dict[str, float]:
    counts = {key: Counter(words(text)) for key, text in documents.items()}
    lengths = {key: sum(count.values()) for key, count in counts.items()}
    mean = sum(lengths.values()) / len(lengths)
    holders = Counter(word for count in counts.values() for word in count)
    num = len(documents)

    def weight(word: str, key: str) -> float:
        idf = math.log(1 + (num - holders[word] + 0.5) / (holders[word] + 0.5))
        frequency = counts[key][word]
        return idf * frequency / (frequency + K1 * (1 - B + B * lengths[key] / mean)) if frequency else 0.0

    return {key: sum(weight(word, key) for word in words(query)) for key in documents}


def test_bm25_is_lucenes_formula():
    pytest.importorskip("bm25s")
    rng = random.Random(0)
    documents = {
        f"d{n}": " ".join(f"w{int(rng.expovariate(0.1))}" for _ in range(rng.randrange(5, 60))) for n in range(200)
    }
    index = Bm25(documents)
    for _ in range(20):
        query = " ".join(f"w{int(rng.expovariate(0.1))}" for _ in range(4)) + " unknown"
        expected = bm25_by_hand(query, documents)
        order = sorted((key for key in documents if expected[key] > 0), key=lambda key: -expected[key])
        found = list(index.search(query, 10))
        assert [score for _, score in found] == pytest.approx([expected[key] for key in order[:10]], rel=1e-4)
        assert all(score == pytest.approx(expected[key], rel=1e-4) for key, score in found)


def test_a_query_of_unknown_words_finds_nothing_and_equal_scores_are_ordered_by_id():
    pytest.importorskip("bm25s")
    index = Bm25({"b": "same words", "a": "same words", "c": "other"})
    assert list(index.search("nothing here", 5)) == []
    assert [key for key, _ in index.search("same", 1)] == ["a"]
    assert [key for key, _ in index.search("same", 5)] == ["a", "b"]


def test_rows_hold_every_judgement_and_negatives_that_nobody_judged_relevant():
    pytest.importorskip("bm25s")
    found = RankingSet(QUERIES, CORPUS, QRELS)
    rows = list(build_rows(found, RankingOptions(hard=1, random=1)))
    judged = {(row.qid, row.docid): row.label for row in rows if row.meta["kind"] == "judged"}
    assert judged == {(query, doc): label for query, docs in QRELS.items() for doc, label in docs.items()}
    for row in rows:
        if row.meta["kind"] != "judged":
            assert row.label == 0
            assert row.docid not in QRELS[row.qid]
    hard = {row.qid: row.docid for row in rows if row.meta["kind"] == "hard"}
    assert hard["q1"] == "d4"  # `capital`, and the only one left that has it
    assert len({row.id for row in rows}) == len(rows)
    assert {row.group for row in rows if row.qid in ("q1", "q3")} == {"capital of italy"}
    assert list(build_rows(found, RankingOptions(hard=1, random=1))) == rows


def test_a_copy_of_a_relevant_passage_is_no_negative_and_skip_leaves_out_the_best():
    pytest.importorskip("bm25s")
    corpus = {**CORPUS, "copy": CORPUS["d1"].upper()}
    rows = list(build_rows(RankingSet(QUERIES, corpus, QRELS), RankingOptions(hard=9, random=9)))
    assert "copy" not in {row.docid for row in rows if row.qid in ("q1", "q3")}
    ranks = [
        row.meta["rank"]
        for row in build_rows(RankingSet(QUERIES, corpus, QRELS), RankingOptions(skip=3))
        if "rank" in row.meta
    ]
    assert all(rank > 3 for rank in ranks)
