"""A ranking set end to end: as a BEIR folder, BM25 against its formula and nDCG against trec_eval, rows without leaks.

    python -m benchmarks.ranking DOCUMENTS TOPICS QRELS        TREC's three files; Cranfield's: --by-position

The reference is written out here, and shares no code with the package but the words of a text: Lucene's BM25 as a sum
over a document's terms, and nDCG@10 by pytrec_eval, the reference implementation of the metric (extra `dev`). Every
query has to agree, not the mean alone. Ends with 1 where one does not, or where train and test share a group, a query
or a pair.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

DEPTH = 100
SAME = 1e-6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs=3)
    parser.add_argument("--by-position", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(*options.files, options.by_position, Path(folder))
    print(json.dumps(found, indent=2) if options.json else "\n".join(f"{key:<34}{found[key]}" for key in found))
    return int(not found["passed"])


def measured(
    documents: Path, topics: Path, qrels: Path, by_position: bool, folder: Path, b: float = 0.75
) -> dict[str, object]:
    """Return what was counted and compared; `b` is the reference's."""
    import pytrec_eval

    from tunewright.sources.ranking.bm25 import Bm25
    from tunewright.sources.ranking.build import RankingOptions
    from tunewright.sources.ranking.read import read_ranking_set
    from tunewright.stages.data.rank import rank
    from tunewright.suites.ir import evaluate_run

    beir = as_beir(read_ranking_set([documents, topics, qrels], by_position=by_position), folder / "beir")
    started = time.perf_counter()
    found = read_ranking_set([beir])
    run = Bm25(found.documents).run(found.queries, DEPTH)
    seconds = time.perf_counter() - started
    reference = reference_run(found.documents, found.queries, b=b)
    ours = evaluate_run(run, found.qrels, 10)
    judge = pytrec_eval.RelevanceEvaluator(found.qrels, {"ndcg_cut.10"})
    of_our_run = {query: scores["ndcg_cut_10"] for query, scores in judge.evaluate(run).items()}
    of_reference = {query: scores["ndcg_cut_10"] for query, scores in judge.evaluate(reference).items()}
    apart = [query for query, value in of_reference.items() if abs(ours.queries[query]["ndcg@10"] - value) > SAME]
    (folder / "rows").mkdir()
    counts, verdicts = rank([beir], folder / "rows", RankingOptions(), 0.2)
    shared = shared_parts(folder / "rows")
    passed = not apart and not any(shared.values()) and all(verdict.status == "PASSED" for verdict in verdicts)
    return {
        "documents": len(found.documents),
        "queries": len(found.queries),
        "judgements": sum(map(len, found.qrels.values())),
        "ndcg@10 of ours": round(ours.means["ndcg@10"], 6),
        "ndcg@10 by pytrec_eval": round(mean(of_our_run), 6),
        "ndcg@10 of the reference": round(mean(of_reference), 6),
        "queries that differ": len(apart),
        "largest difference of scores": max(score_differences(run, reference), default=0.0),
        "seconds": round(seconds, 2),
        **{f"rows: {name}": count for name, count in counts.items()},
        **{f"shared by train and test: {name}": count for name, count in shared.items()},
        **{f"gate {verdict.name}": f"{verdict.status}, {verdict.measured}" for verdict in verdicts},
        "passed": passed,
    }


def as_beir(found, folder: Path) -> Path:
    """Write a set as BEIR has it: corpus.jsonl, queries.jsonl, qrels/test.tsv."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", found.documents), ("queries", found.queries)):
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(lines))
    judged = [f"{q}\t{d}\t{label}\n" for q, labels in found.qrels.items() for d, label in labels.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    return folder


def reference_run(documents: dict[str, str], queries: dict[str, str], k1: float = 1.2, b: float = 0.75):
    """Rank by the formula, as it stands in `bm25.py`: no index, no library; the best DEPTH, equal scores by id."""
    from tunewright.sources.text import words

    counts = {name: Counter(words(text)) for name, text in documents.items()}
    mean_length = mean({name: count.total() for name, count in counts.items()})
    holding = Counter(word for count in counts.values() for word in count)
    idf = {word: math.log(1 + (len(counts) - n + 0.5) / (n + 0.5)) for word, n in holding.items()}
    found = {}
    for query, text in queries.items():
        scores = {}
        for name, count in counts.items():
            room = k1 * (1 - b + b * count.total() / mean_length)
            scores[name] = sum(idf[word] * count[word] / (count[word] + room) for word in words(text) if count[word])
        best = sorted((name for name in scores if scores[name] > 0), key=lambda name: (-scores[name], name))
        found[query] = {name: scores[name] for name in best[:DEPTH]}
    return found


def score_differences(run, reference):
    """Yield the relative difference of every score that both have."""
    for query, scores in reference.items():
        for name, score in scores.items():
            if name in run[query]:
                yield abs(run[query][name] - score) / score


def shared_parts(folder: Path) -> dict[str, int]:
    """Return how many groups, queries and pairs stand on both sides."""
    sides = [[json.loads(line) for line in (folder / f"{name}.jsonl").open()] for name in ("train", "test")]
    return {
        name: len({row[name] for row in sides[0]} & {row[name] for row in sides[1]}) for name in ("group", "qid", "id")
    }


def mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values)


if __name__ == "__main__":
    sys.exit(main())
