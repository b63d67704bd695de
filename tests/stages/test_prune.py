"""`prune` does on disk and in processes what the filters do in memory, and a kill loses nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.processes import num_cores
from tunewright.errors import DataError, UserError
from tunewright.recipe.data_sections import (
    CustomFilter,
    DuplicatesFilter,
    Filter,
    NearDuplicatesFilter,
    QualityFilter,
    SecretsFilter,
)
from tunewright.sources.filters.build import build_filter
from tunewright.sources.filters.protocol import kept_and_removed
from tunewright.stages.data import alike, chunks
from tunewright.stages.data.alike import ENTRY, Partitions
from tunewright.stages.data.prune import prune, segments_of

QUALITY = QualityFilter(type="quality", min_answer_chars=30)
EXACT = DuplicatesFilter(type="duplicates")
NEAR = NearDuplicatesFilter(type="near_duplicates")
SECRETS = SecretsFilter(type="secrets")


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def records(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of which some are short, some equal an earlier one, some nearly, and some hold an address."""
    rng = random.Random(seed)
    made: list[dict[str, Any]] = []
    for n in range(count):
        kind = rng.random()
        words = [f"w{rng.randrange(5000)}" for _ in range(60)]
        if made and kind < 0.15:
            words = rng.choice(made)["completion"].split()
        elif made and kind < 0.3:
            words = rng.choice(made)["completion"].split()
            words[rng.randrange(len(words))] = f"new{n}"
        elif kind < 0.4:
            words = ["short"]
        elif kind < 0.5:
            words[3] = f"me{n}@firma-nord.de"
        made.append({"id": f"r{n}", "prompt": "Say the words.", "completion": " ".join(words)})
    return made


def in_memory(made: list[dict[str, Any]], filters: list[Filter]) -> tuple[list[ChatRow], list[int]]:
    rows = [
        ChatRow(
            id=item["id"], source="x", group=item["id"],
            messages=[
                {"role": "user", "content": item["prompt"]}, {"role": "assistant", "content": item["completion"]}
            ],
        )
        for item in made
    ]  # fmt: skip
    left = []
    for section in filters:
        rows, _ = kept_and_removed(build_filter(section), rows)
        left.append(len(rows))
    return rows, left


def test_without_near_duplicates_nothing_differs_from_the_filters_in_memory(tmp_path):
    made = records(400)
    filters = [QUALITY, EXACT, SECRETS]
    expected, left = in_memory(made, filters)
    found = prune([write(tmp_path / "rows.jsonl", made)], filters, tmp_path / "out.jsonl", processes=1)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [row.id for row in expected]
    assert [row["messages"] for row in rows] == [row.messages for row in expected]
    assert [step.rows_kept for step in found.steps] == left
    assert (found.rows_read, found.rows_kept) == (400, left[-1])
    assert not list(tmp_path.glob(".*"))


