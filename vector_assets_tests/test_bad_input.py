"""Hostile and broken sources through all five stages, with a real DuckDB file and a real Lance index: a clear error or a rejected row,
and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from vector_assets.errors import ConfigurationError, IndexConflict, SourceError
from vector_assets.indexed.lance.index import LanceIndex
from vector_assets.pipeline import STAGES, Pipeline, Run
from vector_assets.raw.duckdb.source import DuckDBSource
from vector_assets.reconcile.run import Approval, Outcome
from vector_assets.settings import Settings
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.fakes import FakeEngines, MemorySource

REF = TableRef("lake", "s", "t")
SPEC = {"key": ["id"], "text": "{body}", "properties": {"id": "keep", "status": "keep"}, "collection": "Things"}


class Real(FakeEngines):
    """A real source and a real index around stub models."""

    def __init__(self, settings: Settings, database: Path) -> None:
        super().__init__(settings, MemorySource(pa.schema([])), LanceIndex(settings.index))
        self.duckdb = DuckDBSource("lake", database, retry_seconds=0)

    def source(self, catalog: str) -> DuckDBSource:  # type: ignore[override]
        return self.duckdb


class Place:
    def __init__(self, folder: Path) -> None:
        self.database = folder / "lake.duckdb"
        self.folder = folder

    def execute(self, *statements: str) -> None:
        with duckdb.connect(str(self.database)) as connection:
            for statement in statements:
                connection.execute(statement)

    def pipeline(self, table: str = "lake.s.t", **spec: object) -> Pipeline:
        settings = Settings(home=self.folder / "home", secret="a secret of some length")
        catalogs = {"lake": {"engine": "duckdb", "path": str(self.database)}}
        sources = Sources.model_validate({"catalogs": catalogs, "tables": [{**SPEC, "table": table, **spec}]})
        object.__setattr__(settings, "tables", sources)
        return Pipeline(settings, Real(settings, self.database))

    def sync(self, pipeline: Pipeline, ref: TableRef = REF) -> dict[str, Outcome]:
        approval = Approval(DuckDBSource("lake", self.database).version(ref).token, 10**9)
        return {stage: pipeline.sync(stage, ref, Run("test", approval=approval)) for stage in STAGES}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.execute("create schema s")
    return place


def objects(pipeline: Pipeline, collection: str = "Things") -> list[dict[str, object]]:
    index = pipeline.engines.index()
    name = str(index.resolve(collection))
    import lance

    dataset = lance.dataset(f"{pipeline.settings.index}/collections/{name}.lance")
    rows: list[dict[str, object]] = dataset.to_table(columns=["source_key", "text"]).to_pylist()
    return sorted(rows, key=lambda row: str(row["source_key"]))


def test_odd_texts_keep_to_their_rows(place: Place) -> None:
    long = "word " * 1_000_000  # 5 MB
    place.execute("create table s.t (id bigint, body varchar, status varchar)")
    rows = ["plain", None, "", " \t\n ", "שלום עולם", "👩‍👩‍👧 family", "a\u200bb\x07c", "x" * 3, long]
    with duckdb.connect(str(place.database)) as connection:
        connection.executemany("insert into s.t values (?, ?, 'open')", [[number, body] for number, body in enumerate(rows)])
    pipeline = place.pipeline()
    outcomes = place.sync(pipeline)
    assert outcomes["weaviate_collections"].added == len(rows)
    found = {str(row["source_key"]): row["text"] for row in objects(pipeline) if row["source_key"] != "8"}
    assert found == {"0": "plain", "4": "שלום עולם", "5": "👩‍👩‍👧 family", "6": "abc", "7": "xxx"}
    assert sum(row["source_key"] == "8" for row in objects(pipeline)) > 60_000
    assert [outcome.planned for outcome in place.sync(pipeline).values()] == [0] * 5


@pytest.mark.parametrize("name", ['a"b', 'x";--', "é" * 200, "with.dot", "a,b|c[d]", "{id}"])
def test_hostile_names_are_only_names(place: Place, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    place.execute(f"create table s.{quoted} (id int, {quoted} varchar, body varchar)", f"insert into s.{quoted} values (1, 'p', 'text')")
    ref = TableRef("lake", "s", name)
    pipeline = place.pipeline(ref.key, properties={"id": "keep", name: "hash"})
    assert place.sync(pipeline, ref)["weaviate_collections"].added == 1
    assert TableRef.parse(ref.key) == ref
    assert [outcome.planned for outcome in place.sync(pipeline, ref).values()] == [0] * 5


def test_composite_keys_of_many_types(place: Place) -> None:
    place.execute(
        "create table s.t as select i::decimal(10, 2) as a, date '2020-01-01' + i::int as b, timestamptz '2020-01-01 00:00:00+00' as c,"
        " uuid() as d, i % 2 = 0 as e, 'text' as body from range(50) r(i)"
    )
    key = ["a", "b", "c", "d", "e"]
    pipeline = place.pipeline(key=key, properties=dict.fromkeys(key, "keep"))
    assert place.sync(pipeline)["weaviate_collections"].added == 50
    place.execute("update s.t set body = 'other' where a = 7", "delete from s.t where a = 8")
    outcome = place.sync(pipeline)["weaviate_collections"]
    assert (outcome.added, outcome.changed, outcome.deleted) == (0, 1, 1)


def test_a_template_is_not_evaluated(place: Place) -> None:
    place.execute("create table s.t as select 1 as id, 'text' as body, 'open' as status")
    with pytest.raises(SourceError, match=r"body\.__class__"):
        place.sync(place.pipeline(text="{body.__class__}"))


def test_a_column_dropped_upstream_is_named_and_what_is_published_stays(place: Place) -> None:
    place.execute("create table s.t as select i as id, 'text' as body, 'open' as status from range(3) r(i)")
    pipeline = place.pipeline()
    place.sync(pipeline)
    place.execute("alter table s.t drop column status")
    with pytest.raises(SourceError, match="status"):
        place.sync(pipeline)
    assert len(objects(pipeline)) == 3


def test_a_column_retyped_upstream_wants_a_declared_type(place: Place) -> None:
    place.execute("create table s.t as select i as id, 'text' as body, i as status from range(3) r(i)")
    pipeline = place.pipeline()
    place.sync(pipeline)
    place.execute("alter table s.t alter status type varchar")
    with pytest.raises(IndexConflict, match="status"):
        place.sync(pipeline)
    assert len(objects(pipeline)) == 3
    declared = place.pipeline(properties={"id": "keep", "status": {"policy": "keep", "type": "text"}})
    assert place.sync(declared)["weaviate_collections"].added == 3
    assert len(objects(declared)) == 3


def test_a_widened_column_costs_nothing(place: Place) -> None:
    place.execute("create table s.t as select i::int as id, 'text' as body, 'open' as status from range(3) r(i)")
    pipeline = place.pipeline()
    place.sync(pipeline)
    place.execute("alter table s.t alter id type bigint")
    outcomes = place.sync(pipeline)
    assert [(outcome.added, outcome.changed, outcome.deleted) for outcome in outcomes.values()] == [(0, 0, 0)] * 5


def test_unknown_names_say_what_there_is(place: Place) -> None:
    place.execute("create table s.t as select 1 as id, 'text' as body, 'open' as status")
    with pytest.raises(SourceError, match="t"):
        place.sync(place.pipeline("lake.s.u"), TableRef("lake", "s", "u"))
    with pytest.raises(SourceError, match="body"):
        place.sync(place.pipeline(text="{boody}"))
    with pytest.raises(ConfigurationError, match="no entry under tables"):
        place.pipeline().sync("raw_tables", TableRef("lake", "s", "other"), Run("test"))
