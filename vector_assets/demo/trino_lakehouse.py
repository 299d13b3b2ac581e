"""The sample lakehouse behind a Trino: tickets, labels and help texts are Iceberg tables, account notes are in PostgreSQL.

Account notes have odd rows and no primary key, and are written through Trino like the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa

from vector_assets.demo.sample import LABELS, NOTES, TICKETS, TOPICS, Edition, Edits, Sample, next_edition
from vector_assets.errors import SourceError, SourceUnavailable
from vector_assets.raw.sql import qualified, quoted

if TYPE_CHECKING:
    from trino.dbapi import Connection

CATALOGS = {TOPICS: "iceberg", TICKETS: "iceberg", LABELS: "iceberg", NOTES: "postgres"}
_TYPES = {
    pa.string(): "varchar",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.bool_(): "boolean",
    pa.timestamp("us"): "timestamp(6)",
}
_STATEMENT_CHARACTERS = 250_000
"""Of values in one INSERT: Trino takes a million characters, and every quote and NULL adds some."""
_REQUEST_SECONDS = 60


class TrinoLakehouse:
    """Tables of catalogs `iceberg` and `postgres` of one Trino. Catalogs cannot share a transaction: each statement is one of its own."""

    edited = f"lake.{TICKETS}"

    def __init__(self, url: str, *, user: str, prefix: str = "") -> None:
        """`url`: http://host:port. `user` may create schemas and tables. `prefix` goes before the names of schemas."""
        self._url, self._user, self._prefix = url, user, prefix

    def build(self, *, seed: int = 7, tickets: int = 2000) -> None:
        """Make what is not there yet, each table whole or not at all. Raises SourceError, SourceUnavailable."""
        sample = Sample(seed=seed, tickets=tickets)
        with self._connected() as connection:
            for name in (TOPICS, NOTES, LABELS, TICKETS):  # tickets last: where they are, their labels are
                if not self._exists(connection, name):
                    self._create(connection, name, sample.table(name))

    def edit(self) -> Edits:
        """Tickets in one MERGE, so in one snapshot; then their labels. Raises SourceError, SourceUnavailable."""
        tickets, labels = self._name(TICKETS), self._name(LABELS)
        with self._connected() as connection:

            def body(number: int) -> str:
                ((found,),) = _run(connection, f"SELECT body FROM {tickets} WHERE ticket_id = ?", [number])  # noqa: S608  # quoted
                return str(found)

            ids = _run(connection, f"SELECT ticket_id FROM {tickets} ORDER BY 1")  # noqa: S608  # quoted
            edition = next_edition([int(str(number)) for (number,) in ids], body)
            _merge(connection, tickets, edition)
            _run(connection, f"DELETE FROM {labels} WHERE ticket_id = ?", edition.edits.deleted)  # noqa: S608  # quoted
            _insert(connection, labels, edition.labels)
        return edition.edits

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        import trino

        place = urlsplit(self._url)
        connection = trino.dbapi.connect(
            host=place.hostname, port=place.port, user=self._user, source="vector_assets demo", request_timeout=_REQUEST_SECONDS
        )
        try:
            with closing(connection):
                yield connection
        except trino.exceptions.TrinoUserError as error:
            # Its text may quote values: the name of the error and the query's id are enough to find it in Trino.
            raise SourceError(f"Trino at {place.netloc} refuses query {error.query_id} of the sample: {error.error_name}") from None
        except (trino.exceptions.Error, trino.exceptions.HttpError, OSError) as error:
            raise SourceUnavailable(f"Trino at {place.netloc} is away or failed ({type(error).__name__}): try again") from None

    def _name(self, table: str, suffix: str = "") -> str:
        schema, name = table.split(".")
        return qualified(CATALOGS[table], self._prefix + schema, name + suffix)

    def _exists(self, connection: Connection, table: str) -> bool:
        schema, name = table.split(".")
        where = f"FROM {quoted(CATALOGS[table])}.information_schema.tables WHERE table_schema = ? AND table_name = ?"
        return bool(_run(connection, f"SELECT 1 {where}", [self._prefix + schema, name]))

    def _create(self, connection: Connection, table: str, rows: pa.Table) -> None:
        schema, _ = table.split(".")
        unfinished = self._name(table, "_unfinished")
        columns = ", ".join(f"{quoted(column.name)} {_TYPES[column.type]}" for column in rows.schema)
        _run(connection, f"CREATE SCHEMA IF NOT EXISTS {qualified(CATALOGS[table], self._prefix + schema)}")
        _run(connection, f"DROP TABLE IF EXISTS {unfinished}")
        _run(connection, f"CREATE TABLE {unfinished} ({columns})")
        _insert(connection, unfinished, rows)
        _run(connection, f"CREATE TABLE {self._name(table)} AS SELECT * FROM {unfinished}")  # noqa: S608  # quoted
        _run(connection, f"DROP TABLE {unfinished}")


# --- statements ------------------------------------------------------------------------------------------------------------------------


def _run(connection: Connection, statement: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
    """Run a statement to its end; its rows. The client quotes the values."""
    return [tuple(row) for row in connection.cursor().execute(statement, list(values)).fetchall()]


def _insert(connection: Connection, name: str, rows: pa.Table) -> None:
    for batch in _batches(rows.to_pylist()):
        _run(connection, f"INSERT INTO {name} VALUES {_places(batch)}", _flat(batch))  # noqa: S608  # quoted


def _merge(connection: Connection, tickets: str, edition: Edition) -> None:
    """What came, went and changed as rows of one source: those that went have no body."""
    columns = edition.tickets.column_names
    went = [dict.fromkeys(columns) | {"ticket_id": number} for number in edition.edits.deleted]
    changed = [dict.fromkeys(columns) | {"ticket_id": number, "body": body} for number, body in edition.bodies.items()]
    rows = [*edition.tickets.to_pylist(), *changed, *went]
    names, values = ", ".join(map(quoted, columns)), ", ".join(f"s.{quoted(column)}" for column in columns)
    _run(
        connection,
        f"MERGE INTO {tickets} AS t USING (VALUES {_places(rows)}) AS s ({names}) ON t.ticket_id = s.ticket_id"  # noqa: S608  # quoted
        " WHEN MATCHED AND s.body IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET body = s.body"
        f" WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})",
        _flat(rows),
    )


def _places(rows: Sequence[Mapping[str, object]]) -> str:
    return ", ".join(f"({', '.join('?' * len(row))})" for row in rows)


def _flat(rows: Sequence[Mapping[str, object]]) -> list[object]:
    return [value for row in rows for value in row.values()]


def _batches(rows: Sequence[Mapping[str, object]]) -> Iterator[list[Mapping[str, object]]]:
    """Rows in order, as many at a time as one statement takes; at least one."""
    batch, size = list[Mapping[str, object]](), 0
    for row in rows:
        size += sum(len(str(value)) for value in row.values())
        if batch and size > _STATEMENT_CHARACTERS:
            yield batch
            batch, size = [], sum(len(str(value)) for value in row.values())
        batch.append(row)
    if batch:
        yield batch
