"""A real Trino as a source: versions, pinned reads, keys, refusals, and what it sees of us."""

import base64
import json
import math
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from vector_assets.catalogs import TrinoCatalog
from vector_assets.errors import ConfigurationError, SourceError, SourceUnavailable
from vector_assets.raw.stage import RawInput, RawStage
from vector_assets.raw.trino import find
from vector_assets.raw.trino.source import TrinoSource
from vector_assets.reconcile.plan import RowSet
from vector_assets.reconcile.run import Limits
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.sync import reconcile
from vector_assets.tables import TableRef
from vector_assets_tests.clients import run_in_trino


class Lake:
    """A schema of our own in a catalog."""

    def __init__(self, trino, catalog):
        self.trino, self.catalog = trino, catalog
        self.schema = f"t2_{uuid.uuid4().hex[:12]}"
        self.sources = []
        self.run(f"CREATE SCHEMA {catalog}.{self.schema}")

    def run(self, *statements, **session):
        place = {"catalog": self.catalog, "schema": self.schema, "session_properties": session.get("session")}
        for statement in statements:
            rows = run_in_trino(self.trino.url, statement, user="alice", **place)
        return rows

    def ref(self, name="t"):
        return TableRef("lake", self.schema, name)

    def source(self, **settings):
        how = {name: settings.pop(name) for name in ("batch_rows",) if name in settings}
        place = urlsplit(self.trino.url)
        spec = {"host": place.hostname, "port": place.port, "user": "bob", "catalog": self.catalog, "timeout_seconds": 20} | settings
        self.sources.append(TrinoSource("lake", TrinoCatalog(engine="trino", **spec), **how))
        return self.sources[-1]

    def remove(self):
        for source in self.sources:
            source.close()
        for kind, name in self.run(f"SELECT table_type, table_name FROM information_schema.tables WHERE table_schema = '{self.schema}'"):
            quoted = '"' + name.replace('"', '""') + '"'
            self.run(f"DROP {'VIEW' if kind == 'VIEW' else 'MATERIALIZED VIEW' if name.startswith('mv') else 'TABLE'} {quoted}")
        self.run(f"DROP SCHEMA {self.catalog}.{self.schema}")


@pytest.fixture
def ice(trino):
    lake = Lake(trino, "iceberg")
    yield lake
    lake.remove()


@pytest.fixture
def memory(trino):
    lake = Lake(trino, "memory")
    yield lake
    lake.remove()


def tpch(trino, **settings):
    place = urlsplit(trino.url)
    spec = {"host": place.hostname, "port": place.port, "user": "bob", "catalog": "tpch", "timeout_seconds": 20} | settings
    return TrinoSource("lake", TrinoCatalog(engine="trino", **spec))


ORDERS = TableRef("lake", "tiny", "orders")


def collect(stream):
    found = list(stream)
    return pa.Table.from_batches(found) if found else None


def values(source, ref, *columns):
    with source.open(ref, columns, columns[:1]) as read:
        table = collect(read.rows())
    return [] if table is None else sorted(([*row.values()] for row in table.column("values").to_pylist()), key=repr)


def keys_of(read):
    return pa.concat_arrays([batch.column("key") for batch in read.digests()])


def key_array(**columns):
    return pa.StructArray.from_arrays([pa.array(values) for values in columns.values()], list(columns))


def until(condition):
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


# --- what is there -----------------------------------------------------------------------------------------------------------------------


def test_tables_and_views_are_listed_without_those_of_the_system(ice):
    ice.run("CREATE TABLE t (id integer)", "CREATE VIEW v AS SELECT id FROM t", "CREATE MATERIALIZED VIEW mv AS SELECT id FROM t")
    source = ice.source()
    assert source.tables(f"lake.{ice.schema}.*") == [ice.ref("mv"), ice.ref("t"), ice.ref("v")]
    assert source.tables(f"lake.{ice.schema}.t") == source.tables(f"la*.{ice.schema[:-1]}?.[t]") == [ice.ref()]
    assert set(source.tables(f"lake.{ice.schema}.*")) <= set(source.tables("lake.*.*"))
    assert not [ref for ref in source.tables("lake.*.*") if ref.schema == "information_schema"]
    assert source.tables(f"lake.{ice.schema}.T") == source.tables("other.*.*") == source.tables("lake.information_schema.*") == []


HOSTILE = ["it's", "a.b", "x;--", "100%", "under_score", 'a"b', "名", "select", "' or 1=1"]


def test_hostile_names_are_only_names(memory):
    source = memory.source()
    for name in HOSTILE:
        quoted = '"' + name.replace('"', '""') + '"'
        memory.run(f"CREATE TABLE {quoted} AS SELECT 1 AS {quoted}, 'x' AS other")
    assert {ref.table for ref in source.tables(f"lake.{memory.schema}.*")} == set(HOSTILE)
    for name in HOSTILE:
        ref = memory.ref(name)
        assert source.tables(ref.key) == [ref]
        with source.open(ref, ["other", name], [name]) as read:
            keys = keys_of(read)
            assert keys.to_pylist() == [{name: 1}]
            assert read.present(keys).to_pylist() == [True]
            assert collect(read.fetch(keys)).column("values").to_pylist() == [{"other": "x", name: 1}]


