import pytest

from tunewright.artifacts import contents
from tunewright.artifacts.contents import FileMark, file_marks, find_damage
from tunewright.artifacts.fingerprint import sha256_file


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_bytes(b"0123456789")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / ".started.json.x.part").write_text("{")
    (tmp_path / "tb").mkdir()
    (tmp_path / "tb" / "events").write_text("x")
    return tmp_path


def test_files_are_known_by_their_path_size_and_hash(folder):
    marks = file_marks(folder, {"tb"})
    assert list(marks) == ["adapter/weights", "rows.jsonl"]
    assert marks["rows.jsonl"] == FileMark(size_bytes=3, sha256=sha256_file(folder / "rows.jsonl"))
    assert find_damage(folder, marks) == {}


def test_what_was_added_later_is_no_damage(folder):
    marks = file_marks(folder)
    (folder / "notes.txt").write_text("mine")
    assert find_damage(folder, marks) == {}


def test_each_kind_of_damage_is_told_in_its_own_words(folder):
    marks = {**file_marks(folder), "gone": FileMark(size_bytes=1, sha256=None)}
    (folder / "rows.jsonl").write_text("{}{}\n")
    (folder / "adapter" / "weights").write_bytes(b"0123456780")
    (folder / "tb" / "events").unlink()
    (folder / "tb" / "events").mkdir()
    assert find_damage(folder, marks) == {
        "adapter/weights": "was altered",
        "rows.jsonl": "has 5 bytes, and had 3",
        "tb/events": "is gone",
        "gone": "is gone",
    }


def test_of_a_very_large_file_only_the_size_is_known(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(contents.HASHED_UP_TO_BYTES + 1)  # a hole, which takes no room
    marks = file_marks(tmp_path)
    assert marks["large"] == FileMark(size_bytes=contents.HASHED_UP_TO_BYTES + 1, sha256=None)
    with (tmp_path / "large").open("r+b") as file:
        file.truncate(contents.HASHED_UP_TO_BYTES)
    assert find_damage(tmp_path, marks) == {"large": "has 1,073,741,824 bytes, and had 1,073,741,825"}
