"""Data sets of the hub, by the real client, from a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sources.hub_server import Hub, serving

pytest.importorskip("datasets")

OLD, NEW = "a" * 40, "b" * 40
NAME = "somebody/talks"
TOKEN = "hf_" + "s3cretT0kenThatNobodyMaySee" * 2
READ = """\
import json, sys, itertools
from tunewright.errors import TunewrightError
from tunewright.recipe.sections import HubSource
from tunewright.sources.read import read_source, source_identity
for told in json.loads(sys.argv[1]):
    source = HubSource(type="hub", **told)
    try:
        rows = [row.model_dump() for row in itertools.islice(read_source(source), 5)]
        print(json.dumps({"rows": rows, "identity": source_identity(source)}))
    except TunewrightError as error:
        print(json.dumps({"error": str(error)}))
"""


def lines(*questions: str) -> bytes:
    return "".join(json.dumps({"prompt": text, "completion": f"{text}!"}) + "\n" for text in questions).encode()


def hub(**fields: object) -> Hub:
    commits = {OLD: {"train.jsonl": lines("old")}, NEW: {"train.jsonl": lines("one", "two"), "test.jsonl": lines("t")}}
    return Hub(NAME, commits, {"main": NEW, "v1": OLD}, **fields)


def read(server: Hub, home: Path, *sources: dict[str, object], token: str = "") -> list[dict]:
    """Read in a process of its own: the client takes the hub's place and the token from the environment once."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_TOKEN": token} if token else {}
    told = json.dumps([{"name": NAME, **source} for source in sources or ({},)])
    done = subprocess.run(
        [sys.executable, "-c", READ, told], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert TOKEN not in done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def asked_of(found: dict) -> list[str]:
    return [row["messages"][0]["content"] for row in found["rows"]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What one process reads of several revisions and parts, and the server that it asked."""
    wanted = [{}, {"revision": "v1"}, {"revision": OLD}, {"part": "test"}]
    absent = [{"revision": "v9"}, {"part": "validation"}, {"name": "somebody/tasks"}]
    with serving(hub()) as server:
        return read(server, tmp_path_factory.mktemp("home"), *wanted, *absent), server


def test_a_branch_is_read_at_the_commit_that_it_is_now_and_the_commit_is_its_identity(answers):
    (main, *_), server = answers
    assert asked_of(main) == ["one", "two"]
    assert [row["id"] for row in main["rows"]] == ["talks-train-1", "talks-train-2"]
    assert {row["source"] for row in main["rows"]} == {NAME}
    assert main["identity"] == f"{NAME}@{NEW}"
    files = [asked for asked in server.asked if "/resolve/" in asked]
    assert files
    assert all(f"/resolve/{NEW}/" in asked or f"/resolve/{OLD}/" in asked for asked in files)


def test_a_tag_and_a_commit_pin_what_is_read_and_a_part_is_a_split(answers):
    (_, tag, commit, test, *_), _ = answers
    assert tag == commit
    assert tag["identity"] == f"{NAME}@{OLD}"
    assert asked_of(tag) == ["old"]
    assert asked_of(test) == ["t"]


def test_what_is_not_there_is_a_clean_error(answers):
    found, _ = answers
    for told in found[4:]:
        assert "cannot load it" in told["error"]
        assert "fix: check name, config, part and revision" in told["error"]


def test_the_token_of_the_environment_opens_a_gated_set_and_is_never_printed(tmp_path):
    with serving(hub(token=TOKEN)) as server:
        (opened,) = read(server, tmp_path, token=TOKEN)
        assert asked_of(opened) == ["one", "two"]
        assert server.tokens == {TOKEN}
        (refused,) = read(server, tmp_path)
    assert refused["error"].startswith(f"{NAME}: cannot load it")
    assert "HF_TOKEN where it is gated" in refused["error"]


def test_rows_are_streamed_and_a_large_set_is_not_downloaded_for_its_first_rows(tmp_path):
    text = "word " * 200
    files = {f"data/train-{part:05}-of-00008.jsonl": lines(*[f"{part} {text}"] * 3000) for part in range(8)}
    assert sum(map(len, files.values())) > 40_000_000
    with serving(Hub(NAME, {NEW: files}, {"main": NEW})) as server:
        (found,) = read(server, tmp_path)
    assert len(found["rows"]) == 5
    read_files = {asked.split("/data/")[1] for asked in server.asked if asked.startswith("GET /datasets")}
    assert read_files == {"train-00000-of-00008.jsonl"}
    kept = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert kept < 1_000_000