def test_unknown_names_are_errors_that_offer_what_is_there(ice):
    ice.run("CREATE TABLE t (id integer, body varchar)")
    source = ice.source()
    for use in (source.version, lambda ref: source.open(ref, ["id"], ["id"]).__enter__()):
        with pytest.raises(
            SourceError, match=rf"no table that user 'bob' may see .* called 'lake\.{ice.schema}\.tt'; there is: 'lake\.{ice.schema}\.t'"
        ):
            use(ice.ref("tt"))
        with pytest.raises(SourceError, match="no table that user 'bob' may see"):
            use(TableRef("lake", "no_such_schema", "t"))
        with pytest.raises(SourceError, match=r"no table that user 'bob' may see in Trino at .* called 'other"):
            use(ice.ref()._replace(catalog="other"))
    with pytest.raises(SourceError, match=r"no column in lake\..* called 'Body'; there is: 'body', 'id'"):
        values(source, ice.ref(), "id", "Body")


def test_a_catalog_that_is_not_there_is_named_with_those_that_are(trino):
    source = tpch(trino, catalog="tpcj")
    for use in (lambda: source.tables("lake.*.*"), lambda: source.version(ORDERS), lambda: values(source, ORDERS, "orderkey")):
        with pytest.raises(
            ConfigurationError, match=r"has no catalog 'tpcj' for user 'bob' \(it has: .*tpch.*check catalogs\.lake\.catalog"
        ):
            use()
    source.close()


# --- versions ----------------------------------------------------------------------------------------------------------------------------


def test_a_version_changes_with_what_is_read_and_comes_back_with_it(ice):
    ice.run("CREATE TABLE t (id integer, body varchar, n integer)", "INSERT INTO t VALUES (1, 'a', 1)")
    source = ice.source()
    first = source.version(ice.ref())
    assert first.exact
    assert source.version(ice.ref()) == first == ice.source().version(ice.ref())
    seen = [first]
    for change in (
        "INSERT INTO t VALUES (2, 'b', 2)",
        "UPDATE t SET body = 'c' WHERE id = 2",
        "DELETE FROM t WHERE id = 2",
        "ALTER TABLE t ADD COLUMN more integer",
        "ALTER TABLE t RENAME COLUMN more TO rather_more",
        "ALTER TABLE t DROP COLUMN n",
        "ALTER TABLE t ADD COLUMN n integer",
        "ALTER TABLE t ALTER COLUMN n SET DATA TYPE bigint",
    ):
        ice.run(change)
        seen.append(source.version(ice.ref()))
    assert len({version.token for version in seen}) == len(seen)
    assert all(version.exact for version in seen)


def test_a_rollback_brings_the_version_back(ice):
    ice.run("CREATE TABLE t (id integer)", "INSERT INTO t VALUES 1")
    source = ice.source()
    before = source.version(ice.ref())
    [[snapshot]] = ice.run("""SELECT snapshot_id FROM "t$refs" WHERE name = 'main'""")
    ice.run("INSERT INTO t VALUES 2")
    assert source.version(ice.ref()) != before
    ice.run(f"ALTER TABLE t EXECUTE rollback_to_snapshot({snapshot})")
    assert source.version(ice.ref()) == before
    assert values(source, ice.ref(), "id") == [[1]]


def test_a_table_made_anew_has_another_version(ice):
    tokens = set()
    for _ in range(2):
        ice.run("CREATE TABLE t AS SELECT 1 AS id")
        tokens.add(ice.source().version(ice.ref()).token)
        ice.run("DROP TABLE t")
    assert len(tokens) == 2


def test_versions_of_many_tables_are_those_of_each(ice):
    ice.run(*(f"CREATE TABLE t{i} AS SELECT {i} AS id" for i in range(4)), "CREATE VIEW v AS SELECT * FROM t0")
    source = ice.source()
    refs = source.tables(f"lake.{ice.schema}.*")
    found = source.versions(refs)
    assert list(found) == refs
    assert {ref: found[ref] for ref in refs if ref.table != "v"} == {ref: source.version(ref) for ref in refs if ref.table != "v"}
    assert not found[ice.ref("v")].exact


def test_what_has_no_version_never_looks_unchanged(ice, memory):
    ice.run("CREATE TABLE t AS SELECT 1 AS id", "CREATE VIEW v AS SELECT * FROM t", "CREATE MATERIALIZED VIEW mv AS SELECT * FROM t")
    memory.run("CREATE TABLE t AS SELECT 1 AS id")
    for source, ref in ((ice.source(), ice.ref("v")), (ice.source(), ice.ref("mv")), (memory.source(), memory.ref())):
        first, second = source.version(ref), source.version(ref)
        assert first != second
        assert not first.exact
        assert values(source, ref, "id") == [[1]]


def test_rows_that_are_computed_change_with_trino_only(trino):
    source = tpch(trino)
    version = source.version(ORDERS)
    assert version.exact
    assert source.version(ORDERS) == version != source.version(ORDERS._replace(table="customer"))
    with pytest.raises(SourceError, match="no table"):
        source.version(ORDERS._replace(table="odors"))
    source.close()


