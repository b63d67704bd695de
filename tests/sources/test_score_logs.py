"""The logs in logs/ were written by lm-evaluation-harness 0.4.13 and Inspect 0.3.285, of models with fixed answers.

`inspect_*.eval` are packed anew without the events of a sample, which are 19 of 20 bytes and are not read.
"""

import json
import struct
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tunewright.errors import DataError, MissingExtra
from tunewright.sources.score_logs import ZSTANDARD, is_score_log, read_score_log
from tunewright.stages.compare.stage import compare_scores

LOGS = Path(__file__).parent / "logs"


def rows_of(name, cluster=None):
    return {row.id: row for row in read_score_log(LOGS / name, cluster).rows}


def test_lm_eval_gives_a_row_a_question_and_a_metric_a_filter():
    rows = rows_of("samples_sums_a.jsonl")
    assert list(rows) == ["0", "1", "2", "3", "4", "5"]
    assert rows["1"].scores == {"exact_match,strict-match": 1.0, "exact_match,flexible-extract": 1.0}
    assert rows["3"].scores == {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
    assert (rows["3"].question, rows["3"].reference) == ("Q: What is 3 + 3?\nA:", "6")


def test_lm_eval_with_one_filter_keeps_the_names_of_its_metrics():
    rows = rows_of("samples_choice_a.jsonl")
    assert set(rows["0"].scores) == {"acc", "acc_norm"}
    assert [row.scores["acc"] for row in rows.values()] == [0, 1, 0, 1, 1, 0]


def test_a_field_of_the_question_may_be_its_group():
    rows = rows_of("samples_sums_a.jsonl", "topic")
    assert [row.group for row in rows.values()] == ["t0", "t0", "t1", "t1", "t2", "t2"]
    assert rows_of("samples_sums_a.jsonl")["0"].group == ""


def test_a_field_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(DataError, match="no field 'subject'") as error:
        read_score_log(LOGS / "samples_sums_a.jsonl", "subject")
    assert "topic" in error.value.expected


def test_two_logs_of_lm_eval_pair_by_question():
    tests = compare_scores(rows_of("samples_sums_a.jsonl").values(), rows_of("samples_sums_b.jsonl").values())
    flexible = tests[[test.metric for test in tests].index("exact_match,flexible-extract")]
    assert (flexible.num_rows, flexible.gained, flexible.lost) == (6, 2, 0)


def test_inspect_grades_numbers_and_mappings_become_scores():
    row = rows_of("inspect_a.eval")["q1"]
    assert row.scores == {"match": 1.0, "graded/closeness": 0.5, "graded/short": 1.0}
    assert (row.question, row.reference, row.answer, row.finish) == ("What is 1 + 1?", "2", "2", "stop")
    assert rows_of("inspect_a.eval")["q2"].scores["match"] == 0.0


def test_what_inspect_did_not_score_has_no_score_and_an_error_is_told():
    rows = rows_of("inspect_a.eval")
    assert rows["q3"].scores == {"match": 0.0}  # the other scorer gave NaN
    assert rows["q3"].error is None
    assert (rows["q4"].scores, rows["q4"].error) == ({}, "RuntimeError('the tool is gone')")


def test_inspects_errors_count_for_neither_side():
    tests = {
        t.metric: t for t in compare_scores(rows_of("inspect_a.eval").values(), rows_of("inspect_b.eval").values())
    }
    assert (tests["match"].num_rows, tests["match"].unscored) == (5, 1)
    assert (tests["graded/closeness"].num_rows, tests["graded/closeness"].unscored) == (4, 2)


def test_epochs_are_repeats_of_one_question_and_one_group():
    rows = rows_of("inspect_e.eval")
    assert len(rows) == 12 and {"q0", "q0#1"} <= set(rows)
    assert (rows["q0#1"].repeat, rows["q0#1"].row_id, rows["q0#1"].group) == (1, "q0", "q0")
    (test, *_) = compare_scores(rows.values(), rows.values())
    assert (test.num_rows, test.num_groups, test.test) == (12, 6, "exact McNemar by group")
    assert rows_of("inspect_e.eval", "template")["q0"].group == "t0"


def test_prompts_are_kept_beside_the_rows():
    first, second = (read_score_log(LOGS / f"samples_sums_{name}.jsonl").prompts for name in "ab")
    assert first == second and len(set(first.values())) == 6


def test_a_log_is_told_from_our_own_scores(tmp_path):
    ours = tmp_path / "scores.jsonl"
    ours.write_text('{"id": "r0", "scores": {}}\n')
    assert not is_score_log(ours)
    assert is_score_log(LOGS / "samples_sums_a.jsonl") and is_score_log(LOGS / "inspect_a.eval")


def packed(folder, entries, method=zipfile.ZIP_DEFLATED):
    path = folder / "log.eval"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, text in entries.items():
            archive.writestr(f"samples/{name}.json", text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "broken JSON"),
        ("[1]", "not a logged sample"),
        ("[" * 100_000, "broken JSON"),
        ('{"x": 1}', "not a logged"),
    ],
)
def test_a_broken_sample_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as error:
        read_score_log(packed(tmp_path, {"bad": text}))
    assert "samples/bad.json" in error.value.where


def test_a_sample_of_odd_types_is_read_as_far_as_it_goes(tmp_path):
    odd = {
        "id": 7,
        "output": "text",
        "scores": {"a": 3, "b": {"value": "maybe"}, "c": {"value": 10**400}},
        "input": [1],
    }
    (row,) = read_score_log(packed(tmp_path, {"odd": json.dumps(odd)})).rows
    assert (row.id, row.scores, row.error) == ("7", {}, "no scorer gave a score")


def test_a_small_file_cannot_claim_a_huge_sample(tmp_path):
    with pytest.raises(DataError, match="more than 64 MiB"):
        read_score_log(packed(tmp_path, {"bomb": " " * (65 << 20)}))


def test_a_zip_that_was_cut_is_refused(tmp_path):
    cut = tmp_path / "cut.eval"
    cut.write_bytes((LOGS / "inspect_a.eval").read_bytes()[:3000])
    with pytest.raises(DataError, match="a broken zip"):
        read_score_log(cut)


def test_a_log_without_samples_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="no samples") as error:
        read_score_log(packed(tmp_path, {}))
    assert "--log_samples" in error.value.fix


def test_zstandard_logs_read_as_the_deflated_ones_or_name_what_is_missing():
    path = LOGS / "inspect_zstandard.eval"
    with zipfile.ZipFile(path) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {ZSTANDARD}
    if find_spec("zstandard") is None:
        with pytest.raises(MissingExtra, match="zstandard is not installed"):
            read_score_log(path)
    else:
        assert read_score_log(path).rows == read_score_log(LOGS / "inspect_a.eval").rows


def test_broken_zstandard_data_is_refused(tmp_path):
    if find_spec("zstandard") is None:
        pytest.skip("zstandard is not installed")
    data = bytearray((LOGS / "inspect_zstandard.eval").read_bytes())
    with zipfile.ZipFile(LOGS / "inspect_zstandard.eval") as archive:
        offset = archive.getinfo("samples/q0_epoch_1.json").header_offset
    begin = offset + 30 + sum(struct.unpack("<HH", data[offset + 26 : offset + 30]))
    data[begin : begin + 100] = bytes(100)
    (tmp_path / "broken.eval").write_bytes(data)
    with pytest.raises(DataError, match="Zstandard"):
        read_score_log(tmp_path / "broken.eval")
