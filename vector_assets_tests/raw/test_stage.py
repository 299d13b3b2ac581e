"""raw_tables: which rows are fetched, how, and which are refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vector_assets.fingerprint import Hashes, from_bytes, input_fingerprints, row_ids, to_arrow
from vector_assets.raw import stage as raw_stage
from vector_assets.raw.duckdb.source import DuckDBSource
from vector_assets.raw.source import Source, TableRead
from vector_assets.raw.stage import KEY, PROBLEM, VALUES, RawInput, RawStage, family
from vector_assets.reconcile.plan import Plan, RowSet, plan
from vector_assets.reconcile.run import Limits, Outcome
from vector_assets.reconcile.stage_table import StageTable
from vector_assets.reconcile.sync import reconcile
from vector_assets.reconcile.view import CONTENT, ROW_ID
from vector_assets.tables import TableRef
from vector_assets_tests.fakes import MemorySource, Row

REF = TableRef("lake", "s", "t")
SCHEMA = pa.schema([("id", pa.int64()), ("body", pa.string())])


def rows_of(*pairs: tuple[int | None, str]) -> list[Row]:
    return [{"id": key, "body": body} for key, body in pairs]


class Fetches(MemorySource):
    """Remembers how rows were asked for: batches by kind."""

    def __init__(self, rows: list[Row], **how: object) -> None:
        super().__init__(SCHEMA, {REF: rows}, **how)  # type: ignore[arg-type]
        self.asked: list[str] = []
        self.on_read = lambda kind, _: self.asked.append(kind)


def opened(read: TableRead, *, known: RowSet | None = None, key: Sequence[str] = ("id",), purge: bool = False) -> tuple[RawStage, RawInput]:
    stage = RawStage(read.schema, key, depends={}, purge=purge)
    known_rows = known or RowSet.empty()
    source = RawInput(read, REF, stage=stage, known=lambda: known_rows, sequence=1, batch_rows=2)
    return stage, source


def observed(read: TableRead) -> RowSet:
    """What a table made from this read would hold."""
    stage, source = opened(read)
    rows = source.rows()
    return RowSet(rows.ids, input_fingerprints(rows.fingerprints, stage.version))


def todo(stage: RawStage, source: RawInput, known: RowSet) -> Plan:
    rows = source.rows()
    return plan(RowSet(rows.ids, input_fingerprints(rows.fingerprints, stage.version)), known)


def read_all(source: RawInput, made: Plan) -> dict[object, object]:
    """Bodies by key and reasons by position, of everything that a plan wants to read; ids and digests are checked."""
    found: dict[object, object] = {}
    wanted = source.rows()
    for batch in source.read(np.sort(np.concatenate([made.inserts, made.changes]))):
        assert len(batch.rows) == len(batch.positions) == len(batch.content)
        assert (batch.content == wanted.fingerprints[batch.positions]).all()
        for at, row in zip(batch.positions, batch.rows.to_pylist(), strict=True):
            if row[PROBLEM] is None:
                key = row[KEY]["id"]
                assert (row_ids(REF, [pa.array([key], pa.int64())])[0] == wanted.ids[at]).all()
                found[key] = row[VALUES]["body"]
            else:
                assert row[KEY] is row[VALUES] is None
                found["at", int(at)] = row[PROBLEM]
    return found


# --- what is fetched -------------------------------------------------------------------------------------------------------------------


def test_only_rows_that_differ_are_fetched_by_key() -> None:
    source = Fetches(rows_of((1, "a"), (2, "b"), (3, "c"), (4, "d")))
    with source.open(REF, ["id", "body"], ["id"]) as read:
        known = observed(read)
    source.data[REF] = rows_of((1, "a"), (2, "B"), (4, "d"), (5, "e"))
    source.asked.clear()
    with source.open(REF, ["id", "body"], ["id"]) as read:
        stage, rows = opened(read, known=known)
        made = todo(stage, rows, known)
        assert read_all(rows, made) == {2: "B", 5: "e"}
        assert (len(made.inserts), len(made.changes), len(made.deletes), made.unchanged) == (1, 1, 1, 2)
    assert source.fetched == 2
    assert set(source.asked) == {"digests", "fetch"}


def test_many_rows_that_differ_are_read_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_stage, "_FETCH_ROWS", 2)
    source = Fetches(rows_of((1, "a"), (2, "b"), (3, "c")))
    with source.open(REF, ["id", "body"], ["id"]) as read:
        stage, rows = opened(read)
        assert read_all(rows, todo(stage, rows, RowSet.empty())) == {1: "a", 2: "b", 3: "c"}
    assert set(source.asked) == {"digests", "rows"}


def test_rows_that_the_scan_did_not_expect_are_read_too() -> None:
    """The plan may go on from another version than the one the scan compared with."""
    source = Fetches(rows_of((1, "a"), (2, "b"), (3, "c")))
    with source.open(REF, ["id", "body"], ["id"]) as read:
        known = observed(read)
        stage, rows = opened(read, known=known)
        assert read_all(rows, todo(stage, rows, RowSet(known.ids[:1], known.fingerprints[:1]))) == {2: "b", 3: "c"}


PAIRS = st.lists(st.tuples(st.integers(0, 5) | st.none(), st.sampled_from("ab")), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PAIRS, PAIRS, PAIRS, st.integers(1, 4), st.sampled_from([0, 2, 10_000]))
def test_a_plan_reads_what_it_wants_whatever_it_goes_on_from(
    monkeypatch: pytest.MonkeyPatch, scanned: list, before: list, base: list, batch_rows: int, limit: int
) -> None:
    monkeypatch.setattr(raw_stage, "_FETCH_ROWS", limit)

    def known(pairs: list[tuple[int | None, str]]) -> RowSet:
        with Fetches(rows_of(*pairs)).open(REF, ["id", "body"], ["id"]) as read:
            return observed(read)

    with Fetches(rows_of(*scanned), batch_rows=batch_rows).open(REF, ["id", "body"], ["id"]) as read:
        stage, rows = opened(read, known=known(before))
        made = todo(stage, rows, known(base))
        found = read_all(rows, made)
        assert len(found) == made.upserts
        keys = [key for key, _ in scanned]
        good = {key: body for key, body in scanned if key is not None and keys.count(key) == 1}
        assert {key: body for key, body in found.items() if body in ("a", "b")}.items() <= good.items()


# --- what is refused -------------------------------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_told_apart_are_refused_and_the_others_are_not() -> None:
    source = Fetches(rows_of((1, "a"), (2, "b"), (1, "c"), (None, "d"), (3, "e"), (1, "f")))
    with source.open(REF, ["id", "body"], ["id"]) as read:
        stage, rows = opened(read)
        made = todo(stage, rows, RowSet.empty())
        found = read_all(rows, made)
    assert found == {("at", 0): "several rows have this key", 2: "b", ("at", 2): "a key column is NULL", 3: "e"}
    assert source.fetched == 2, "what cannot be told apart is not fetched"


def test_a_row_that_goes_or_doubles_after_the_scan_is_left_to_the_next_one() -> None:
    source = Fetches(rows_of((1, "a"), (2, "b"), (3, "c")))
    with source.open(REF, ["id", "body"], ["id"]) as read:
        stage, rows = opened(read)
        made = todo(stage, rows, RowSet.empty())
        read.content[:] = [dict(row) for row in rows_of((2, "b"), (3, "c"), (3, "c"))]  # type: ignore[attr-defined]
        assert read_all(rows, made) == {2: "b", 3: "c"}


def test_what_a_fetch_gives_beside_what_was_asked_is_left_out() -> None:
    source = Fetches(rows_of((1, "a"), (2, "b")))
    with source.open(REF, ["id", "body"], ["id"]) as read:
        known = observed(read)
        read.fetch = lambda _: read.rows()  # type: ignore[method-assign]
        stage, rows = opened(read, known=RowSet(known.ids[:1], known.fingerprints[:1]))
        assert read_all(rows, todo(stage, rows, RowSet(known.ids[:1], known.fingerprints[:1]))) == {2: "b"}


# --- what is gone ----------------------------------------------------------------------------------------------------------------------


def stored(ids: Hashes, keys: pa.Array) -> pa.Table:
    return pa.table({ROW_ID: to_arrow(ids), KEY: keys})


def id_keys(*values: int, kind: pa.DataType | None = None) -> pa.StructArray:
    return pa.StructArray.from_arrays([pa.array(values, kind or pa.int64())], names=["id"])


def test_absence_is_asked_of_the_source() -> None:
    source = Fetches(rows_of((1, "a"), (3, "c")))
    keys = id_keys(1, 2, 3)
    ids = row_ids(REF, keys.flatten())
    with source.open(REF, ["id", "body"], ["id"]) as read:
        _, rows = opened(read)
        assert rows.absent(stored(ids, keys)).to_pylist() == [False, True, False]
        wider = id_keys(1, 2, kind=pa.int16())
        assert rows.absent(stored(ids[:2], wider)).to_pylist() == [False, True]
        without = pa.array([None, {"id": 1}, None], keys.type)
        assert rows.absent(stored(ids, without)).to_pylist() == [True, True, True], "the key 1 is another row's"
        assert rows.absent(stored(ids[:0], keys[:0])).to_pylist() == []


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([{"id": "1"}]),  # was a text
        pa.array([{"id": "one"}]),
        pa.array([{"body": 1}]),  # other key columns
        pa.array([{"id": 1, "body": "a"}]),
    ],
)
def test_a_row_with_another_identity_is_gone_whoever_has_its_key_now(keys: pa.StructArray) -> None:
    with Fetches(rows_of((1, "a"))).open(REF, ["id", "body"], ["id"]) as read:
        _, rows = opened(read)
        assert rows.absent(stored(row_ids(REF, keys.flatten()), keys)).to_pylist() == [True]


# --- versions --------------------------------------------------------------------------------------------------------------------------


def version(schema: pa.Schema = SCHEMA, key: Sequence[str] = ("id",), **depends: str) -> str:
    return RawStage(schema, key, depends=depends, purge=True).version


def test_what_changes_the_stage_version() -> None:
    other = SCHEMA.append(pa.field("more", pa.string()))
    others = [version(other), version(key=("id", "body")), version(redacted_text="2"), version(SCHEMA.set(0, pa.field("id", pa.string())))]
    assert len({version(), *others}) == 5
    for same in (pa.int8(), pa.uint32()):
        assert version(SCHEMA.set(0, pa.field("id", same))) == version()


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        ([pa.int8(), pa.uint64()], "integer"),
        ([pa.decimal128(3, 1), pa.decimal256(50, 2)], "decimal"),
        ([pa.float32(), pa.float64()], "float"),
        ([pa.string(), pa.large_string()], "text"),
        ([pa.binary(), pa.binary(4), pa.large_binary()], "binary"),
        ([pa.timestamp("s"), pa.timestamp("ns")], "timestamp"),
        ([pa.timestamp("s", "UTC"), pa.timestamp("us", "Asia/Tokyo")], "instant"),
        ([pa.time32("s"), pa.time64("ns")], "time"),
        ([pa.bool_()], "bool"),
        ([pa.list_(pa.int64())], "list<item: int64>"),
    ],
)
def test_families_of_types(kinds: list[pa.DataType], name: str) -> None:
    assert {family(kind) for kind in kinds} == {name}


# --- a real source ---------------------------------------------------------------------------------------------------------------------

KEYS = ["n", "name", "day", "at", "instant", "price", "flag", "uid", "ratio", "raw"]
TABLE = """
CREATE OR REPLACE TABLE s.t AS SELECT
    i::BIGINT AS n, 'name ' || i AS name, DATE '2024-02-29' + i::INT AS day, TIMESTAMP '2024-02-29 01:02:03.000004' AS at,
    TIMESTAMPTZ '2024-02-29 01:02:03+05:45' AS instant, (i / 100)::DECIMAL(9, 2) AS price, i % 2 = 0 AS flag,
    md5(i::VARCHAR)::UUID AS uid, CASE i WHEN 1 THEN 'nan'::DOUBLE WHEN 2 THEN -0.0 ELSE i / 7 END AS ratio, encode(i::VARCHAR) AS raw,
    'body ' || i AS body