def test_delta_tables_have_versions_too(trino):
    lake = Lake(trino, "delta")
    try:
        lake.run("CREATE TABLE t AS SELECT 1 AS id, 'one' AS body")
        source = lake.source()
        before = source.version(lake.ref())
        assert before.exact
        assert source.version(lake.ref()) == before
        with source.open(lake.ref(), ["id", "body"], ["id"]) as read:
            assert read.version == before
            assert collect(read.rows()).column("values").to_pylist() == [{"id": 1, "body": "one"}]
            assert read.present(key_array(id=[1, 2])).to_pylist() == [True, False]
        lake.run("DROP TABLE t", "CREATE TABLE t AS SELECT 1 AS id, 'eins' AS body")
        assert source.version(lake.ref()) != before, "though both are version 0"
    finally:
        lake.remove()


# --- one look at a table -----------------------------------------------------------------------------------------------------------------


def test_a_read_sees_one_version_whatever_happens_meanwhile(ice):
    ice.run("CREATE TABLE t AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (3, 'c')) AS t (id, body)")
    source = ice.source()
    with source.open(ice.ref(), ["id", "body"], ["id"]) as read:
        before = collect(read.digests()).sort_by("digest")
        ice.run("DELETE FROM t WHERE id = 1", "UPDATE t SET body = 'B' WHERE id = 2", "INSERT INTO t VALUES (4, 'd')")
        ice.run("ALTER TABLE t RENAME COLUMN body TO text")
        assert read.version != source.version(ice.ref())
        assert collect(read.digests()).sort_by("digest") == before
        rows = collect(read.rows())
        assert rows.select(["key", "digest"]).sort_by("digest") == before
        assert sorted(row["body"] for row in rows.column("values").to_pylist()) == ["a", "b", "c"]
        assert read.present(key_array(id=[1, 2, 3, 4])).to_pylist() == [True, True, True, False]
        assert [row["body"] for row in collect(read.fetch(key_array(id=[1]))).column("values").to_pylist()] == ["a"]
    assert values(source, ice.ref(), "id", "text") == [[2, "B"], [3, "c"], [4, "d"]]


@pytest.mark.parametrize(
    ("change", "column", "expected"),
    [
        ("ALTER TABLE t ADD COLUMN m integer", "m", None),
        ("ALTER TABLE t RENAME COLUMN n TO m", "m", 7),
        ("ALTER TABLE t ALTER COLUMN n SET DATA TYPE bigint", "n", 7),
        ("ALTER TABLE t DROP COLUMN n; ALTER TABLE t ADD COLUMN n integer", "n", None),
        ("ALTER TABLE t DROP COLUMN n; ALTER TABLE t RENAME COLUMN o TO n", "n", 8),
    ],
)
def test_columns_that_changed_since_the_snapshot_are_read_as_they_are_today(ice, change, column, expected):
    ice.run("CREATE TABLE t AS SELECT 1 AS id, 7 AS n, 8 AS o")
    ice.run(*change.split(";"))
    source = ice.source()
    with source.open(ice.ref(), ["id", column], ["id"]) as read:
        assert read.version == source.version(ice.ref())
        assert read.version.exact
        assert collect(read.rows()).column("values").to_pylist() == [{"id": 1, column: expected}]
        assert read.present(key_array(id=[1])).to_pylist() == [True]
        ice.run("INSERT INTO t (id) VALUES 2")
        for use in (lambda: list(read.digests()), lambda: read.present(key_array(id=[2])), lambda: list(read.fetch(key_array(id=[2])))):
            with pytest.raises(SourceUnavailable, match="was changed while it was read"):
                use()


def test_columns_that_are_not_read_do_not_matter(ice):
    ice.run("CREATE TABLE t AS SELECT 1 AS id, 7 AS n", "ALTER TABLE t DROP COLUMN n", "ALTER TABLE t ADD COLUMN n integer")
    with ice.source().open(ice.ref(), ["id"], ["id"]) as read:
        ice.run("INSERT INTO t (id) VALUES 2")
        assert [row["id"] for row in keys_of(read).to_pylist()] == [1]


@pytest.mark.parametrize("what", ["DROP TABLE t", "DROP TABLE t; CREATE TABLE t AS SELECT 1 AS id", "ALTER TABLE t DROP COLUMN body"])
def test_a_table_that_goes_while_it_is_read_raises(ice, memory, what):
    for lake in (ice, memory):
        if lake is memory and what.startswith("ALTER"):  # which it does not know
            continue
        lake.run("CREATE TABLE t AS SELECT 1 AS id, 'a' AS body")
        with lake.source().open(lake.ref(), ["id", "body"], ["id"]) as read:
            lake.run(*what.split(";"))
            if lake is ice and what.startswith("ALTER"):  # its snapshot still has the column
                assert len(collect(read.rows())) == 1
                continue
            with pytest.raises(SourceUnavailable, match=r"was changed while it was read .*run again"):
                list(read.rows())