def test_near_duplicates_are_those_of_the_filter_in_memory(tmp_path):
    pytest.importorskip("rensa")
    made = records(400, seed=1)
    expected, _ = in_memory(made, [QUALITY, EXACT, NEAR])
    found = prune([write(tmp_path / "rows.jsonl", made)], [QUALITY, EXACT, NEAR], tmp_path / "out.jsonl", processes=1)
    ids = [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ids == [row.id for row in expected]
    step = found.steps[-1]
    assert step.removed["near duplicate"] > 20
    assert step.examples[0].detail.startswith("of r")


def test_a_single_near_duplicate_is_found_though_its_keys_lie_in_several_partitions(tmp_path, monkeypatch):
    pytest.importorskip("rensa")
    monkeypatch.setattr(alike, "PARTITION_ENTRIES", 100)  # as 15,000 rows and more have them
    made = [{"id": f"r{n}", "prompt": "Say.", "completion": f"{n} {n * 7} {n * 13} {n * 17}"} for n in range(50)]
    made.append({**made[9], "id": "again"})
    found = prune([write(tmp_path / "rows.jsonl", made)], [NEAR], tmp_path / "out.jsonl", processes=1)
    assert (found.rows_kept, found.steps[-1].examples[0].detail) == (50, "of r9, 1.00")


def test_every_step_says_what_it_took_and_why_with_examples(tmp_path):
    found = prune([write(tmp_path / "rows.jsonl", records(300))], [QUALITY, EXACT], tmp_path / "out.jsonl", processes=1)
    quality, exact = found.steps
    assert quality.rows_in == 300
    assert quality.removed == {"answer below 30 characters": 300 - quality.rows_kept}
    assert [example.text for example in quality.examples] == ["Say the words. short"] * 3
    assert exact.rows_in == quality.rows_kept
    assert exact.removed == {"duplicate": exact.rows_in - exact.rows_kept}


def test_several_files_and_processes_give_the_same_bytes_as_one(tmp_path):
    made = records(600, seed=2)
    paths = [write(tmp_path / "a.jsonl", made[:350]), write(tmp_path / "b.jsonl", made[350:])]
    prune(paths, [QUALITY, EXACT, SECRETS], tmp_path / "one.jsonl", processes=1)
    prune(paths, [QUALITY, EXACT, SECRETS], tmp_path / "two.jsonl", processes=2)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_two_rows_with_one_id_are_refused_even_in_two_files(tmp_path):
    paths = [write(tmp_path / f"{name}.jsonl", records(3)) for name in "ab"]
    with pytest.raises(DataError, match=r"b\.jsonl: id 'r\d' stands in .*a\.jsonl too"):
        prune(paths, [QUALITY], tmp_path / "out.jsonl", processes=1)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_broken_line_stops_it_with_its_place_and_no_half_written_file(tmp_path, processes):
    path = write(tmp_path / "rows.jsonl", records(30))
    path.write_text(path.read_text() + '{"prompt": "Hi", \n')
    with pytest.raises(DataError) as caught:
        prune([path], [QUALITY], tmp_path / "out.jsonl", processes=processes)
    assert str(caught.value).startswith(f"{path}:31: broken JSON")
    assert caught.value.expected == "one JSON object a line"
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("line", [b"{broken", b"x" * (33 << 20)], ids=["broken", "too long"])
def test_what_is_wrong_far_into_a_file_ends_all_processes_and_is_told_whole(tmp_path, line):
    path = write(tmp_path / "rows.jsonl", [{"prompt": "Hi", "completion": "x" * 4000} for _ in range(3000)])
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\n") + 1] + line + b"\n" + content)
    with pytest.raises(DataError) as caught:
        prune([path], [QUALITY], tmp_path / "out.jsonl", processes=2)
    assert caught.value.where == f"{path}:2"
    assert caught.value.expected == "one JSON object a line"


def test_no_filter_only_converts_and_an_empty_file_is_refused(tmp_path):
    path = write(tmp_path / "rows.jsonl", records(5))
    found = prune([path], [], tmp_path / "out.jsonl", processes=1)
    assert (found.rows_kept, found.steps) == (5, [])
    path.write_text("\n")
    with pytest.raises(DataError, match="no row in it"):
        prune([path], [], tmp_path / "out.jsonl", processes=1)


def test_nothing_is_left_of_what_could_not_begin(tmp_path):
    path, pipe = write(tmp_path / "rows.jsonl", records(5)), tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=r"missing\.jsonl: no such file"):
        prune([path, tmp_path / "missing.jsonl"], [], tmp_path / "out.jsonl", processes=1)
    with pytest.raises(UserError, match="this is a device or a pipe"):
        prune([path], [], pipe, processes=1)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="no row in it"):
        prune([tmp_path / "empty.jsonl"], [], tmp_path / "out.jsonl", processes=1)
    assert {item.name for item in tmp_path.iterdir()} == {"rows.jsonl", "pipe", "empty.jsonl"}
    assert pipe.is_fifo()


