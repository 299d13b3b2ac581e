from __future__ import annotations

import pyarrow as pa

from vector_assets.pipeline import STAGES, Pipeline, Run
from vector_assets.tables import Sources, TableRef
from vector_assets_tests.fakes import FakeEngines, MemorySource

REF = TableRef("lake", "s", "t")
SOURCES = {
    "catalogs": {"lake": {"engine": "duckdb", "path": "x.duckdb"}},
    "tables": [{"table": "lake.s.t", "key": ["id"], "text": "{body}", "properties": {"id": "keep", "status": "keep"}, "collection": "Things"}],
}
SCHEMA = pa.schema([("id", pa.int64()), ("body", pa.string()), ("status", pa.string())])


def pipeline(home, rows, **settings):
    s = home.model_copy(update=settings)
    object.__setattr__(s, "tables", Sources.model_validate(SOURCES))
    source = MemorySource(SCHEMA, {REF: rows})
    return Pipeline(s, FakeEngines(s, source))


def sync(p):
    return {stage: p.sync(stage, REF, Run("test")) for stage in STAGES}


def test_pipeline(home):
    rows = [{"id": i, "body": f"body {i} secret", "status": "open"} for i in range(20)]
    p = pipeline(home, rows)
    one = sync(p)
    for o in one.values():
        print(o)
    assert one["weaviate_collections"].added == 20
    n = len(p.engines.stub_encoder.seen)
    two = sync(p)
    assert all(o.planned == 0 for o in two.values())
    rows[3] = {**rows[3], "status": "closed"}
    rows[4] = {**rows[4], "body": "new body"}
    del rows[7]
    rows.append({"id": 99, "body": "late", "status": "x"})
    three = sync(p)
    for o in three.values():
        print(o.stage, o.planned, o.added, o.changed, o.deleted, o.unchanged, o.rejected, o.counts, o.state.purged)
    assert len(p.engines.stub_encoder.seen) == n + 2
    assert len(next(iter(p.engines.memory_index.made.values())).objects) == 20
    rows.append({"id": 99, "body": "dup", "status": "x"})
    rows.append({"id": None, "body": "dup", "status": "x"})
    for o in sync(p).values():
        print(o.stage, o.planned, o.added, o.changed, o.deleted, o.unchanged, o.rejected, o.counts, o.state.purged)