def test_an_expired_snapshot_raises(ice):
    ice.run("CREATE TABLE t AS SELECT 1 AS id")
    with ice.source().open(ice.ref(), ["id"], ["id"]) as read:
        ice.run("DELETE FROM t", "INSERT INTO t VALUES 2")
        ice.run(
            "ALTER TABLE t EXECUTE expire_snapshots(retention_threshold => '0s')",
            session={"iceberg.expire_snapshots_min_retention": "0s"},
        )
        with pytest.raises(SourceUnavailable, match="run again"):
            read.present(key_array(id=[1]))


def test_an_empty_table_has_no_batches(ice):
    ice.run("CREATE TABLE t (id integer)")
    with ice.source().open(ice.ref(), ["id"], ["id"]) as read:
        assert read.version.exact
        assert list(read.digests()) == list(read.rows()) == []
        assert read.present(key_array(id=[1])).to_pylist() == [False]


# --- batches -----------------------------------------------------------------------------------------------------------------------------


def test_batches_have_the_shape_of_the_protocol(memory):
    memory.run("CREATE TABLE t AS SELECT CAST(i AS bigint) AS id, 'x' AS body FROM UNNEST(sequence(1, 1000)) AS s (i)")
    with memory.source(batch_rows=64).open(memory.ref(), ["body", "id"], ["id"]) as read:
        assert read.schema == pa.schema([("body", pa.string()), ("id", pa.int64())])
        for stream, names in ((read.digests(), ["key", "digest"]), (read.rows(), ["key", "values", "digest"])):
            found = list(stream)
            assert max(batch.num_rows for batch in found) == 64
            assert sum(batch.num_rows for batch in found) == 1000
            assert all(batch.schema.names == names for batch in found)
            assert all(batch.schema.field("digest").type == pa.binary(16) for batch in found)
        assert collect(read.rows()).select(["key", "digest"]).sort_by("digest") == collect(read.digests()).sort_by("digest")
        assert read.facts == {"rows_read": 4000, "bytes_read": read.facts["bytes_read"], "queries": 4}
        assert read.facts["bytes_read"] > 4 * 8000


def test_spooled_and_direct_results_are_equal(trino):
    columns = ["orderkey", "custkey", "orderstatus", "totalprice", "orderdate", "orderpriority", "clerk", "shippriority", "comment"]
    found = []
    for spooling in (True, False):
        source = tpch(trino, spooling=spooling)
        with source.open(ORDERS, columns, columns[:1]) as read:
            found.append(collect(read.rows()).sort_by("digest"))
        source.close()
    assert len(found[0]) == 15_000
    assert found[0] == found[1]


def test_large_results_come_through_the_store_and_small_ones_inline(trino):
    """More than what Trino sends inline, so that there are segments in its store."""
    source = tpch(trino)
    with source.open(TableRef("lake", "sf1", "customer"), ["custkey", "comment"], ["custkey"]) as read:
        keys = keys_of(read)
        assert len(keys) == 150_000
        assert np.unique(np.asarray(keys.flatten()[0])).size == 150_000
    source.close()


def test_streams_of_one_read_do_not_disturb_each_other(trino):
    source = tpch(trino)
    with source.open(ORDERS, ["orderkey"], ["orderkey"]) as read:
        first, second = read.digests(), read.rows()
        total = next(first).num_rows + next(second).num_rows
        assert read.present(key_array(orderkey=[1, 8])).to_pylist() == [True, False]
        counted = []
        thread = threading.Thread(target=lambda: counted.append(sum(batch.num_rows for batch in first)))
        thread.start()
        total += sum(batch.num_rows for batch in second)
        thread.join()
        assert total + counted[0] == 30_000
    source.close()


# --- ends --------------------------------------------------------------------------------------------------------------------------------


def states(lake, marker):
    """(state, error) of queries whose text has this marker, of our own user."""
    return lake.run(
        "SELECT state, error_code FROM system.runtime.queries"
        f" WHERE \"user\" = 'bob' AND source = 'vector_assets' AND query LIKE '%{marker}%' AND query LIKE '%md5%'"
    )


@pytest.mark.parametrize("spooling", [True, False])
@pytest.mark.parametrize("how", ["closed", "dropped", "failed"])
def test_leaving_a_read_cancels_its_query(ice, spooling, how):
    ice.run("CREATE VIEW v AS SELECT * FROM tpch.sf1.lineitem")
    with ice.source(spooling=spooling).open(ice.ref("v"), ["orderkey", "linenumber", "comment"], ["orderkey", "linenumber"]) as read:
        stream = read.rows()
        assert next(stream).num_rows > 0
        assert [state for state, _ in states(ice, ice.schema)] in (["RUNNING"], ["FINISHING"])
        if how == "dropped":
            del stream
        elif how == "failed":
            with pytest.raises(ZeroDivisionError):
                stream.throw(ZeroDivisionError)
        else:
            read.close()
            with pytest.raises(SourceUnavailable, match="closed"):
                list(stream)
            with pytest.raises(SourceUnavailable, match="closed"):
                list(read.digests())
        assert until(lambda: [found for found in states(ice, ice.schema) if found[0] == "FAILED"]) == [["FAILED", "USER_CANCELED"]]