def test_an_output_that_is_a_link_stays_one(tmp_path):
    path = write(tmp_path / "rows.jsonl", records(5))
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    prune([path], [], tmp_path / "link.jsonl", processes=1)
    assert (tmp_path / "link.jsonl").is_symlink()
    assert len((tmp_path / "real.jsonl").read_text().splitlines()) == 5


def test_cores_are_counted_where_the_system_does_not_say_which_may_be_used(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert num_cores() == os.cpu_count()


def test_rows_that_are_all_taken_leave_an_empty_file(tmp_path):
    path = write(tmp_path / "rows.jsonl", records(5))
    found = prune(
        [path], [QualityFilter(type="quality", min_answer_chars=9999), EXACT, QUALITY], tmp_path / "o", processes=1
    )
    assert (found.rows_kept, (tmp_path / "o").read_bytes()) == (0, b"")


def test_a_row_that_is_too_large_is_dropped_and_counted(tmp_path):
    huge = {"id": "huge", "prompt": "Hi", "completion": "x" * 2_100_000}
    found = prune([write(tmp_path / "rows.jsonl", [*records(3), huge])], [], tmp_path / "out.jsonl", processes=1)
    assert (found.rows_kept, found.rows_dropped) == (3, {"larger than 2 MB": 1})


def test_a_filter_that_compares_rows_ends_a_segment():
    cut = segments_of([QUALITY, EXACT, NEAR, SECRETS, EXACT])
    assert [(len(item.checks), item.exact is not None, item.near is not None) for item in cut] == [
        (1, True, True),
        (1, True, False),
    ]
    assert len(segments_of([])) == 1
    assert len(segments_of([NEAR, EXACT])) == 2


def test_lines_are_cut_at_their_ends_and_numbered_through(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"n": n, "text": "x" * 40_000}) for n in range(100)]
    path.write_text("\n".join([*lines[:50], "", *lines[50:]]))  # a blank line, and no line end at the end
    pieces = list(chunks.read_chunks([path]))
    assert len(pieces) > 3
    placed = [item for piece in pieces for item in chunks.records_of(piece)]
    assert [record["n"] for _, _, record in placed] == list(range(100))
    assert [number for _, number, _ in placed] == [*range(1, 51), *range(52, 102)]


