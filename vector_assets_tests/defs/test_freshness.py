"""Ticks of a catalog's sensor: what they record of versions and freshness, and that nothing keeps them from the other tables."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg
import pytest

from vector_assets.defs import freshness
from vector_assets.defs.freshness import KEY, Standing, Tick, look
from vector_assets.defs.resources import Platform
from vector_assets.defs.sensors import catalog_sensors
from vector_assets.errors import IndexUnavailable, SourceError, SourceUnavailable
from vector_assets.freshness import REPEAT_SECONDS, Memory
from vector_assets.raw.source import SourceVersion
from vector_assets.reconcile.run import look_at
from vector_assets.tables import CheckLimits, Sources, TableRef
from vector_assets_tests.defs.conftest import Materialize
from vector_assets_tests.fakes import MemorySource
from vector_assets_tests.scripted import REF, Lake

HOUR = 3600
START = 1_800_000_000
ENTRY = {"table": "lake.s.*", "key": ["id"], "text": "{body}", "properties": {"id": "keep", "status": "keep"}, "collection": "Things"}


class VersionedSource(MemorySource):
    """Exact versions, but for tables whose name begins with `view`. `broken` tables raise; `hangs` is waited for."""

    broken: frozenset[str] = frozenset()
    down = False
    hangs: threading.Event | None = None
    asked: list[int]

    def version(self, table: TableRef) -> SourceVersion:
        token = super().version(table).token
        return SourceVersion(look_at(START), exact=False) if table.table.startswith("view") else SourceVersion(token, exact=True)

    def versions(self, tables: Sequence[TableRef]) -> dict[TableRef, SourceVersion]:
        if self.hangs is not None:
            self.hangs.wait(20)
        if self.down:
            raise SourceUnavailable("the source does not answer")
        if any(table.table in self.broken for table in tables):
            raise SourceError("its metadata cannot be read")
        return super().versions(tables)


@dataclass
class Watched:
    """A lake, and the sensor's part of it from tick to tick."""

    lake: Lake
    source: VersionedSource
    memory: Memory = field(default_factory=Memory)
    now: float = START
    is_open: bool = False

    def look(self, refs: Sequence[TableRef] | None = None, *, budget: float = 20.0) -> Tick:
        clock = threading.local()
        clock.now = 0.0
        tick = look(
            self.lake.pipeline,
            sorted(self.source.data) if refs is None else refs,
            self.memory,
            deadline=budget,
            standings=lambda keys: dict.fromkeys(keys, Standing("run", self.is_open)),
            now=lambda: self.now,
            clock=lambda: clock.now,
        )
        self.memory = Memory.of_cursor(self.memory.cursor(self.now))
        return tick

    def many(self, names: Sequence[str]) -> list[TableRef]:
        tables = Sources.model_validate({"catalogs": {"lake": {"engine": "duckdb", "path": "x"}}, "tables": [ENTRY]})
        object.__setattr__(self.lake.settings, "tables", tables)
        refs = [TableRef("lake", "s", name) for name in names]
        self.source.data = {ref: [] for ref in refs}
        return refs


@pytest.fixture
def watched(lake: Lake) -> Watched:
    source = VersionedSource(lake.source.schema, lake.source.data)
    lake.source = lake.engines.memory = source
    return Watched(lake, source)


def evaluations(tick: Tick) -> list[tuple[str | None, bool]]:
    assert {run_id for run_id, _ in tick.evaluations} <= {"run"}
    return [(event.partition, event.passed) for _, event in tick.evaluations]


def observations(tick: Tick) -> list[str | None]:
    return [event.partition for event in tick.observations]


def silent(tick: Tick) -> bool:
    return not tick.observations and not tick.evaluations


def test_a_table_goes_stale_and_fresh_again(watched: Watched) -> None:
    lake = watched.lake
    lake.sync()
    first = watched.look()
    assert (observations(first), evaluations(first)) == ([REF.key], [(REF.key, True)])
    assert silent(watched.look())
    lake.rows[0] = {**lake.rows[0], "status": "closed"}
    changed = watched.look()
    assert (observations(changed), evaluations(changed)) == ([REF.key], [])
    watched.now += 25 * HOUR
    ((_, stale),) = watched.look().evaluations
    assert (stale.passed, stale.severity, stale.partition) == (False, dg.AssetCheckSeverity.WARN, REF.key)
    assert stale.metadata["value"].value == 25
    watched.now += REPEAT_SECONDS - 1
    assert silent(watched.look())
    watched.now += 1
    assert evaluations(watched.look()) == [(REF.key, False)]
    lake.sync()
    assert evaluations(watched.look()) == [(REF.key, True)]


def test_what_is_searched_counts_and_not_what_the_next_model_has(watched: Watched) -> None:
    """The alias still resolves to the old generation, which a run with the new model does not refresh."""
    lake = watched.lake
    lake.sync()
    served = lake.index.resolve("Things")
    lake.model("d2")
    lake.rows[0] = {**lake.rows[0], "status": "closed"}
    lake.index.point = lambda alias, name: None  # type: ignore[method-assign]
    lake.sync()
    assert lake.index.resolve("Things") == served
    watched.look()
    watched.now += 25 * HOUR
    assert evaluations(watched.look()) == [(REF.key, False)]


def test_a_view_is_observed_by_nobody_and_judged_by_its_last_sync(watched: Watched) -> None:
    (ref,) = watched.many(["view_1"])
    tick = watched.look()
    assert (observations(tick), evaluations(tick)) == ([], [(ref.key, True)])
    watched.now += 25 * HOUR
    assert evaluations(watched.look()) == [(ref.key, False)]