def test_a_query_that_is_killed_is_worth_another_run(ice):
    ice.run("CREATE VIEW v AS SELECT * FROM tpch.sf1.lineitem")
    with ice.source().open(ice.ref("v"), ["orderkey", "comment"], ["orderkey"]) as read:
        stream = read.rows()
        next(stream)
        [[query]] = ice.run(
            "SELECT query_id FROM system.runtime.queries"
            f" WHERE \"user\" = 'bob' AND query LIKE '%{ice.schema}%' AND query LIKE '%md5%' AND state = 'RUNNING'"
        )
        ice.run(f"CALL system.runtime.kill_query('{query}', 'for a test')")
        with pytest.raises(SourceUnavailable, match=r"ADMINISTRATIVELY_KILLED, query .*run again"):
            list(stream)


def test_a_read_that_breaks_raises_and_quotes_no_value(memory):
    memory.run(
        "CREATE TABLE t AS SELECT i AS id, IF(i = 900, 'Ada, 7 Elm St', '1') AS body FROM UNNEST(sequence(1, 1000)) AS s (i)",
        "CREATE VIEW v AS SELECT id, CAST(body AS bigint) AS body FROM t",
    )
    with memory.source().open(memory.ref("v"), ["id", "body"], ["id"]) as read:
        with pytest.raises(SourceError, match=r"lake\..*\.v cannot be read: INVALID_CAST_ARGUMENT, query .*left out") as caught:
            list(read.rows())
        assert "Ada" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_broken_view_breaks_nothing_else(memory):
    memory.run("CREATE TABLE gone AS SELECT 1 AS id", "CREATE VIEW v AS SELECT * FROM gone", "DROP TABLE gone")
    memory.run("CREATE TABLE t AS SELECT 1 AS id")
    source = memory.source()
    assert source.tables(f"lake.{memory.schema}.*") == [memory.ref("t"), memory.ref("v")]
    assert values(source, memory.ref(), "id") == [[1]]
    with pytest.raises((SourceError, SourceUnavailable), match=r"\.v "):
        values(source, memory.ref("v"), "id")


# --- keys --------------------------------------------------------------------------------------------------------------------------------

KEYS = ["n", "name", "day", "at", "instant", "price", "flag", "uid", "raw"]
ROWS = """
SELECT CAST(i AS bigint) AS n, 'na''me ' || CAST(i AS varchar) AS name, DATE '2024-02-29' + i * INTERVAL '1' DAY AS day,
    TIMESTAMP '2024-02-29 01:02:03.000004' AS at, TIMESTAMP '2024-02-29 01:02:03.000000 +05:45' AS instant,
    CAST(i AS decimal(9, 2)) / 100 AS price, i % 2 = 0 AS flag, UUID '00000000-0000-0000-0000-00000000000a' AS uid,
    to_utf8(CAST(i AS varchar)) AS raw, 'body ' || CAST(i AS varchar) AS body
FROM UNNEST(sequence(0, 29)) AS s (i)
"""


@pytest.fixture(params=["list", "bitmap"])
def way(request, monkeypatch):
    """Both ways of finding rows by key."""
    if request.param == "bitmap":
        monkeypatch.setattr(find, "MOST_LISTED", 0)
    return request.param


def test_rows_are_found_by_composite_keys_of_any_scalar_type(ice, way):
    ice.run(f"CREATE TABLE t AS {ROWS}")
    for null in ({"n"}, {"name", "at"}, {"uid"}, set(KEYS)):
        ice.run(f"INSERT INTO t SELECT {', '.join('NULL' if name in null else name for name in KEYS)}, 'NULL' FROM t WHERE body = 'body 8'")
    with ice.source().open(ice.ref(), [*KEYS, "body"], KEYS) as read:
        rows, keys = collect(read.rows()), keys_of(read)
        assert len(keys) == 34
        assert read.present(keys).to_pylist() == [True] * 34
        assert collect(read.fetch(keys)).sort_by("digest") == rows.sort_by("digest")
        few = collect(read.fetch(keys[3:5])).column("key").to_pylist()
        assert sorted(few, key=repr) == sorted(keys[3:5].to_pylist(), key=repr)
        some = [{**key, "n": -1} for key in keys[:3].to_pylist()]
        assert read.present(pa.array(some, keys.type)).to_pylist() == [False] * 3


def test_keys_that_differ_by_their_nulls_alone_are_told_apart(memory, way):
    """Trino 476 fails on `row IN (rows)` where the two hash to one slot and are equal but for a NULL."""
    columns = ", ".join(f"IF(bitwise_and(nulls, {1 << bit}) = 0, k) AS k{bit}" for bit in range(6))
    memory.run(
        f"CREATE TABLE t AS SELECT {columns}, nulls FROM UNNEST(sequence(0, 63)) AS n (nulls) CROSS JOIN UNNEST(sequence(1, 8)) AS v (k)"
        " WHERE nulls < 63 OR k = 1"
    )
    with memory.source().open(memory.ref(), [*(f"k{bit}" for bit in range(6)), "nulls"], [f"k{bit}" for bit in range(6)]) as read:
        keys = keys_of(read)
        assert len(keys) == 63 * 8 + 1
        assert read.present(keys).to_pylist() == [True] * len(keys)
        assert len(collect(read.fetch(keys))) == len(keys)


