import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from tunewright.artifacts.files import JsonlAppender, read_json, read_jsonl, write_json, write_jsonl, write_text
from tunewright.errors import DataError, EnvironmentProblem, RunFolderError


def test_a_broken_line_is_named_with_its_number(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n' * 16 + '{"a": \n')
    with pytest.raises(DataError, match=r"rows\.jsonl:17: broken JSON"):
        list(read_jsonl(path))


def test_a_line_that_is_no_object_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("[1, 2]\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:1: a JSON list"):
        list(read_jsonl(path))


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a": 2}]', '[\n  {"a": 1},\n  {"a": 2}\n]\n'])
def test_a_file_that_is_one_json_list_is_told_how_to_become_lines(tmp_path, text):
    path = tmp_path / "my rows.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"rows\.json:1: a JSON list") as caught:
        list(read_jsonl(path))
    assert f"jq -c '.[]' '{path}' > '{tmp_path / 'my rows.jsonl'}'" in str(caught.value.fix)


def test_bytes_that_are_no_utf8_are_named_with_their_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 16 + b'{"a": "\xff"}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:17: not UTF-8: byte 0xff"):
        list(read_jsonl(path))


def test_a_file_that_is_one_endless_line_is_named_before_it_is_read_whole(tmp_path):
    path = tmp_path / "array.json"
    with path.open("wb") as file:
        file.truncate(4 << 30)  # a hole: 4 GiB of zero bytes that take no room
    code = (
        "import resource, sys; from pathlib import Path; from tunewright.artifacts.files import read_jsonl\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "list(read_jsonl(Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "array.json:1: a line of more than 32 MiB" in done.stderr
    assert f"jq -c '.[]' {path} > {path.with_suffix('.jsonl')}" in done.stderr


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n{"a": 2}\n')
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (3, {"a": 2})]


def test_what_is_written_is_read_again(tmp_path):
    rows = [{"text": "süß \u2028 </script> 🎈"}, {"n": 1.5}]
    assert write_jsonl(tmp_path / "rows.jsonl", rows) == 2
    assert [row for _, row in read_jsonl(tmp_path / "rows.jsonl")] == rows


def test_half_a_surrogate_pair_in_json_is_read_again_as_it_was(tmp_path):
    write_json(tmp_path / "a.json", {"file": "rows\udcff.jsonl"})
    assert read_json(tmp_path / "a.json") == {"file": "rows\udcff.jsonl"}


def test_nothing_is_left_beside_a_file_that_could_not_be_written(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"new": float("nan")})
    assert read_json(tmp_path / "a.json") == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_rows_that_break_off_do_not_replace_the_old_file(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [{"old": 1}])

    def rows():
        yield {"new": 1}
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_jsonl(tmp_path / "rows.jsonl", rows())
    assert [row for _, row in read_jsonl(tmp_path / "rows.jsonl")] == [{"old": 1}]


def write_by_text(path):
    write_text(path, '{"n": 1}\n')


def write_by_rows(path):
    write_jsonl(path, [{"n": 1}])


@pytest.mark.parametrize("write", [write_by_text, write_by_rows])
def test_a_pipe_stays_one_and_gets_the_content(tmp_path, write):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write(pipe)
    reader.join(10)
    assert read == ['{"n": 1}\n']
    assert stat.S_ISFIFO(pipe.stat().st_mode) and [*tmp_path.iterdir()] == [pipe]


@pytest.mark.parametrize("write", [write_by_text, write_by_rows])
def test_a_link_stays_one_and_its_file_is_replaced(tmp_path, write):
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "rows.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(real)
    for _ in range(2):  # a link to nothing yet, and one to a file
        write(link)
        assert link.is_symlink() and real.read_text() == '{"n": 1}\n'


@pytest.mark.parametrize("write", [write_by_text, write_by_rows])
def test_a_file_is_as_open_as_the_umask_says(tmp_path, write):
    old = os.umask(0o077)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_rows_go_into_a_folder_that_is_made(tmp_path):
    write_by_rows(tmp_path / "new" / "folder" / "rows.jsonl")
    assert [row for _, row in read_jsonl(tmp_path / "new" / "folder" / "rows.jsonl")] == [{"n": 1}]


def test_a_place_that_cannot_be_written_is_told_by_the_name_that_was_given(tmp_path):
    with pytest.raises(RunFolderError) as caught:
        write_text(tmp_path / "nowhere" / "a.txt", "text")
    assert caught.value.where == str(tmp_path / "nowhere" / "a.txt")
    assert "--output" not in str(caught.value)  # not every verb has one


def test_a_full_disk_is_a_clean_error():
    from pathlib import Path

    with pytest.raises(EnvironmentProblem, match="no room left"), JsonlAppender(Path("/dev/full")) as log:
        log.append([{"a": 1}])


def test_a_place_that_cannot_be_written_is_a_clean_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot write there"):
        write_text(tmp_path / "file" / "inside.txt", "text")


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    with JsonlAppender(path) as log:
        log.append([{"n": 1}, {"n": 2}])
    with path.open("a") as file:
        file.write('{"n": 3')
    with JsonlAppender(path) as log:
        assert log.existing == [{"n": 1}, {"n": 2}]
        log.append([{"n": 4}])
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [1, 2, 4]


def test_a_number_without_end_is_a_broken_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": ' + "1" * 5000 + "}\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:1: broken JSON: a number with too many digits"):
        list(read_jsonl(path))


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"1" * 5000])
def test_json_that_cannot_be_read_is_told(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json: broken JSON"):
        read_json(tmp_path / "a.json")