def test_one_table_that_fails_keeps_no_other_from_being_looked_at(watched: Watched) -> None:
    refs = watched.many([f"t{number:02}" for number in range(50)])
    watched.source.broken = frozenset({"t07", "t33"})
    tick = watched.look()
    assert tick.looked == 48
    assert tick.problems == {refs[number].key: "its metadata cannot be read" for number in (7, 33)}
    assert f"not {refs[7].key}: its metadata cannot be read" in tick.said


def test_a_source_that_is_away_loses_nothing(watched: Watched) -> None:
    watched.lake.sync()
    watched.look()
    before = dict(watched.memory.tables)
    watched.source.down = True
    tick = watched.look()
    assert silent(tick)
    assert tick.problems == {REF.key: "the source does not answer"}
    assert watched.memory.tables == before
    watched.source.down = False
    assert silent(watched.look())


def test_a_source_that_hangs_is_not_waited_for(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "_PATIENCE_SECONDS", 0.2)
    watched.source.hangs = threading.Event()
    try:
        tick = watched.look()
    finally:
        watched.source.hangs.set()
    assert list(tick.problems.values()) == ["the source did not tell versions within 0 s"]
    assert watched.memory.after == REF.key  # the next tick begins behind it


def test_an_index_that_is_away_keeps_no_collection_but_its_own(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    other = TableRef("lake", "s", "other")
    entries = [{**ENTRY, "table": "lake.s.t"}, {**ENTRY, "table": "lake.s.other", "collection": "Others"}]
    tables = Sources.model_validate({"catalogs": {"lake": {"engine": "duckdb", "path": "x"}}, "tables": entries})
    object.__setattr__(watched.lake.settings, "tables", tables)
    watched.source.data[other] = []
    real, asked = watched.lake.index.resolve, []

    def resolve(alias: str) -> str | None:
        asked.append(alias)
        if alias == "Things":
            raise IndexUnavailable("the index does not answer")
        return real(alias)

    monkeypatch.setattr(watched.lake.index, "resolve", resolve)
    tick = watched.look()
    assert tick.problems == {REF.key: "the index does not answer"}
    assert evaluations(tick) == [(other.key, True)]
    assert sorted(asked) == ["Others", "Things"]


def test_ticks_take_turns(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick that has no more time goes on in the next one, and comes round."""
    refs = watched.many([f"t{number:03}" for number in range(90)])
    monkeypatch.setattr(freshness, "MOST_EVENTS", 60)  # 30 tables: two events each
    seen: list[str | None] = []
    for _ in range(3):
        seen += observations(watched.look())
    assert seen == [ref.key for ref in refs]
    assert silent(watched.look())


def test_no_time_no_look(watched: Watched) -> None:
    assert watched.look(budget=0).looked == 0


def test_tables_that_are_no_more_are_forgotten(watched: Watched) -> None:
    refs = watched.many(["a", "b"])
    watched.look()
    watched.look(refs[:1])
    assert len(watched.memory.tables) == 1


def test_what_a_run_left_open_is_said_again(watched: Watched) -> None:
    watched.lake.sync()
    watched.look()
    watched.is_open = True
    assert evaluations(watched.look()) == [(REF.key, True)]


# --- the sensor --------------------------------------------------------------------------------------------------------------------------


@dataclass
class Sensor:
    """The catalog's sensor as the daemon runs it: events are recorded, then the cursor is saved."""

    lake: Lake
    instance: dg.DagsterInstance
    cursor: str | None = None

    def tick(self) -> dg.SensorResult:
        (sensor,) = catalog_sensors(self.lake.settings)
        resources = {"platform": Platform(self.lake.pipeline)}
        with dg.build_sensor_context(instance=self.instance, resources=resources, cursor=self.cursor) as context:
            answer = sensor(context)
        assert isinstance(answer, dg.SensorResult)
        assert not answer.run_requests
        for event in answer.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursor = answer.cursor
        return answer

    def status(self) -> list[tuple[str | None, str, str]]:
        """(partition, status, run) of every recorded evaluation, the newest first."""
        records = self.instance.event_log_storage.get_asset_check_execution_history(KEY, limit=20)
        return [(record.partition, record.status.value, record.run_id) for record in records]


@pytest.fixture
def sensor(watched: Watched, instance: dg.DagsterInstance) -> Sensor:
    return Sensor(watched.lake, instance)


def test_the_sensor_records_versions_and_freshness_under_the_last_run(
    watched: Watched, sensor: Sensor, materialize: Materialize, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = materialize()
    assert sensor.status() == [(REF.key, "PLANNED", first.run_id)]  # every run of an asset plans all its checks
    sensor.tick()
    assert sensor.status() == [(REF.key, "SUCCEEDED", first.run_id)]
    (observed,) = sensor.instance.fetch_observations(dg.AssetKey("source_tables"), limit=5).records
    assert observed.partition_key == REF.key
    assert observed.asset_observation is not None
    assert observed.asset_observation.tags["dagster/data_version"] == watched.source.version(REF).token
    before = sensor.cursor
    assert list(sensor.tick().asset_events) == []
    assert sensor.cursor == before
    second = materialize()
    sensor.tick()
    assert sensor.status() == [(REF.key, "SUCCEEDED", second.run_id), (REF.key, "SUCCEEDED", first.run_id)]


def test_a_check_may_change_its_mind_as_often_as_it_likes(watched: Watched, sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster stores one evaluation without a run for each partition, and no second one."""
    for warn, status in ((0.0, "FAILED"), (9.0, "SUCCEEDED"), (0.0, "FAILED")):
        spec = watched.lake.settings.tables.tables[0].model_copy(update={"checks": {"freshness": CheckLimits(warn=warn)}})
        object.__setattr__(watched.lake.settings.tables, "tables", (spec,))
        sensor.tick()
        ((partition, now, _),) = sensor.status()
        assert (partition, now) == (REF.key, status)