def test_a_bitmap_lets_other_rows_through_that_are_dropped_here(memory, monkeypatch):
    monkeypatch.setattr(find, "MOST_LISTED", 0)
    monkeypatch.setattr(find, "_FEWEST_BITS", 32)
    monkeypatch.setattr(find, "_BITS_PER_KEY", 2)
    memory.run("CREATE TABLE t AS SELECT CAST(i AS bigint) AS id, 'x' AS body FROM UNNEST(sequence(1, 1000)) AS s (i)")
    with memory.source().open(memory.ref(), ["id", "body"], ["id"]) as read:
        keys = key_array(id=[5, 5000, 7, None, 5, 1000])
        assert 1 - math.exp(-5 / 32) < find._WORTH_IT
        assert sorted(row["id"] for row in collect(read.fetch(keys)).column("key").to_pylist()) == [5, 7, 1000]
        assert read.present(keys).to_pylist() == [True, False, True, False, True, True]
        most = key_array(id=list(range(500, 2000)))
        assert read._find(most).where != ""
        monkeypatch.setattr(find, "_MOST_BITS", 32)
        assert read._find(most).where == "", "a full scan"
        assert len(collect(read.fetch(most))) == 501


def test_present_and_fetch_agree_with_sets(memory, way):
    rng = np.random.default_rng(7)
    texts = [None, "", "a", "a'", "b\\", "ß", "🙂", "a\n"]
    rows = [(texts[a], b) for a, b in zip(rng.integers(0, 8, 60), [None, *rng.integers(-2, 3, 59).tolist()], strict=True)]
    memory.run("CREATE TABLE t (a varchar, i integer)")
    literal = [
        f"({'NULL' if a is None else chr(39) + a.replace(chr(39), chr(39) * 2) + chr(39)}, {'NULL' if i is None else i})" for a, i in rows
    ]
    memory.run(f"INSERT INTO t VALUES {', '.join(literal)}")
    wanted = [(a, i) for a in [*texts, "c"] for i in (None, 0, 2, 7)]
    schema = pa.struct([("a", pa.string()), ("i", pa.int64())])
    with memory.source().open(memory.ref(), ["a", "i"], ["a", "i"]) as read:
        keys = pa.array([dict(zip(("a", "i"), key, strict=True)) for key in wanted], schema)
        assert read.present(keys).to_pylist() == [key in rows for key in wanted]
        fetched = [tuple(key.values()) for batch in read.fetch(keys) for key in batch.column("key").to_pylist()]
    assert Counter(fetched) == Counter(row for row in rows if row in wanted)


def test_keys_of_another_family_or_beyond_the_type_are_not_there(memory, way):
    memory.run("CREATE TABLE t AS SELECT '5' AS text, CAST(5 AS integer) AS n, CAST(5 AS decimal(9, 2)) AS price, 1e0 AS x")
    source = memory.source()
    with source.open(memory.ref(), ["text"], ["text"]) as read:
        assert read.present(key_array(text=[5])).to_pylist() == [False]
        assert list(read.fetch(key_array(text=[5.0]))) == []
        empty = pa.StructArray.from_arrays([pa.array([], pa.string())], ["text"])
        assert read.present(empty).to_pylist() == list(read.fetch(empty)) == []
        large = key_array(text=["5", "x"]).cast(pa.struct([("text", pa.large_string())]))
        assert read.present(large[:1]).to_pylist() == [True]
    with source.open(memory.ref(), ["n", "price"], ["n", "price"]) as read:
        assert read.present(key_array(n=[2**40, 5, 5], price=[5, 5, 6])).to_pylist() == [False, True, False]


def test_floats_compare_as_their_digests_do(memory, way):
    memory.run("CREATE TABLE t AS SELECT x FROM (VALUES nan(), 0e0, infinity()) AS v (x)")
    with memory.source().open(memory.ref(), ["x"], ["x"]) as read:
        assert read.present(key_array(x=[math.nan, -0.0, math.inf, -math.inf, 1.0])).to_pylist() == [True, True, True, False, False]
        assert len(collect(read.fetch(key_array(x=[math.nan, -0.0])))) == 2


def test_a_nested_key_is_refused(memory):
    memory.run("CREATE TABLE t AS SELECT ARRAY[1] AS id")
    with pytest.raises(SourceError, match=r"key column 'id' of lake\..* has type array\(integer\): .*scalars"):
        values(memory.source(), memory.ref(), "id")


def test_fields_of_a_row_may_be_called_anything(memory):
    memory.run('CREATE TABLE t AS SELECT 1 AS id, CAST(ROW(1, 2) AS row("a b" integer, "c,d" integer)) AS r')
    with memory.source().open(memory.ref(), ["id", "r"], ["id"]) as read:
        assert collect(read.rows()).column("values").to_pylist() == [{"id": 1, "r": {"a b": 1, "c,d": 2}}]


