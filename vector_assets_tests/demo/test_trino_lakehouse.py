"""Behind Trino, the sample is the same as in the DuckDB file, edits included; an interrupted build is finished by the next one."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vector_assets.demo import trino_lakehouse
from vector_assets.demo.lakehouse import DuckDBLakehouse
from vector_assets.demo.sample import LABELS, NOTES, TICKETS, TOPICS
from vector_assets.demo.servers.lakehouse import READER
from vector_assets.demo.servers.process import free_ports
from vector_assets.demo.trino_lakehouse import CATALOGS, TrinoLakehouse
from vector_assets.errors import SourceError, SourceUnavailable
from vector_assets_tests.clients import run_in_trino
from vector_assets_tests.live.fixtures import Trino

SMALL = 40
WRITER = "somebody"

Rows = list[tuple[object, ...]]


def _sorted(rows: Rows) -> Rows:
    return sorted(rows, key=repr)


class Lake:
    """A sample of its own behind a shared Trino."""

    def __init__(self, trino: Trino) -> None:
        self.prefix = f"demo_{uuid.uuid4().hex[:12]}_"
        self.trino = trino
        self.lakehouse = TrinoLakehouse(trino.url, user=WRITER, prefix=self.prefix)

    def run(self, statement: str) -> Rows:
        return [tuple(row) for row in run_in_trino(self.trino.url, statement, user=WRITER)]

    def name(self, table: str, suffix: str = "") -> str:
        schema, name = table.split(".")
        return f'{CATALOGS[table]}.{self.prefix}{schema}."{name}{suffix}"'

    def rows(self, table: str) -> Rows:
        return _sorted(self.run(f"SELECT * FROM {self.name(table)}"))

    def snapshots(self, table: str) -> int:
        ((count,),) = self.run(f"SELECT count(*) FROM {self.name(table, '$snapshots')}")
        return int(str(count))

    def drop(self) -> None:
        for table in (TOPICS, TICKETS, NOTES):
            self.run(f"DROP SCHEMA IF EXISTS {CATALOGS[table]}.{self.prefix}{table.split('.')[0]} CASCADE")


@pytest.fixture(scope="module")
def lake(trino: Trino) -> Iterator[Lake]:
    """With the first 40 tickets."""
    lake = Lake(trino)
    try:
        lake.lakehouse.build(tickets=SMALL)
        yield lake
    finally:
        lake.drop()


@pytest.fixture
def empty(trino: Trino) -> Iterator[Lake]:
    lake = Lake(trino)
    try:
        yield lake
    finally:
        lake.drop()


def test_rows_are_those_of_the_file_before_and_after_edits(lake: Lake, tmp_path: Path) -> None:
    twin = DuckDBLakehouse(tmp_path / "twin.duckdb")
    twin.build(tickets=SMALL)
    assert _differences(lake, tmp_path / "twin.duckdb") == []
    for _ in range(2):
        tickets, snapshots = dict(_keyed(lake)), lake.snapshots(TICKETS)
        edits = lake.lakehouse.edit()
        assert lake.snapshots(TICKETS) == snapshots + 1
        edited = dict(_keyed(lake))
        assert tickets.keys() - edited.keys() == set(edits.deleted)
        assert edited.keys() - tickets.keys() == set(edits.added)
        assert {key for key in tickets.keys() & edited.keys() if tickets[key] != edited[key]} == set(edits.changed)
        assert [len(keys) for keys in edits] == [3, 1, 2]
        assert twin.edit() == edits
        assert _differences(lake, tmp_path / "twin.duckdb") == []


def _differences(lake: Lake, path: Path) -> list[str]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return [table for table in CATALOGS if lake.rows(table) != _sorted(connection.execute(f"FROM {table}").fetchall())]


def _keyed(lake: Lake) -> Iterator[tuple[object, tuple[object, ...]]]:
    for row in lake.rows(TICKETS):
        yield row[0], row


def test_types_are_what_a_person_would_choose(lake: Lake) -> None:
    types = {str(row[0]): row[1] for row in lake.run(f"DESCRIBE {lake.name(TICKETS)}")}
    assert types["ticket_id"] == "bigint"
    assert types["priority"] == "integer"
    assert types["created_at"] == "timestamp(6)"
    assert types["body"] == "varchar"
    assert {str(row[0]): row[1] for row in lake.run(f"DESCRIBE {lake.name(NOTES)}")}["internal"] == "boolean"


def test_what_is_there_stays_and_what_is_missing_comes_back(lake: Lake) -> None:
    """PostgreSQL is a new one at every start of the live demo."""
    notes, snapshots = lake.rows(NOTES), [lake.snapshots(table) for table in (TOPICS, TICKETS, LABELS)]
    lake.run(f"DROP TABLE {lake.name(NOTES)}")
    lake.lakehouse.build(tickets=SMALL + 1)
    assert lake.rows(NOTES) == notes
    assert [lake.snapshots(table) for table in (TOPICS, TICKETS, LABELS)] == snapshots


def test_what_an_interrupted_build_left_is_not_taken_for_a_table(empty: Lake, lake: Lake) -> None:
    schema, _, _ = empty.name(TOPICS).rpartition(".")
    empty.run(f"CREATE SCHEMA {schema}")
    empty.run(f"CREATE TABLE {empty.name(TOPICS, '_unfinished')} AS SELECT 'half a table' AS topic")
    empty.lakehouse.build(tickets=5)
    assert empty.rows(TOPICS) == lake.rows(TOPICS)
    assert [name for (name,) in empty.run(f"SHOW TABLES FROM {schema}")] == ["topics"]


def test_refusals_name_the_error_and_no_value(empty: Lake) -> None:
    with pytest.raises(SourceError, match="PERMISSION_DENIED") as refused:
        TrinoLakehouse(empty.trino.url, user=READER, prefix=empty.prefix).build(tickets=5)
    assert empty.prefix not in str(refused.value)


def test_a_trino_that_is_away_is_said_to_be() -> None:
    (port,) = free_ports(1)
    with pytest.raises(SourceUnavailable, match=f"127.0.0.1:{port}"):
        TrinoLakehouse(f"http://127.0.0.1:{port}", user=WRITER).edit()


@given(st.lists(st.fixed_dictionaries({"text": st.integers(0, 200_000).map("x".__mul__), "number": st.none() | st.integers()})))
def test_batches_are_all_rows_in_order_and_fit_a_statement(rows: list[dict[str, object]]) -> None:
    batches = list(trino_lakehouse._batches(rows))
    assert [row for batch in batches for row in batch] == rows
    for batch in batches:
        size = sum(len(str(value)) for row in batch for value in row.values())
        assert len(batch) == 1 or 0 < size <= trino_lakehouse._STATEMENT_CHARACTERS
