"""The same rows come out of a Ray cluster as of this machine's processes. Skipped where Ray is not installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.stages.test_prune import EXACT, NEAR, QUALITY, records, write

from tunewright.errors import DataError
from tunewright.stages.data.prune import prune

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'tunewright[ray]'")


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes of one core each, on this machine."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    found.add_node(num_cpus=1)
    ray.init(address=found.address, log_to_driver=False)
    found.wait_for_nodes()
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture
def files(tmp_path):
    """400 rows in eight files, each a piece; rows of one equal rows of another."""
    made = records(400)
    return [write(tmp_path / f"rows{n}.jsonl", made[50 * n : 50 * n + 50]) for n in range(8)]


def test_a_cluster_of_two_workers_gives_the_same_bytes_and_tells_the_same(cluster, files, tmp_path):
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    filters = [QUALITY, EXACT, NEAR]
    here = prune(files, filters, tmp_path / "here.jsonl", processes=1)
    there = prune(files, filters, tmp_path / "there.jsonl", processes=2, engine="ray")
    assert (tmp_path / "there.jsonl").read_bytes() == (tmp_path / "here.jsonl").read_bytes()
    assert there.steps == here.steps
    assert 0 < there.rows_kept < there.rows_read == 400
    assert not list(tmp_path.glob(".*.work"))


def test_what_is_wrong_is_told_as_it_is_without_ray(cluster, files, tmp_path):
    files[5].write_text(files[5].read_text() + '{"id": "broken"\n')
    with pytest.raises(DataError, match=r"rows5\.jsonl:51: broken JSON"):
        prune(files, [QUALITY], tmp_path / "out.jsonl", processes=2, engine="ray")
    assert not (tmp_path / "out.jsonl").exists()


def test_the_stage_gives_the_same_rows_on_both_engines(cluster, files, tmp_path, smollm2_folder):
    from tunewright.artifacts.context import RunContext
    from tunewright.recipe.sections import DataSection, JsonlSource, Split
    from tunewright.stages.data.stage import data

    def made(engine: str) -> tuple[dict, list[bytes]]:
        section = DataSection(
            model=str(smollm2_folder), seed=7, sources=[JsonlSource(type="jsonl", path=str(path)) for path in files],
            filters=[QUALITY, EXACT, NEAR], split=Split(test=20), engine=engine,
        )  # fmt: skip
        out = tmp_path / engine
        found = data(section, out, RunContext(quiet=True))
        names = ("train.jsonl", "test.jsonl", "filters.json")
        return json.loads(found.model_dump_json(exclude={"folder"})), [Path(out / name).read_bytes() for name in names]

    assert made("ray") == made("local")