# --- who we are --------------------------------------------------------------------------------------------------------------------------


class Tls:
    """Ways to log in over TLS."""

    def __init__(self, trino):
        place = urlsplit(trino.tls_url)
        self.trino, self.host, self.port = trino, place.hostname, place.port
        self.user, self.password = place.username, place.password

    def source(self, **settings):
        given = {"host": self.host, "port": self.port, "user": self.user, "catalog": "tpch", "ca": self.trino.ca, "timeout_seconds": 0.5}
        return TrinoSource("lake", TrinoCatalog(engine="trino", **{k: v for k, v in (given | settings).items() if v is not None}))

    def token(self, user=None, *, seconds=300):
        key = serialization.load_pem_private_key(self.trino.jwt_key.read_bytes(), None)
        claims = {"sub": user or self.user, "exp": int(time.time()) + seconds}
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
        signature = base64.urlsafe_b64encode(key.sign(b".".join(parts), PKCS1v15(), hashes.SHA256())).rstrip(b"=")
        return b".".join([*parts, signature]).decode()


@pytest.fixture
def tls(trino):
    return Tls(trino)


def tables(source):
    try:
        return source.tables("lake.tiny.orders")
    finally:
        source.close()


def test_a_password_lets_us_in(tls, tmp_path):
    assert tables(tls.source(password=tls.password)) == [ORDERS]
    file = tmp_path / "password"
    file.write_text(f"{tls.password}\n")
    source = tls.source(password_file=file, timeout_seconds=20)
    with source.open(ORDERS, ["orderkey", "comment"], ["orderkey"]) as read:
        assert sum(batch.num_rows for batch in read.rows()) == 15_000, "spooled too, from a store that has no such password"
    file.write_text("changed")
    with pytest.raises(ConfigurationError, match=r"does not let user .* in: the password is wrong.* catalogs\.lake\.password_file"):
        source.tables("lake.*.*")
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"password cannot be read \(FileNotFoundError\): check catalogs\.lake\.password_file"):
        tables(source)


def test_a_token_lets_us_in_and_may_be_renewed(tls, tmp_path):
    assert tables(tls.source(jwt=tls.token())) == [ORDERS]
    file = tmp_path / "token"
    file.write_text(tls.token(seconds=-3600))
    source = tls.source(jwt_file=file)
    with pytest.raises(ConfigurationError, match=r"the token is not valid .*expired, check catalogs\.lake\.jwt_file"):
        source.tables("lake.tiny.orders")
    file.write_text(tls.token())
    assert tables(source) == [ORDERS]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"password": "wrong-password"}, r"the password is wrong for that user, check catalogs\.lake\.password "),
        ({"jwt": "a.b.c"}, r"check catalogs\.lake\.jwt "),
        ({}, r"set password, password_file, jwt or jwt_file"),
        ({"password": "right", "user": "Nobody"}, r"the password is wrong"),
        ({"password": "gr€€k"}, r"beyond Latin-1"),
    ],
)
def test_wrong_credentials_name_the_setting(tls, settings, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        tables(tls.source(**settings))
    assert not any(secret in str(caught.value) for secret in ("wrong-password", "a.b.c"))


def test_another_users_name_is_refused(tls):
    with pytest.raises(SourceError, match=r"PERMISSION_DENIED .*cannot impersonate"):
        tables(tls.source(jwt=tls.token(), user="somebody_else"))


def test_certificates_are_checked(tls, tmp_path, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(ConfigurationError, match=r"certificate .* signed by nobody this machine knows: .*catalogs\.lake\.ca"):
        tables(tls.source(ca=None, tls=True, password=tls.password))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.trino.ca))
    assert tables(tls.source(ca=None, tls=True, password=tls.password)) == [ORDERS]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(a_bundle_without(tls.trino.ca)))
    assert tables(tls.source(password=tls.password)) == [ORDERS], "what is named in sources.yaml wins"
    with pytest.raises(ConfigurationError, match=r"is not signed by .*check catalogs\.lake\.ca"):
        tables(tls.source(ca=a_bundle_without(tls.trino.ca), password=tls.password))
    for wrong, said in (("nowhere.pem", "there is no file"), ("empty.pem", "holds no certificate")):
        (tmp_path / "empty.pem").touch()
        with pytest.raises(ConfigurationError, match=rf"{said}.*catalogs\.lake\.ca"):
            tables(tls.source(ca=tmp_path / wrong, password=tls.password))


def a_bundle_without(ca):
    import certifi

    bundle = Path(certifi.where())
    assert ca.read_bytes() not in bundle.read_bytes()
    return bundle


def test_wrong_ports_and_protocols_name_the_setting(tls, trino):
    plain = urlsplit(trino.url)
    with pytest.raises(ConfigurationError, match=r"speaks TLS on that port: catalogs\.lake\.tls in sources\.yaml must be true"):
        tables(tls.source(ca=None, tls=False))
    with pytest.raises(ConfigurationError, match=r"does not speak TLS on that port: check catalogs\.lake\.port"):
        tables(tls.source(port=plain.port, password=tls.password))
    with pytest.raises(SourceUnavailable, match=r"refuses connections.*check host and port of catalogs\.lake in sources"):
        tables(tls.source(port=1, password=tls.password))


