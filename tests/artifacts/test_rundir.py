import pytest

from tunewright.artifacts.provenance import redact
from tunewright.artifacts.rundir import find_run, link, new_run, runs_of
from tunewright.errors import RunFolderError


def made(root, name="tour"):
    run = new_run(name, root)
    run.write_state({"status": "done"})
    return run


def test_runs_are_numbered_in_order_and_never_twice(tmp_path):
    assert [made(tmp_path).path.name for _ in range(11)] == [str(n) for n in range(1, 12)]
    assert [run.path.name for run in runs_of("tour", tmp_path)][-2:] == ["10", "11"]


def test_a_run_is_found_by_folder_by_number_and_by_name(tmp_path):
    first, second = made(tmp_path), made(tmp_path)
    link(tmp_path / "tour" / "latest", "2")
    assert find_run(str(first.path), tmp_path).path == first.path
    assert find_run("tour/1", tmp_path).path == first.path
    assert find_run("tour", tmp_path).path == second.path


def test_an_unknown_run_lists_those_there_are(tmp_path):
    made(tmp_path)
    with pytest.raises(RunFolderError, match="tour/1"):
        find_run("tuor", tmp_path)


def test_a_lock_can_be_taken_once_and_again_after_it_was_given_back(tmp_path):
    run = made(tmp_path)
    with run.locked(), pytest.raises(RunFolderError, match="being written"), run.locked():
        pass
    with run.locked():
        pass


def test_logs_of_earlier_attempts_stay(tmp_path):
    run = made(tmp_path)
    first, second = run.open_log(), run.open_log()
    assert (first.name, second.name) == ("attempt-1.log", "attempt-2.log")
    assert (run.path / "logs" / "latest").resolve() == second.resolve()


@pytest.mark.parametrize("secret", ["hf_abcdefghijklmnop", "sk-abcdefghijklmnop", "ghp_abcdefghijklmnop"])
def test_secrets_do_not_reach_a_record(secret):
    assert secret not in redact(f"--set data.token={secret} and more")
    assert redact("https://me:pass@host/x") == "https://***@host/x"


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_state_is_told_with_its_place(tmp_path, content):
    run = made(tmp_path)
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"run\.json.*the run is damaged"):
        _ = run.state


def test_what_is_no_number_is_no_run_and_no_log(tmp_path):
    run = made(tmp_path)
    run.open_log()
    (tmp_path / "tour" / "2²").mkdir()
    (run.path / "logs" / "attempt-mine.log").touch()
    assert [found.path.name for found in runs_of("tour", tmp_path)] == ["1"]
    assert made(tmp_path).path.name == "2"
    assert run.open_log().name == "attempt-2.log"


def test_a_name_longer_than_any_file_is_no_run(tmp_path):
    with pytest.raises(RunFolderError, match="no run"):
        find_run("a" * 5000, tmp_path)


def test_runs_cannot_be_kept_in_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot write there"):
        new_run("tour", tmp_path / "file")
    (tmp_path / "tour").touch()
    with pytest.raises(RunFolderError, match="cannot write there"):
        new_run("tour", tmp_path)


def test_a_folder_in_the_place_of_a_link_is_told(tmp_path):
    (tmp_path / "latest").mkdir()
    with pytest.raises(RunFolderError, match="cannot write there"):
        link(tmp_path / "latest", "1")
