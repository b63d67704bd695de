"""The same rows come from JSON lines, Parquet, CSV and TSV, and broken files are told with their place."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewright.errors import DataError
from tunewright.recipe.data_sections import CsvSource, ParquetSource
from tunewright.sources.files import look, read_rows
from tunewright.sources.read import read_source, source_identity, source_name
from tunewright.sources.records import file_form, read_records

RECORDS = [
    {"id": "a", "prompt": "Hi", "completion": 'Hello, "you"'},
    {"id": "b", "prompt": "Two\nlines", "completion": "Grüße"},
]


def write_csv(path: Path, records: list[dict[str, str]] = RECORDS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*records[0]], delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(records)
    return path


def write_parquet(path: Path, records: list[dict[str, object]]) -> Path:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.Table.from_pylist(records), path)
    return path


def test_every_form_of_file_gives_the_same_rows(tmp_path):
    jsonl = tmp_path / "rows.jsonl"
    jsonl.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    expected = [row.messages for row in read_rows(jsonl)]
    for path in (
        write_csv(tmp_path / "rows.csv"),
        write_csv(tmp_path / "rows.tsv"),
        write_parquet(tmp_path / "rows.parquet", RECORDS),
    ):
        rows = list(read_rows(path))
        assert [row.messages for row in rows] == expected
        assert [row.id for row in rows] == ["a", "b"]
        assert {row.source for row in rows} == {str(path)}


def test_nested_columns_of_parquet_lose_the_keys_that_only_fill_the_schema(tmp_path):
    call = {"type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [
        {"role": "user", "content": "Go", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "1", "tool_calls": None},
        {"role": "assistant", "content": "Done.", "tool_calls": None},
    ]
    (row,) = read_rows(write_parquet(tmp_path / "rows.parquet", [{"messages": messages}]))
    assert [sorted(message) for message in row.messages] == [
        ["content", "role"],
        ["content", "role", "tool_calls"],
        ["content", "role"],
        ["content", "role"],
    ]
    assert row.messages[1]["tool_calls"][0]["function"]["arguments"] == {"x": 1}
    assert row.id == "rows-1"


def test_lists_in_a_csv_are_json_in_a_field(tmp_path):
    messages = json.dumps([{"role": "user", "content": "Hi, you"}, {"role": "assistant", "content": "Hello"}])
    (row,) = read_rows(write_csv(tmp_path / "rows.csv", [{"messages": messages, "tools": ""}]))
    assert row.answer["content"] == "Hello"
    assert row.tools is None


def test_a_parquet_file_of_many_rows_is_numbered_through(tmp_path):
    path = write_parquet(tmp_path / "rows.parquet", [{"prompt": f"p{n}", "completion": "c"} for n in range(700)])
    rows = list(read_rows(path))
    assert [rows[0].id, rows[-1].id] == ["rows-1", "rows-700"]
    assert rows[699].prompt[0]["content"] == "p699"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"prompt,prompt\n1,2\n", "a.csv:1: two columns are named 'prompt'"),
        ("a.csv", b"prompt,completion\nHi,Hello,you\n", "a.csv:2: 3 fields, and the header names 2"),
        ("a.csv", b'prompt,completion\n"Hi,Hello\n', "broken CSV"),
        ("a.csv", b"prompt,completion\nHi,\xff\n", "not UTF-8: byte 0xff"),
        ("a.csv", b"prompt,completion\n", "the file is empty"),
        ("a.parquet", b"PAR1 this is none PAR1", "broken Parquet behind row 0"),
        ("a.parquet", b"", "broken Parquet behind row 0"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path, name, content, told):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_rows(tmp_path / name))
    assert told in str(caught.value)


def test_an_unknown_ending_is_refused_where_the_form_is_to_be_found(tmp_path):
    (tmp_path / "rows.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"ends with '\.xlsx'"):
        next(read_records(tmp_path / "rows.xlsx"))
    assert file_form(Path("ROWS.JSONL")) == "jsonl"


def test_sections_read_files_and_know_them_by_their_content(tmp_path):
    path = write_csv(tmp_path / "rows.csv", [{"question": "Hi", "reply": "Hello"}])
    source = CsvSource(type="csv", path=str(path), columns={"prompt": "question", "completion": "reply"})
    (row,) = read_source(source)
    assert (row.answer["content"], row.source) == ("Hello", source_name(source))
    parquet = ParquetSource(type="parquet", path=str(write_parquet(tmp_path / "r.parquet", RECORDS)), format="prompt")
    assert len(list(read_source(parquet))) == 2
    assert source_identity(source) != source_identity(parquet)


def test_the_format_of_a_file_is_told_by_its_first_records(tmp_path):
    plain = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
    called = {
        "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "<tool_call>\n{}\n</tool_call>"}]
    }
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(plain) + "\n")
    assert look(path) == "conversations"
    path.write_text((json.dumps(plain) + "\n") * 3 + json.dumps(called) + "\n")
    assert look(path) == "hermes"


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(
    content=st.binary(max_size=400) | st.text(alphabet='a,"\n\r\t;é\0', max_size=200).map(str.encode),
    ending=st.sampled_from([".csv", ".tsv", ".jsonl"]),
)
def test_any_bytes_are_rows_or_a_clean_error(tmp_path, content, ending):
    path = tmp_path / f"rows{ending}"
    path.write_bytes(content)
    try:
        list(read_rows(path))
    except DataError as error:
        assert str(path) in str(error)
