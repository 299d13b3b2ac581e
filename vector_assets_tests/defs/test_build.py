"""The code location: what it has, and that it loads fast, without heavy libraries, whatever sources.yaml looks like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from vector_assets.defs.build import build_defs
from vector_assets.defs.resources import Platform, platform_resource
from vector_assets.pipeline import STAGES
from vector_assets.settings import Settings
from vector_assets_tests.defs.conftest import failure
from vector_assets_tests.scripted import REF, Lake

ROOT = Path(__file__).parents[2]
HEAVY = [
    *("duckdb", "faker", "lance", "lancedb", "mlflow", "pandas", "pandera"),
    *("presidio_analyzer", "sentence_transformers", "spacy", "torch", "transformers", "weaviate"),
]
ENTRY = '[{table: lake.s.t, key: [id], text: "{body}", properties: {id: keep}, collection: Things}]'
SOURCES = "catalogs: {lake: {engine: duckdb, path: lake.duckdb}}\ntables: []\n"
LOAD = """
import json, sys, time
from vector_assets.definitions import defs
repository = defs.get_repository_def()
sensors = sorted(sensor.name for sensor in repository.sensor_defs)
print(json.dumps([time.process_time(), sorted(set(json.loads(sys.argv[1])) & set(sys.modules)), sensors]))
"""


def load(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    names = {"PYTHONPATH": str(ROOT), "VECTOR_ASSETS_HOME": str(tmp_path / "home"), **environment}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD, json.dumps(HEAVY)], cwd=tmp_path, capture_output=True, text=True, env=os.environ | names
    )


def test_the_location_loads_fast_and_light(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(SOURCES)
    done = load(tmp_path)
    assert done.returncode == 0, done.stderr
    seconds, heavy, sensors = json.loads(done.stdout)
    assert heavy == []
    assert sensors == ["catalog_lake", "notifications"]
    assert seconds < 4  # of processor time, interpreter and all: what else this machine does is not our concern
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "sources", [None, "catalogs: [", "tables: 7", "catalogs: {lake: {engine: duckdb, path: '${NOT_SET}'}}\ntables: []"]
)
def test_a_broken_sources_file_does_not_keep_the_location_from_loading(home: Settings, sources: str | None) -> None:
    if sources is not None:
        home.sources.write_text(sources)
    repository = build_defs(home).get_repository_def()
    assert sorted(sensor.name for sensor in repository.sensor_defs) == ["catalogs", "notifications"]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("tables", [REF.key])
        result = repository.get_job("sync_tables").execute_in_process(instance=instance, partition_key=REF.key, raise_on_error=False)
    assert str(home.sources) in failure(result)


def test_a_mended_sources_file_is_read_by_the_next_run_and_tick(home: Settings, instance: dg.DagsterInstance) -> None:
    repository = build_defs(home).get_repository_def()
    sensor = repository.get_sensor_def("catalogs")
    home.sources.write_text(SOURCES)
    with dg.build_sensor_context(instance=instance, resources={"platform": platform_resource(home)}) as context:
        assert "0 tables" in str(sensor(context))
    for entries, message in [("[]", "no entry under tables:"), (ENTRY, "lake.duckdb")]:
        home.sources.write_text(SOURCES.replace("[]", entries))
        result = repository.get_job("sync_tables").execute_in_process(instance=instance, partition_key=REF.key, raise_on_error=False)
        assert message in failure(result)


def test_a_misspelt_setting_fails_the_load_with_a_clear_error(tmp_path: Path) -> None:
    done = load(tmp_path, VECTOR_ASSETS_HOMES="x")
    assert done.returncode
    assert done.stderr.splitlines()[-1].endswith("VECTOR_ASSETS_HOMES is not a setting: did you mean VECTOR_ASSETS_HOME?")


def test_the_five_assets_are_as_users_expect_them(home: Settings) -> None:
    home.sources.write_text(SOURCES)
    defs = build_defs(home)
    graph = defs.resolve_asset_graph()
    assert [key.to_user_string() for key in graph.toposorted_asset_keys if key in graph.materializable_asset_keys] == list(STAGES)
    source = graph.get(dg.AssetKey("source_tables"))
    assert (source.is_external, source.automation_condition) == (True, None)
    for before, stage in zip((None, *STAGES), STAGES, strict=False):
        node = graph.get(dg.AssetKey(stage))
        assert node.parent_keys == ({dg.AssetKey(before)} if before else set())
        assert (node.group_name, list(node.owners), len(node.kinds) > 0) == ("vector_assets", ["team:data-platform"], True)
        assert node.partitions_def == dg.DynamicPartitionsDefinition(name="tables")
        assert node.backfill_policy == dg.BackfillPolicy.multi_run(1)
        assert node.description
        assert node.code_version
        assert node.pools == ({"gpu"} if stage == "embeddings" else set())


@pytest.mark.parametrize(("written", "runs"), [("", False), ("notifications: [{name: ops, url: https://ops.example/hook}]\n", True)])
def test_notifications_run_by_themselves_where_somebody_is_to_be_told(home: Settings, written: str, *, runs: bool) -> None:
    home.sources.write_text(SOURCES + written)
    sensor = build_defs(home).get_repository_def().get_sensor_def("notifications")
    assert (sensor.default_status == dg.DefaultSensorStatus.RUNNING) is runs


def test_runs_stay_in_one_process(home: Settings) -> None:
    home.sources.write_text(SOURCES)
    assert build_defs(home).resolve_job_def("sync_tables").executor_def == dg.in_process_executor


def test_resources_may_be_replaced(lake: Lake, instance: dg.DagsterInstance) -> None:
    defs = build_defs(lake.settings, resources={"platform": Platform(lake.pipeline)})
    assert defs.resolve_job_def("sync_tables").execute_in_process(instance=instance, partition_key=REF.key).success