FROM range(30) AS numbers(i)
"""


def sync(source: Source, folder: Path) -> Outcome:
    with source.open(REF, [*KEYS, "body"], KEYS) as read:
        stage = RawStage(read.schema, KEYS, depends={}, purge=False)
        table = StageTable(str(folder / "raw.lance"), stage.own)

        def known() -> RowSet:
            view = table.newest()
            return view.observed if view else RowSet.empty()

        rows = RawInput(read, REF, stage=stage, known=known, sequence=1)
        outcome = reconcile(stage, rows, table, Limits())
        assert table.now().schema.equals(table.schema), "else every run would write the table anew"
        return outcome


def test_composite_keys_of_every_scalar_type_in_a_real_database(tmp_path: Path) -> None:
    path = tmp_path / "lake.duckdb"

    def run(*statements: str) -> None:
        with duckdb.connect(path) as connection:
            for statement in statements:
                connection.execute(statement)

    run("CREATE SCHEMA s", TABLE)
    source = DuckDBSource("lake", path, batch_rows=8)
    first = sync(source, tmp_path)
    assert (first.planned, first.added, first.rejected) == (30, 30, 0)
    assert sync(source, tmp_path).planned == 0
    run(TABLE)  # the same rows in a file that changed
    assert sync(source, tmp_path).planned == 0
    run(
        "UPDATE s.t SET body = 'changed' WHERE n IN (1, 2, 3)",
        "DELETE FROM s.t WHERE n = 4",
        "UPDATE s.t SET uid = NULL WHERE n = 5",
        "INSERT INTO s.t SELECT * REPLACE ('copy' AS body) FROM s.t WHERE n = 6",
    )
    second = sync(source, tmp_path)
    assert (second.changed, second.added, second.deleted, second.unchanged, second.rejected) == (3, 0, 2, 24, 2)
    run(TABLE)
    third = sync(source, tmp_path)
    assert (third.changed, third.added, third.deleted, third.rejected) == (3, 2, 1, 0)
    assert third.state.data_version == first.state.data_version


def test_an_empty_scan_is_no_rows() -> None:
    with Fetches([]).open(REF, ["id", "body"], ["id"]) as read:
        _, rows = opened(read)
        assert len(rows.rows().ids) == 0
        assert list(rows.read(np.empty(0, np.int64))) == []


def test_a_digest_is_the_content() -> None:
    with Fetches(rows_of((1, "a"))).open(REF, ["id", "body"], ["id"]) as read:
        stage, rows = opened(read)
        rows.rows()
        batch = next(rows.read(np.array([0])))
        computed = stage.compute(batch.rows, stage.own.empty_table())
        assert (from_bytes(computed.rows.column(CONTENT).to_pylist()) == rows.rows().fingerprints).all()
        assert computed.reasons == [None]
