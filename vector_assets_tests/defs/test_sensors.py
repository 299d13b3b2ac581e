from __future__ import annotations

import dagster as dg
import pytest

from vector_assets.defs.resources import Platform
from vector_assets.defs.sensors import catalog_sensors, sensor_name
from vector_assets.errors import ConfigurationError, SourceUnavailable
from vector_assets.pipeline import Pipeline
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.fakes import FakeEngines, MemorySource
from vector_assets_tests.scripted import REF, SCHEMA, Lake

ENTRY = {"key": ["id"], "text": "{body}", "properties": {"id": "keep"}, "collection": "Things"}


def tick(lake: Lake, instance: dg.DagsterInstance, number: int = 0) -> dg.SensorResult | dg.SkipReason:
    sensor = catalog_sensors(lake.settings)[number]
    with dg.build_sensor_context(instance=instance, resources={"platform": Platform(lake.pipeline)}) as context:
        answer = sensor(context)
    assert isinstance(answer, dg.SensorResult | dg.SkipReason)
    return answer


def reason(answer: dg.SensorResult | dg.SkipReason) -> str:
    skip = answer.skip_reason if isinstance(answer, dg.SensorResult) else answer
    assert isinstance(skip, dg.SkipReason)
    return str(skip.skip_message)


def test_new_tables_become_partitions_and_nothing_is_launched(lake: Lake) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        answer = tick(lake, instance)
        assert isinstance(answer, dg.SensorResult)
        (request,) = answer.dynamic_partitions_requests or ()
        assert (request.partitions_def_name, list(request.partition_keys)) == ("tables", [REF.key])
        assert reason(answer) == f"1 tables, 1 of them new: {REF.key}; 0 looked at"
        assert not answer.run_requests
        instance.add_dynamic_partitions("tables", [REF.key])
        assert reason(tick(lake, instance)) == "1 tables, all known; 1 looked at"


def test_a_table_that_went_stays_a_partition(lake: Lake, instance: dg.DagsterInstance) -> None:
    lake.source.data.clear()
    assert reason(tick(lake, instance)) == "0 tables, all known; 0 looked at"


def test_keys_are_safe_whatever_tables_are_called(lake: Lake) -> None:
    names = ['a"b', 'x";--', "ä" * 100, "a.b", "[x], |y|", "...", "a b"]
    lake.source.data = {TableRef("lake", "s", name): [] for name in names}
    tables = Sources.model_validate({"catalogs": {"lake": {"engine": "duckdb", "path": "x"}}, "tables": [{"table": "lake.s.*", **ENTRY}]})
    object.__setattr__(lake.settings, "tables", tables)
    with dg.DagsterInstance.ephemeral() as instance:
        answer = tick(lake, instance)
        assert isinstance(answer, dg.SensorResult)
        keys = list((answer.dynamic_partitions_requests or ())[0].partition_keys)
        instance.add_dynamic_partitions("tables", keys)
        assert {TableRef.parse(key).table for key in instance.get_dynamic_partitions("tables")} == set(names)


def test_each_catalog_has_its_own_tables(lake: Lake) -> None:
    other = TableRef("sea", "s", "t")
    catalogs = {name: {"engine": "duckdb", "path": "x"} for name in ("lake", "sea")}
    tables = Sources.model_validate({"catalogs": catalogs, "tables": [{"table": "*.s.*", **ENTRY}]})
    object.__setattr__(lake.settings, "tables", tables)
    lake.source.data[other] = []
    with dg.DagsterInstance.ephemeral() as instance:
        assert [reason(tick(lake, instance, number)) for number in (0, 1)] == [
            f"1 tables, 1 of them new: {REF.key}; 0 looked at",
            f"1 tables, 1 of them new: {other.key}; 0 looked at",
        ]


def test_a_source_that_is_away_is_looked_at_again(lake: Lake, instance: dg.DagsterInstance) -> None:
    class Away(MemorySource):
        def tables(self, pattern: str) -> list[TableRef]:
            raise SourceUnavailable("the lake does not answer")

    lake.pipeline = Pipeline(lake.settings, FakeEngines(lake.settings, Away(SCHEMA)))
    assert reason(tick(lake, instance)) == "the lake does not answer; looking again in 30 s"


def test_what_needs_a_person_fails_the_tick(lake: Lake, instance: dg.DagsterInstance) -> None:
    object.__setattr__(lake.settings, "tables", None)
    settings = lake.settings.model_copy(update={"sources": lake.settings.home / "absent.yaml"})
    settings.__dict__.pop("tables")
    (sensor,) = catalog_sensors(settings)
    assert sensor.name == "catalogs"
    platform = Platform(Pipeline(settings))
    with (
        dg.build_sensor_context(instance=instance, resources={"platform": platform}) as context,
        pytest.raises(ConfigurationError, match=r"absent\.yaml"),
    ):
        sensor(context)


def test_names_of_sensors_are_safe_and_distinct() -> None:
    assert sensor_name("lake_1") == "catalog_lake_1"
    odd = [sensor_name(name) for name in ("a-b", "a.b", "ä", "a b")]
    assert len(set(odd)) == 4
    assert all(name.replace("_", "").isalnum() and name.isascii() for name in odd)