def test_a_killed_run_goes_on_where_it_stopped_and_gives_the_same_bytes(tmp_path):
    path = write(tmp_path / "rows.jsonl", records(8_000, seed=3))
    (tmp_path / "held.py").write_text(
        "import time\nfrom pathlib import Path\n"
        "def keep(row):\n"
        "    while list(Path('.out.jsonl.work').glob('0-*.json')) and not Path('go').exists():\n"
        "        time.sleep(0.01)\n"
        "    return True\n"
    )
    code = (
        "from pathlib import Path\n"
        "from tunewright.recipe.data_sections import *\n"
        "from tunewright.stages.data.prune import prune\n"
        "filters = [CustomFilter(type='custom', function='held:keep'), DuplicatesFilter(type='duplicates')]\n"
        "print(prune([Path('rows.jsonl')], filters, Path('out.jsonl'), processes=1).reused_chunks)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    work = tmp_path / ".out.jsonl.work"
    deadline = time.monotonic() + 600
    while not list(work.glob("0-*.json")) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    first.wait()
    (tmp_path / "go").touch()
    assert not (tmp_path / "out.jsonl").exists()
    again = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert 1 <= int(again.stdout) < 5
    assert path.is_file()
    expected, _ = in_memory(records(8_000, seed=3), [EXACT])
    ids = [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ids == [row.id for row in expected]


def test_what_a_filter_did_before_it_was_mended_is_not_gone_on_with(tmp_path):
    made = [{"id": f"r{n}", "prompt": "Say.", "completion": "x" * 40_000} for n in range(100)]
    write(tmp_path / "rows.jsonl", made)
    code = (
        "from pathlib import Path\n"
        "from tunewright.recipe.data_sections import *\n"
        "from tunewright.stages.data.prune import prune\n"
        "filters = [CustomFilter(type='custom', function='own:keep')]\n"
        "found = prune([Path('rows.jsonl')], filters, Path('out.jsonl'), processes=1)\n"
        "print(found.rows_kept, found.reused_chunks)\n"
    )
    (tmp_path / "own.py").write_text("def keep(row):\n    return row['id'] != 'r99' or 1 / 0\n")
    first = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "row r99: ZeroDivisionError" in first.stderr
    assert list((tmp_path / ".out.jsonl.work").glob("0-*.json"))  # chunks that the first code has done
    (tmp_path / "own.py").write_text("def keep(row):\n    return row['id'] in ('r0', 'r99')\n")
    again = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert again.stdout == "2 0\n"


@pytest.fixture
def pruning(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A pruning by two processes that are both at it, and stay so until there is a file `go`."""
    folder = tmp_path
    write(folder / "rows.jsonl", records(8_000, seed=3))
    (folder / "held.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path(f'at-{os.getpid()}').touch()\n"
        "def keep(row):\n"
        "    while not pathlib.Path('go').exists():\n"
        "        time.sleep(0.01)\n"
        "    return True\n"
    )
    (folder / "job.py").write_text(
        "from pathlib import Path\n"
        "from tunewright.recipe.data_sections import *\n"
        "from tunewright.stages.data.prune import prune\n"
        "if __name__ == '__main__':\n"
        "    filters = [CustomFilter(type='custom', function='held:keep')]\n"
        "    prune([Path('rows.jsonl')], filters, Path('out.jsonl'), processes=2)\n"
    )
    job = subprocess.Popen([sys.executable, "job.py"], cwd=folder, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while len(_at_work(folder) - {job.pid}) < 2 and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(_at_work(folder) - {job.pid}) == 2
    yield job
    (folder / "go").touch()


def _at_work(folder: Path) -> set[int]:
    return {int(path.name.removeprefix("at-")) for path in folder.glob("at-*")}


def test_a_process_that_is_killed_ends_the_pruning_with_what_to_do(pruning, tmp_path):
    os.kill(max(_at_work(tmp_path) - {pruning.pid}), signal.SIGKILL)
    _, said = pruning.communicate(timeout=600)
    assert "a process that filters rows was ended from outside" in said
    assert "run it again" in said
    assert not (tmp_path / "out.jsonl").exists()


def test_processes_do_not_outlive_a_pruning_that_is_killed(pruning, tmp_path):
    pruning.kill()
    pruning.communicate(timeout=600)
    deadline = time.monotonic() + 60
    left = _at_work(tmp_path) - {pruning.pid}
    while (left := {pid for pid in left if _lives(pid)}) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_other_filters_or_other_rows_start_anew(tmp_path):
    path = write(tmp_path / "rows.jsonl", records(50))
    work = tmp_path / ".out.jsonl.work"
    work.mkdir()
    (work / "plan.json").write_text('"of something else"')
    (work / "0-000000.json").write_text("{}")
    assert (
        prune(
            [path], [CustomFilter(type="custom", function="builtins:bool")], tmp_path / "out.jsonl", processes=1
        ).rows_kept
        == 50
    )


# ── keys on disk ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_equal_keys_meet_whatever_the_partitions(tmp_path):
    rng = np.random.default_rng(0)
    entries = np.zeros(5000, dtype=ENTRY)
    entries["key"] = rng.integers(0, 700, 5000)
    entries["check"] = rng.integers(0, 2, 5000)
    entries["row"] = rng.permutation(5000)
    first: dict[tuple[int, int], int] = {}
    for key, check, row in sorted(entries.tolist(), key=lambda entry: entry[2]):
        first.setdefault((key, check), row)
    expected = {(row, first[key, check]) for key, check, row in entries.tolist() if first[key, check] != row}
    for number in (1, 2_000_000):
        partitions = Partitions(tmp_path, number)
        partitions.fill(np.array_split(entries, 7))
        found = {pair for rows, like in partitions.equal() for pair in zip(rows.tolist(), like.tolist(), strict=True)}
        assert found == expected
