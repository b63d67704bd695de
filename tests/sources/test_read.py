"""Files and data sets as sources: rows, names, identities and the errors of Must-show 5."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunewright.errors import DataError
from tunewright.recipe.sections import HubSource, JsonlSource
from tunewright.sources.read import read_source, source_identity, source_name

ROW = {"prompt": "Hi", "completion": "Hello"}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def jsonl(path: Path, **columns: str) -> JsonlSource:
    return JsonlSource(type="jsonl", path=str(path), columns=columns)


def test_rows_of_a_file_are_numbered_by_their_line(tmp_path):
    path = write(tmp_path / "rows.jsonl", ROW, {**ROW, "id": "own"})
    path.write_text(path.read_text() + "\n" + json.dumps(ROW))  # a blank line, and no line end at the end
    source = jsonl(path)
    rows = list(read_source(source))
    assert [row.id for row in rows] == ["rows-1", "own", "rows-4"]
    assert {row.source for row in rows} == {source_name(source)}


def test_the_identity_of_a_file_is_its_content(tmp_path):
    one, two = write(tmp_path / "a.jsonl", ROW), write(tmp_path / "b.jsonl", ROW)
    assert source_identity(jsonl(one)) == source_identity(jsonl(two))
    write(two, ROW, ROW)
    assert source_identity(jsonl(one)) != source_identity(jsonl(two))


def test_columns_are_mapped(tmp_path):
    path = write(tmp_path / "rows.jsonl", {"question": "Hi", "reply": "Hello"})
    row = next(iter(read_source(jsonl(path, prompt="question", completion="reply"))))
    assert row.answer == {"role": "assistant", "content": "Hello"}


def test_a_file_that_cannot_be_used_is_named_with_its_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(DataError, match="no such file"):
        list(read_source(jsonl(path)))
    with pytest.raises(DataError, match="no such file"):
        source_identity(jsonl(path))
    path.write_text("\n")
    with pytest.raises(DataError, match="the file is empty"):
        list(read_source(jsonl(path)))
    write(path, *[ROW] * 16)
    path.write_text(path.read_text() + '{"prompt": "Hi", \n')
    with pytest.raises(DataError, match=r"rows\.jsonl:17: broken JSON"):
        list(read_source(jsonl(path)))
    write(path, ROW, {"messages": [{"role": "user", "content": "x"}, {"role": "bot", "content": "y"}]})
    with pytest.raises(DataError, match=r"rows\.jsonl:2: message 1: role 'bot'"):
        list(read_source(jsonl(path)))
    write(path, {**ROW, "id": "a"}, ROW, {**ROW, "id": "a"})
    with pytest.raises(DataError, match=r"rows\.jsonl:3: id 'a' stands in line 1 too"):
        list(read_source(jsonl(path)))


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    config = pytest.importorskip("datasets").config
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_local_folder_is_read_as_a_data_set(tmp_path, hub_cache):
    folder = tmp_path / "set"
    folder.mkdir()
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    write(folder / "train.jsonl", {"messages": talk}, {"messages": talk, "id": "own"})
    source = HubSource(type="hub", name=str(folder))
    rows = list(read_source(source))
    assert [row.id for row in rows] == ["set-train-1", "own"]
    assert rows[0].messages == talk
    assert {row.source for row in rows} == {source_name(source)}


def test_a_split_that_is_not_there_is_a_clean_error(tmp_path, hub_cache):
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", ROW)
    with pytest.raises(DataError, match=r"Unknown split .*nothing"):
        list(read_source(HubSource(type="hub", name=str(folder), part="nothing")))


def test_a_data_set_that_cannot_be_reached_is_a_clean_error(tmp_path):
    code = (
        "from tunewright.recipe.sections import HubSource; from tunewright.sources.read import read_source\n"
        "from tunewright.errors import DataError\n"
        "try: list(read_source(HubSource(type='hub', name='nobody/nothing')))\n"
        "except DataError as error: print(error)"
    )
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("nobody/nothing: cannot load it")
    assert "fix: check name, config, part and revision" in done.stdout


def test_the_identity_of_a_data_set_is_its_name_and_revision_and_of_a_folder_its_content(tmp_path):
    assert source_identity(HubSource(type="hub", name="a/b", revision="abc")) == "a/b@abc"
    assert source_identity(HubSource(type="hub", name="a/b")) == "a/b@main"
    write(tmp_path / "train.jsonl", ROW)
    before = source_identity(HubSource(type="hub", name=str(tmp_path)))
    write(tmp_path / "train.jsonl", ROW, ROW)
    assert source_identity(HubSource(type="hub", name=str(tmp_path))) != before
