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


def read_alone(source: HubSource, home: Path, **environment: str) -> list[dict[str, object]]:
    """Read a data set in a process of its own, which keeps what it downloads or converts under `home`.

    Raises:
        DataError: as the process raised it.
    """
    code = (
        "import json, sys; from tunewright.recipe.sections import HubSource; from tunewright.errors import DataError\n"
        "from tunewright.sources.read import read_source\n"
        "source = HubSource.model_validate_json(sys.argv[1])\n"
        "try: print(json.dumps([row.model_dump() for row in read_source(source)]))\n"
        "except DataError as error: print(json.dumps(str(error)))"
    )
    command = [sys.executable, "-c", code, source.model_dump_json()]
    environment = {**os.environ, "HF_HOME": str(home), **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=600)
    found = json.loads(done.stdout)
    if isinstance(found, str):
        raise DataError(found)
    return found


@pytest.fixture
def folder(tmp_path):
    """A folder in the layout of a data set on the hub."""
    pytest.importorskip("datasets")
    (tmp_path / "set").mkdir()
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    write(tmp_path / "set" / "train.jsonl", {"messages": talk}, {"messages": talk, "id": "own"})
    return tmp_path / "set"


def test_a_local_folder_is_read_as_a_data_set(folder, tmp_path):
    source = HubSource(type="hub", name=str(folder))
    rows = read_alone(source, tmp_path / "home")
    assert [row["id"] for row in rows] == ["set-train-1", "own"]
    assert [message["content"] for message in rows[0]["messages"]] == ["Hi", "Hello"]
    assert {row["source"] for row in rows} == {source_name(source)}


def test_a_split_that_is_not_there_is_a_clean_error(folder, tmp_path):
    with pytest.raises(DataError, match=r"Bad split: nothing"):
        read_alone(HubSource(type="hub", name=str(folder), part="nothing"), tmp_path / "home")


def test_a_data_set_that_cannot_be_reached_is_a_clean_error(tmp_path):
    with pytest.raises(DataError, match=r"^nobody/nothing: cannot load it") as caught:
        read_alone(HubSource(type="hub", name="nobody/nothing"), tmp_path, HF_HUB_OFFLINE="1")
    assert "fix: check name, config, part and revision" in str(caught.value)


def test_the_identity_of_a_data_set_is_its_name_and_commit_and_of_a_folder_its_content(tmp_path):
    commit = "0123456789" * 4  # a branch or tag is asked for: test_hub.py
    assert source_identity(HubSource(type="hub", name="a/b", revision=commit)) == f"a/b@{commit}"
    write(tmp_path / "train.jsonl", ROW)
    before = source_identity(HubSource(type="hub", name=str(tmp_path)))
    write(tmp_path / "train.jsonl", ROW, ROW)
    assert source_identity(HubSource(type="hub", name=str(tmp_path))) != before