def test_settings_of_a_session_arrive(trino):
    source = tpch(trino, session={"query_max_run_time": "17m", "query_priority": 3, "push_aggregation_through_outer_join": False})
    shown = {row[0]: row[1] for row in source.client.ask("SHOW SESSION", "the session")}
    assert [shown[name] for name in source.spec.session] == ["17m", "3", "false"]
    assert source.client.ask("SELECT current_timezone(), current_user", "who") == [["UTC", "bob"]]
    source.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"session": {"no_such": 1}},
            r"INVALID_SESSION_PROPERTY \(Session property 'no_such' does not exist\), query .*check catalogs\.lake\.session",
        ),
        ({"session": {"query_max_run_time": "zzz"}}, r"\(Session property 'query_max_run_time'\), query"),
        ({"roles": {"system": "no_such_role"}}, r"Cannot set role no_such_role; check catalogs\.lake\.roles"),
        ({"roles": {"no_such_catalog": "x"}}, r"CATALOG_NOT_FOUND .*no_such_catalog.*check catalog, roles and session of catalogs\.lake"),
    ],
)
def test_wrong_roles_and_sessions_name_the_setting(trino, settings, said):
    with pytest.raises(ConfigurationError, match=said):
        tables(tpch(trino, **settings))


# --- the whole of raw_tables -------------------------------------------------------------------------------------------------------------


def sync(source, ref, folder):
    with source.open(ref, [*KEYS, "body"], KEYS) as read:
        stage = RawStage(read.schema, KEYS, depends={}, purge=False)
        table = StageTable(str(folder / "raw.lance"), stage.own)

        def known():
            view = table.newest()
            return view.observed if view else RowSet.empty()

        rows = RawInput(read, ref, stage=stage, known=known, sequence=1)
        outcome = reconcile(stage, rows, table, Limits())
        assert table.now().schema.equals(table.schema), "else every run would write the table anew"
        return outcome


def test_composite_keys_of_every_scalar_type_through_the_stage(ice, tmp_path, way):
    ice.run(f"CREATE TABLE t AS {ROWS}")
    source = ice.source(batch_rows=8)
    first = sync(source, ice.ref(), tmp_path)
    assert (first.planned, first.added, first.rejected) == (30, 30, 0)
    [[snapshot]] = ice.run("""SELECT snapshot_id FROM "t$refs" WHERE name = 'main'""")
    assert sync(source, ice.ref(), tmp_path).planned == 0
    ice.run("DELETE FROM t", f"INSERT INTO t {ROWS}")
    assert sync(source, ice.ref(), tmp_path).planned == 0, "the same rows in another version"
    ice.run(
        "UPDATE t SET body = 'changed' WHERE n IN (1, 2, 3)",
        "DELETE FROM t WHERE n = 4",
        "UPDATE t SET uid = NULL WHERE n = 5",
        "INSERT INTO t SELECT n, name, day, at, instant, price, flag, uid, raw, 'copy' FROM t WHERE n = 6",
    )
    second = sync(source, ice.ref(), tmp_path)
    assert (second.changed, second.added, second.deleted, second.unchanged, second.rejected) == (3, 0, 2, 24, 2)
    ice.run(f"ALTER TABLE t EXECUTE rollback_to_snapshot({snapshot})")
    third = sync(source, ice.ref(), tmp_path)
    assert (third.changed, third.added, third.deleted, third.rejected) == (3, 2, 1, 0)
    assert third.state.data_version == first.state.data_version
    ice.run("ALTER TABLE t ADD COLUMN more integer", "MERGE INTO t USING (VALUES 7) AS s (k) ON n = k WHEN MATCHED THEN DELETE")
    assert sync(source, ice.ref(), tmp_path).deleted == 1


def test_a_table_without_versions_that_changes_between_scan_and_fetch_settles_with_the_next_run(memory, tmp_path):
    memory.run(f"CREATE TABLE t AS {ROWS}")
    source = memory.source()
    with source.open(memory.ref(), [*KEYS, "body"], KEYS) as read:
        stage = RawStage(read.schema, KEYS, depends={}, purge=False)
        table = StageTable(str(tmp_path / "raw.lance"), stage.own)
        rows = RawInput(read, memory.ref(), stage=stage, known=RowSet.empty, sequence=1)
        rows.rows()
        memory.run("DROP TABLE t", f"CREATE TABLE t AS SELECT * FROM ({ROWS}) WHERE n <> 3")
        memory.run("CREATE TABLE u AS SELECT n, name, day, at, instant, price, flag, uid, raw, IF(n = 5, 'new', body) AS body FROM t")
        memory.run("DROP TABLE t", "ALTER TABLE u RENAME TO t")
        reconcile(stage, rows, table, Limits())
    after = sync(source, memory.ref(), tmp_path)
    assert (after.changed, after.added, after.deleted, after.unchanged) == (0, 0, 0, 29)
    assert sync(source, memory.ref(), tmp_path).unchanged == 29
